"""What the API asks of the agent's side: the Protocol that `agent` implements, and the values that go to and fro.

The API calls a `Host` from threads of its own, several at once, while the agent's loop runs: a Host has its own locks.
Its methods may block for as long as what they do takes; only `wait` waits for something to happen. Every method may
raise `Refused`; a TransientError from one is answered as 503, and the caller tries again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

from gzl.jobapi.refused import Refused as Refused

Kind = Literal["file", "tree"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: one attempt of a stage of the job."""

    job: str
    stage: str
    attempt: int
    shared: bool = False
    """Whether the attempt sees the agent's file system as the agent's own user does: only then are paths taken from it
    (`store_path`, `fetch_to`)."""
    request: str = ""
    """Names the call: a repeated one, after an agent has died say, has the same. The API itself answers a repeated call
    from memory; what must not happen twice even across agents (a comment) can be kept under this name."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where a stage of the job stands. `state` is a value of `model.result.State`; `outputs` are those given so far."""

    stage: str
    state: str
    outputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stored:
    """An artifact that was put away: its name within the job, the digest and size in bytes of what is kept."""

    name: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Artifact:
    """An artifact that was found: which job's and stage's, and what is to be made of it.

    `size` is a file's length in bytes, and for a tree that of the stored archive; `mode` are a file's permission bits.
    """

    name: str
    kind: Kind
    digest: str
    size: int
    mode: int
    job: str
    stage: str


@dataclass(frozen=True, slots=True)
class Totals:
    """What a test report adds up to; `seconds` is the sum over its cases."""

    tests: int = 0
    failures: int = 0
    errors: int = 0
    skipped: int = 0
    seconds: float = 0.0


class Host(Protocol):
    """The job, as a running stage may use it."""

    def caller(self, token: str) -> Caller:
        """Who has this token. Refused with 401 for a token that is none of this job's, and with 410 for one whose
        attempt has ended or was taken over, or whose job is over."""

    def heartbeat(self, caller: Caller) -> None:
        """The stage says that it lives, so that `idle=` does not end it."""

    def out(self, caller: Caller, values: Mapping[str, str]) -> None:
        """Set outputs of the caller's stage, all or none. Keys and values have been looked at: a key is an identifier,
        a value at most 64 KiB without NUL."""

    def outcome(self, caller: Caller, stage: str) -> Outcome:
        """Where a stage of the job stands. Refused with 404 if the job has none of that name."""

    def wait(self, caller: Caller, stage: str, key: str | None, seconds: float) -> Outcome:
        """As `outcome`, but only when the stage has ended or (with a key) has given that output, at the latest after
        `seconds`. Refused with 404 as there, and with 409 if the stage waits for the caller's."""

    def release(self) -> None:
        """The API closes: every `wait` returns now, and from now on at once."""

    def add_stages(self, caller: Caller, fragment: bytes, before: Sequence[str]) -> list[str]:
        """Add the stages of a Gzlfile fragment; those in `before` wait for them, too. The names of what was added.
        Refused with 422 and the parser's text, or with 409 for a cycle or a stage in `before` that has begun."""

    def last_run(self, caller: Caller, stage: str | None, passed: bool) -> str | None:
        """The commit (hex) that a stage, by default the caller's, last ran or last passed on, on the job's branch."""

    def changed(self, caller: Caller, since: str | None, globs: Sequence[str]) -> list[str]:
        """Paths that changed since the commit that stage `since`, by default the caller's, last passed on, and that a
        glob matches (none: all)."""

    def comment(self, caller: Caller, text: str) -> None:
        """Add a comment to the job."""

    def progress(self, caller: Caller, done: int, total: int | None, text: str) -> None:
        """How far the stage is: `done` of `total`, and a line of text."""

    def report(self, caller: Caller, name: str, data: BinaryIO) -> Totals:
        """Take a test report in JUnit's XML; `junit.read` reads it. The same name again takes the older one's place."""

    def store_stream(self, caller: Caller, name: str, body: BinaryIO, kind: Kind, mode: int) -> Stored:
        """Keep what `body` gives: a file's bytes, or for a tree a plain tar, as untrusted as any. `body.read` raises
        `Truncated` if the caller goes away in the middle; then nothing may be visible."""

    def store_path(self, caller: Caller, path: Path, name: str) -> Stored:
        """Keep a file or folder of the shared file system. Refused with 404 if there is none."""

    def find(self, caller: Caller, name: str, source: str | None) -> Artifact:
        """The artifact of that name: of this job, or of a stage, a job, a commit or a repository. Refused with 404
        if there is none."""

    def open(self, caller: Caller, artifact: Artifact) -> BinaryIO:
        """Its content, verified: a file's bytes, or for a tree a plain tar. The API closes it. A digest that does not
        fit is an exception from `read`, so that the other side gets a body that is too short."""

    def fetch_to(self, caller: Caller, artifact: Artifact, target: Path) -> None:
        """Make the artifact `target` in the shared file system; folders on the way are made. A file that is there is
        replaced, a folder is merged into."""


class Truncated(ConnectionError):
    """The other side of an upload went away before it had sent all that it announced."""
