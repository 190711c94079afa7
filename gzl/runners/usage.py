"""What the processes of attempts use: looked at once a second, noted, and drawn together at the end.

    usage      "<seconds> <processor seconds> <memory> <read> <written>" a line: seconds since the attempt began; its
               processor time and bytes so far; the bytes that are in RAM at this instant

A later agent goes on with the file. An attempt that ended within a second has totals only, those that wait4(2) tells.
Seconds are of the clock that counts from boot, which nobody can set.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from resource import RUSAGE_SELF, getrusage, struct_rusage

from gzl.errors import UserError
from gzl.kit.fs import append, read_regular
from gzl.model.record import Usage
from gzl.runners import processes

EVERY = 1.0  # seconds between two samples
POINTS = 120  # of a series at most
_KEPT = 600  # samples at a second's distance; an attempt that runs longer than so many is looked at less and less often
_LONGEST = 1 << 20  # bytes of `usage`: those of a year are less
_SAMPLE = re.compile(rb"^(\d{1,9}\.\d\d) (\d{1,12}\.\d\d) (\d{1,18}) (\d{1,18}) (\d{1,18})\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Sample:
    """What an attempt had used, and what memory it had, `at` seconds after its beginning."""

    at: float
    cpu: float = 0.0
    memory: int = 0
    read: int = 0
    written: int = 0


@dataclass(slots=True)
class _Attempt:
    began: float  # seconds since boot
    due: float
    last: Sample


class Sampler:
    """Looks at running attempts when it is time to."""

    def __init__(self) -> None:
        self._attempts: dict[Path, _Attempt] = {}

    def begin(self, directory: Path, began: float) -> None:
        """An attempt runs since `began` (seconds since boot)."""
        self._attempts[directory] = _Attempt(began, began + EVERY, Sample(0.0))

    def resume(self, directory: Path, began: float | None) -> None:
        """Go on with an attempt that an earlier agent looked at; `began` None: it ended, and nobody knows when."""
        last = (read_samples(directory) or [Sample(0.0)])[-1]
        now = processes.uptime()
        self._attempts[directory] = _Attempt(now - last.at if began is None else began, now, last)

    def next_due(self) -> float | None:
        """When the next look is due, in seconds since boot."""
        return min((attempt.due for attempt in self._attempts.values()), default=None)

    def due(self, now: float) -> list[Path]:
        """The attempts to look at when one of them is due: all that almost are, too, and from then on go with it."""
        return [directory for directory, attempt in self._attempts.items() if attempt.due <= now + EVERY / 2]

    def note(self, directory: Path, now: float, pids: Iterable[int], cpu: float = 0.0) -> None:
        """Look at the processes of an attempt; `cpu` is what its control group says of processor time."""
        attempt = self._attempts[directory]
        sample = _rising(attempt.last, measure(pids, now - attempt.began, cpu))
        line = f"{sample.at:.2f} {sample.cpu:.2f} {sample.memory} {sample.read} {sample.written}\n"
        with suppress(UserError):  # a stage that puts something else there loses its series, and nothing more
            append(directory / "usage", line.encode())
        attempt.last = sample
        attempt.due = now + max(EVERY, sample.at / _KEPT)

    def end(self, directory: Path, now: float, told: Usage | None, cpu: float = 0.0) -> Usage | None:
        """What the attempt used in all; `told` is what the kernel said when its shell ended."""
        attempt = self._attempts.pop(directory)
        if attempt.last.at == 0.0:
            return told
        last = attempt.last
        told = told or Usage()
        end = Sample(
            now - attempt.began, max(last.cpu, told.cpu, cpu), 0, max(last.read, told.read),
            max(last.written, told.written),
        )  # fmt: skip
        return series([*read_samples(directory), end], told.memory)


def measure(pids: Iterable[int], at: float, cpu: float = 0.0) -> Sample:
    """What these processes have used by now, with those that they have waited for."""
    ticks = memory = read = written = 0
    for pid in pids:
        found = processes.process(pid)
        if found is None:
            continue
        from_storage, to_storage = processes.storage(pid)
        ticks += found.cpu
        memory += processes.resident(pid)
        read += from_storage
        written += to_storage
    return Sample(at, max(cpu, ticks * processes.TICK), memory, read, written)


def read_samples(directory: Path) -> list[Sample]:
    """The samples noted so far; a last line without its end is none."""
    text = b""
    with suppress(UserError):
        text = read_regular(directory / "usage", _LONGEST) or b""
    found = (match.groups() for match in _SAMPLE.finditer(text))
    return [Sample(float(at), float(cpu), *map(int, amounts)) for at, cpu, *amounts in found]


def series(samples: Sequence[Sample], peak: int = 0) -> Usage:
    """Totals and series of equal intervals, at most POINTS, from samples of which the last is the end.

    Processor time and bytes are shared out evenly between two samples; of memory an interval shows the most that was
    seen in it or at its ends. `peak` is a peak that is known otherwise.
    """
    end = samples[-1]
    seen = [sample.memory for sample in samples]
    whole = Usage(end.cpu, max([peak, *seen]), end.read, end.written)
    if end.at < EVERY:
        return whole
    count = min(POINTS, max(1, round(end.at / EVERY)))
    points = [Sample(0.0), *samples]
    edges = [end.at * n / count for n in range(count + 1)]
    cpu = _differences(_at(edges, [(s.at, s.cpu) for s in points]))
    read = _differences(_at(edges, [(s.at, float(s.read)) for s in points]))
    written = _differences(_at(edges, [(s.at, float(s.written)) for s in points]))
    return replace(
        whole,
        interval=end.at / count,
        cpu_series=tuple(used * count / end.at for used in cpu),
        memory_series=tuple(_highest(edges, samples[:-1])),
        read_series=tuple(round(amount) for amount in read),
        written_series=tuple(round(amount) for amount in written),
    )


def _rising(before: Sample, now: Sample) -> Sample:
    """What a process used that nobody waited for is forgotten by the kernel, and stays counted here."""
    return replace(
        now, cpu=max(before.cpu, now.cpu), read=max(before.read, now.read), written=max(before.written, now.written)
    )


def _at(edges: Sequence[float], points: Sequence[tuple[float, float]]) -> Iterator[float]:
    """The values at rising `edges` of the line through `points`."""
    n = 1
    for edge in edges:
        while n < len(points) - 1 and points[n][0] < edge:
            n += 1
        (left, low), (right, high) = points[n - 1], points[n]
        share = (edge - left) / (right - left) if right > left else 1.0
        yield low + (high - low) * min(1.0, max(0.0, share))


def _differences(values: Iterable[float]) -> Iterator[float]:
    return (after - before for before, after in pairwise(values))


def _highest(edges: Sequence[float], samples: Sequence[Sample]) -> Iterator[int]:
    """For each interval the most that was seen in it; what was seen last, where nothing was."""
    n, last = 0, samples[0].memory if samples else 0
    for edge in edges[1:]:
        most = None
        while n < len(samples) and samples[n].at <= edge:
            most = max(most or 0, samples[n].memory)
            last = samples[n].memory
            n += 1
        yield last if most is None else most


def told(rusage: struct_rusage) -> Usage:
    """What wait4(2) tells of a child process, and of all below it that was waited for.

    Its peak of memory begins with what this process had when it spawned the child, because until exec(2) the child
    shares it: a peak that is not above that says nothing, and is given as 0.
    """
    peak = rusage.ru_maxrss if rusage.ru_maxrss > getrusage(RUSAGE_SELF).ru_maxrss else 0
    # ru_maxrss is in KiB; blocks are of 512 bytes, whatever the disk's are (getrusage(2)).
    return Usage(rusage.ru_utime + rusage.ru_stime, peak * 1024, rusage.ru_inblock * 512, rusage.ru_oublock * 512)
