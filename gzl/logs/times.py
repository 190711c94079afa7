"""When each part of a log was written: pairs of log length and time, as the agent noted them in `log.t`.

They lie beside the log in the month's log ref, compressed, also for a log that is too large for it.
"""

import bisect
import zlib
from dataclasses import dataclass
from pathlib import Path

from gzl.git.repo import Repo
from gzl.kit.fs import read_or_none
from gzl.kit.proc import CommandFailed
from gzl.logs.store import decompressed, month_refs, name
from gzl.model.ids import job_month
from gzl.model.record import Attempt, JobRecord
from gzl.model.refs import job_path


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


def times_name(stage: str, attempt: int) -> str:
    """What the times are called in the job's folder."""
    return name(stage, attempt).removesuffix(".log.zz") + ".times.zz"


def pack(directory: Path) -> bytes | None:
    """The times of an attempt directory as they are kept; None where there are none."""
    data = read_or_none(directory / "log.t")
    return zlib.compress(data) if data else None


def parse(data: bytes, attempt: Attempt) -> Times:
    """The times in the text of `log.t`; the end of the attempt stands for what came after the last of them."""
    pairs = [line.split() for line in data.splitlines()]
    known = sorted((int(length), int(when) / 1000) for length, when in (p for p in pairs if len(p) == 2))
    if attempt.finished is not None and attempt.log is not None:
        known.append((attempt.log.bytes, attempt.finished))
    return Times([length for length, _ in known], [when for _, when in known])


def read(repo: Repo, record: JobRecord, stage: str, attempt: Attempt) -> Times:
    """The times of a recorded attempt."""
    path = f"{job_path(record.id)}/{times_name(stage, attempt.number)}"
    for ref in month_refs(repo, job_month(record.id)):
        try:
            return parse(decompressed(repo.git("cat-file", "blob", f"{ref}:{path}")), attempt)
        except (CommandFailed, zlib.error, ValueError):
            continue  # another writer's month, or one that was damaged: the attempt's own times are all that is known
    return parse(b"", attempt)
