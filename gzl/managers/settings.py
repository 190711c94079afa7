"""gzl's settings of a repository, `gzl.*` in git's configuration, read in one run of git."""

import os
from collections.abc import Callable
from dataclasses import dataclass

from gzl.errors import UserError
from gzl.git.repo import Repo
from gzl.kit.proc import run
from gzl.notes import trust, writer

_JOBS = 2


@dataclass(frozen=True, slots=True)
class Settings:
    """What decides over jobs and agents."""

    writer: str
    trusted: frozenset[str] | None
    """The writers whose verdicts count; None: all."""
    slots: int
    """How many stages of a job may run at once: `gzl.slots`, else the processors that this process may use."""
    jobs: int
    """How many jobs may run at once: `gzl.jobs`, else two."""


def read(repo: Repo, warn: Callable[[str], None] | None = None) -> Settings:
    """The settings of `repo`. A value that is no count is said by `warn` and passed over; UserError without a `warn`.

    UserError where `gzl init` was not run.
    """
    listed = run(["git", "--git-dir", str(repo.git_dir), "config", "-z", "--get-regexp", r"^gzl\."]).stdout
    values: dict[str, list[str]] = {}
    for entry in listed.decode(errors="surrogateescape").split("\0")[:-1]:
        key, _, value = entry.partition("\n")
        values.setdefault(key, []).append(value)
    own = values.get(writer.KEY, [""])[-1]
    if not own:
        own = writer.own(repo)  # says what to do
    return Settings(
        writer=own,
        trusted=trust.among(values.get(trust.KEY, []), own),
        slots=_count(values, "gzl.slots", len(os.sched_getaffinity(0)), warn),
        jobs=_count(values, "gzl.jobs", _JOBS, warn),
    )


def _count(values: dict[str, list[str]], key: str, default: int, warn: Callable[[str], None] | None) -> int:
    value = values.get(key, [str(default)])[-1]
    if value.isdecimal() and int(value) >= 1:
        return int(value)
    problem = f"git config {key}: {value!r} is not a count from 1; `git config {key} {default}` mends it"
    if warn is None:
        raise UserError(problem)
    warn(f"{problem}; going on with {default}")
    return default
