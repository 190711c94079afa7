"""When each part of a log was written: pairs of log length and time, as the agent noted them in `log.t`.

They lie beside the log in the month's log ref, compressed, also for a log that is too large for it.
"""

import bisect
import itertools
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gzl.git.repo import Repo
from gzl.kit.fs import read_regular
from gzl.kit.proc import CommandFailed
from gzl.logs.masking import Moved
from gzl.logs.store import decompressed, month_refs, name
from gzl.model.ids import job_month
from gzl.model.record import Attempt, JobRecord
from gzl.model.refs import job_path

_LIMIT = 64 << 20  # bytes of `log.t`: a month of four a second is 50 MB
_CHUNK = 1 << 16
_LINE = re.compile(rb"(\d{1,18}) (\d{1,16})")


@dataclass(frozen=True, slots=True)
class Times:
    """Looks up when a log was as long as that; both lists ascend."""

    lengths: list[int]
    seconds: list[float]
    """Since the epoch."""

    def at(self, offset: int) -> float | None:
        """When the byte at `offset` was there, as far as it was noted; None if it never was."""
        place = bisect.bisect_right(self.lengths, offset)
        return self.seconds[place] if place < len(self.seconds) else None

    def since(self, when: float) -> int:
        """The offset of the first byte that was not there before `when`."""
        place = bisect.bisect_left(self.seconds, when)
        return self.lengths[place - 1] if place else 0


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a log, and when all of them were there; None: not noted."""

    data: bytes
    time: float | None


def timed(file: BinaryIO, times: Times, offset: int) -> Iterator[Piece]:
    """What `file` gives of a log from this byte on, in pieces with their times."""
    for length, when in zip(times.lengths, times.seconds, strict=True):
        while offset < length and (data := file.read(min(_CHUNK, length - offset))):
            offset += len(data)
            yield Piece(data, when)
    while data := file.read(_CHUNK):
        yield Piece(data, None)


def times_name(stage: str, attempt: int) -> str:
    """What the times are called in the job's folder."""
    return name(stage, attempt).removesuffix(".log.zz") + ".times.zz"


def noted(directory: Path) -> list[tuple[int, float]]:
    """What the agent noted in an attempt directory: (length of the log, seconds since the epoch), in order. UserError
    if the workload put something else in the file's place."""
    return _pairs(read_regular(directory / "log.t", _LIMIT) or b"")


def pack(pairs: list[tuple[int, float]], moved: Moved) -> bytes | None:
    """Noted times as they are kept, for a log of which places have moved; None where there are none."""
    lines = (f"{moved.at(length)} {round(when * 1000)}\n" for length, when in pairs)
    return zlib.compress("".join(lines).encode()) if pairs else None


def parse(data: bytes, attempt: Attempt) -> Times:
    """The times in the text of `log.t`; the end of the attempt stands for what came after the last of them."""
    known = _pairs(data)
    if attempt.finished is not None and attempt.log is not None:
        known.append((attempt.log.bytes, attempt.finished))
    # A clock that was set back must not make a later byte seem older than an earlier one.
    return Times([length for length, _ in known], list(itertools.accumulate((when for _, when in known), max)))


def read(repo: Repo, record: JobRecord, stage: str, attempt: Attempt) -> Times:
    """The times of a recorded attempt."""
    path = f"{job_path(record.id)}/{times_name(stage, attempt.number)}"
    for ref in month_refs(repo, job_month(record.id)):
        try:
            return parse(decompressed(repo.git("cat-file", "blob", f"{ref}:{path}")), attempt)
        except (CommandFailed, zlib.error):
            continue  # another writer's month, or one that was damaged: the attempt's own times are all that is known
    return parse(b"", attempt)


def _pairs(data: bytes) -> list[tuple[int, float]]:
    matches = map(_LINE.fullmatch, data.splitlines())
    return sorted((int(match[1]), int(match[2]) / 1000) for match in matches if match)
