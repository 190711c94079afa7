"""What can happen to a repository, as the hooks, the clock or a person report it."""

from dataclasses import dataclass
from enum import StrEnum


class EventKind(StrEnum):
    """The words that may follow `on` in a Gzlfile, and that records carry."""

    PUSH = "push"
    TAG = "tag"
    COMMIT = "commit"
    MERGE = "merge"
    CRON = "cron"
    PULL_REQUEST = "pull-request"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a repository.

    `ref` is a full ref name (or `HEAD` where it is detached); `old` and `new` are object ids in hex, None for "did not
    exist" and "was deleted". `actor` is who the transport says did it, empty if it does not say.
    """

    kind: EventKind
    ref: str
    old: str | None
    new: str | None
    actor: str = ""
    options: tuple[str, ...] = ()
    """Push options that are for gzl, as given: `gzl.skip`, `gzl.wait`, `gzl.run=STAGE`."""
    cron: str | None = None
    """For a cron tick: the schedule that ticked."""

    @property
    def branch(self) -> str | None:
        """The short branch name, or None where the ref is no branch."""
        return self.ref.removeprefix("refs/heads/") if self.ref.startswith("refs/heads/") else None

    @property
    def short_ref(self) -> str:
        """The ref as people say it."""
        return self.ref.removeprefix("refs/heads/").removeprefix("refs/tags/")

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that `gzl.run=` options name."""
        return tuple(option.removeprefix("gzl.run=") for option in self.options if option.startswith("gzl.run="))
