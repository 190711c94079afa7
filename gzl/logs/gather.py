"""What of an attempt directory outlives it: called when a job ends, once for each of its attempts."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from gzl.kit.fs import NotPlain
from gzl.kit.mask import Masker
from gzl.logs import store, times
from gzl.logs.masking import Moved
from gzl.logs.store import Objects
from gzl.model.record import LogRef


@dataclass(frozen=True, slots=True)
class Gathered:
    """The log of an attempt as its record has it, and the files for its job's folder in the month's log ref."""

    log: LogRef | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    moved: Moved = field(default_factory=lambda: Moved([], []))
    """Where the offsets of the workload's steps are in the masked log."""
    problem: str = ""
    """What the workload put something else in the place of: its log, or the times of its lines."""


def attempt(
    directory: Path, stage: str, number: int, masker: Masker, objects: Objects, steps: Iterable[int] = ()
) -> Gathered:
    """Keep the log of an attempt that has ended. `steps` are the offsets at which its steps began.

    May be done again after a crash. Raises what the object store raises.
    """
    problem = ""
    try:
        noted = times.noted(directory)
    except NotPlain as error:
        noted, problem = [], str(error)
    try:
        kept = store.keep(directory / "log", masker, objects, [*steps, *(length for length, _ in noted)])
    except FileNotFoundError:
        return Gathered(problem=problem)
    except NotPlain as error:
        return Gathered(problem=str(error))
    files = {} if kept.blob is None else {store.name(stage, number): kept.blob}
    packed = times.pack(noted, kept.moved)
    if packed is not None and kept.log.bytes:
        files[times.times_name(stage, number)] = packed
    return Gathered(kept.log, files, kept.moved, problem)
