r"""What the `gzl` in a stage says and is told, as text that a POSIX shell can read without starting a process.

It says words, each ended by NUL: its token, a name for the call, a state (empty at first), the current directory, and
the command with its arguments. It is told lines: the first is the exit status, and of each other one the first
character says what it is:

    1TEXT                              print a line
    2TEXT                              print a line to stderr
    WSTATE                             nothing yet: say the same again, with this state
    UURL PATH                          send the file or folder PATH there; `-` is stdin
    DKIND MODE SIZE URL PATH           fetch the artifact from there and make PATH of it
    .                                  the end: an answer without it broke off, and the call is made again
"""

from collections.abc import Sequence
from dataclasses import dataclass
from os import fsdecode, fsencode

from gzl.jobapi.host import Artifact, Refused


@dataclass(frozen=True, slots=True)
class Said:
    """What the `gzl` in a stage says; bytes that are no UTF-8 are lone surrogates, as in Python's own file names."""

    token: str
    request: str
    state: str
    directory: str
    words: Sequence[str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What it is told: its exit status, what to print, and what is left for it to do."""

    status: int = 0
    out: Sequence[str] = ()
    err: Sequence[str] = ()
    todo: Sequence[str] = ()

    def encode(self) -> bytes:
        lines = [str(self.status)]
        lines += [f"1{line}" for text in self.out for line in text.split("\n")]
        lines += [f"2{line}" for text in self.err for line in text.split("\n")]
        lines += [*self.todo, "."]
        return fsencode("\n".join(lines) + "\n")


def read(body: bytes) -> Said:
    """The words in a body. Refused (400) if it is not such a body."""
    *words, rest = body.split(b"\0")
    if rest or len(words) < 4:
        raise Refused("the body is not what the `gzl` of a stage sends: words that end with NUL", 400)
    token, request, state, directory, *command = map(fsdecode, words)
    return Said(token, request, state, directory, command)


def refused(error: Exception, status: int) -> Answer:
    """The answer to a command that cannot be carried out."""
    first, *more = str(error).split("\n")
    return Answer(status, err=[f"gzl: {first}", *more])


def again(state: str) -> str:
    """Say the same again, with this state."""
    return f"W{state}"


def send(url: str, path: str) -> str:
    """Send a file or folder (`-`: stdin) to a URL of the API."""
    return f"U{url} {_one_line(path)}"


def fetch(artifact: Artifact, url: str, path: str) -> str:
    """Fetch an artifact from a URL of the API, to `path`."""
    return f"D{artifact.kind} {artifact.mode & 0o777:o} {artifact.size} {url} {_one_line(path)}"


def _one_line(path: str) -> str:
    if "\n" in path:
        raise Refused(f"{path!r}: this stage runs where files go over the API, and no path there can have a line end")
    return path
