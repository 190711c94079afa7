"""What every runner does, and the registry of those there are."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol

from gzl.errors import UserError
from gzl.model.record import Usage

REGISTRY = {"local": "gzl.runners.local:LocalRunner"}
LATER = ("ssh", "docker", "kubernetes", "aws")


@dataclass(frozen=True, slots=True)
class Work:
    """One attempt to be executed: its attempt directory, the workspace it runs in, and what its parts are."""

    directory: Path
    workspace: Path
    shell: tuple[str, ...]
    """The command that reads the script, which is its last argument; empty if the script is executed itself."""
    script: str
    env: Mapping[str, str]
    contained: bool = False
    """Whether all its processes must be found from the first one on, whatever they do: it may have to be ended while
    others run, because it has a limit."""


@dataclass(frozen=True, slots=True)
class End:
    """How an attempt ended: the workload's exit status and the length of its log in bytes, both None if it was lost."""

    directory: Path
    exit: int | None
    log_bytes: int | None
    reason: str = ""
    usage: Usage | None = None
    """What it used; None where that is not known."""


class Runner(Protocol):
    """Executes attempts, and measures what they use. One runner serves one agent, which calls `ended` and `wait` in
    turns; none of its methods waits for a workload, but for the death of what was killed."""

    def start(self, work: Work) -> None:
        """Begin the attempt. Its attempt directory does not exist yet."""

    def adopt(self, directory: Path) -> bool:
        """Take over an attempt that an earlier agent began: True if it runs or has ended (`ended` will tell), False if
        its workload never ran, and now never will."""

    def ended(self) -> Iterable[End]:
        """The attempts that ended since the last call."""

    def stop(self, directory: Path, grace: float) -> None:
        """Ask the whole process tree of the attempt to end; after `grace` seconds, make it."""

    def wait(self, timeout: float | None) -> None:
        """Sleep until something may have ended, `wake` was called (from a signal handler), or `timeout` seconds."""

    def wake(self) -> None:
        """Make a `wait` return."""

    def sweep(self) -> None:
        """End whatever the attempts left running behind them."""


def runner(name: str) -> Callable[[], Runner]:
    """The class of the runner `name`. UserError if there is none."""
    if name not in REGISTRY:
        also = f"; {name} comes in a later version" if name in LATER else ""
        raise UserError(f"runner={name}: not available in this version, which has {', '.join(REGISTRY)}{also}")
    module, _, attribute = REGISTRY[name].partition(":")
    made: Callable[[], Runner] = getattr(import_module(module), attribute)
    return made
