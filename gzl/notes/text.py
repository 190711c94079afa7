"""The text of a note: a pure function of the records of the jobs that ran on its commit.

    01jdf3k2q8v0h6m4c1x9z7n5ra  passed  12.4s  push main  3 stages  docker
    01jdf3k2q8v0h6m4c1x9z7n5ra/build   passed   3.2s
    01jdf3k2q8v0h6m4c1x9z7n5ra/deploy  skipped  unchanged since 1f3c9ab

Every line starts with its job's id and lines are sorted as bytes, so that `git notes merge -s cat_sort_uniq` by a git
that has never heard of gzl gives the same text as `merged` does.
"""

import re
from collections.abc import Iterable

from gzl.kit.text import escaped
from gzl.model.ids import JOB_ID
from gzl.model.record import JobRecord, StageResult, Totals
from gzl.model.result import State

_LIMIT = 120  # characters of a name or a reason: a note is read in a terminal
_JOB_LINE = re.compile(JOB_ID.pattern.removesuffix(r"\Z") + r"(?=[ /])")


def render(record: JobRecord) -> list[str]:
    """The note lines of one job, sorted, without line ends."""
    head = [record.id, str(record.state), _seconds(record.started, record.finished),
            f"{record.event} {_data(_short(record.ref))}", _count(len(record.stages)), _data(record.runner),
            _data(record.reason)]  # fmt: skip
    return sorted(["  ".join(word for word in head if word), *_stage_lines(record)], key=_bytes)


def merged(*texts: bytes) -> bytes:
    """The union of the lines of notes, as git's cat_sort_uniq makes it (notes.c, combine_notes_cat_sort_uniq)."""
    lines = {line for text in texts for line in text.split(b"\n") if line}
    return b"".join(line + b"\n" for line in sorted(lines))


def with_job(text: bytes, record: JobRecord) -> bytes:
    """A note's text with the lines of `record` in place of what it said of that job."""
    kept = [line for line in text.split(b"\n") if job_of(line) != record.id]
    return merged(*kept, *map(_bytes, render(record)))


def job_of(line: bytes) -> str | None:
    """The id of the job that a note line is about; None for a line that is not gzl's."""
    match = _JOB_LINE.match(line.decode(errors="replace"))
    return match[0] if match else None


def encoded(lines: Iterable[str]) -> bytes:
    """Note lines as the bytes of a note."""
    return merged(*map(_bytes, lines))


def _stage_lines(record: JobRecord) -> list[str]:
    stages = [(_data(name), stage) for name, stage in record.stages.items()]
    times = [_seconds(stage.started, stage.finished) for _, stage in stages]
    name_width = max((len(name) for name, _ in stages), default=0)
    state_width = max((len(stage.state) for _, stage in stages), default=0)
    time_width = max(map(len, times), default=0)
    lines = (
        f"{record.id}/{name:{name_width}}  {stage.state!s:{state_width}}  {_outcome(stage, time.rjust(time_width))}"
        for (name, stage), time in zip(stages, times, strict=True)
    )
    return [line.rstrip() for line in lines]


def _outcome(stage: StageResult, time: str) -> str:
    if stage.state is State.SKIPPED:
        return _data(stage.skipped_because or "")
    reason = stage.attempts[-1].reason if stage.attempts else ""
    code = f"exit {stage.exit}" if stage.exit else ""
    tries = f"{len(stage.attempts)} attempts" if len(stage.attempts) > 1 else ""
    reused = f"reused from {_data(stage.reused_from)}" if stage.reused_from else ""
    return "  ".join(word for word in (time, code, tests_told(stage.tests), reused, _data(reason), tries) if word)


def tests_told(tests: Totals | None) -> str:
    """What test reports add up to, in a few words; empty where there are none."""
    if tests is None:
        return ""
    rest = [(tests.failed, "failed"), (tests.skipped, "skipped")]
    told = [f"{tests.tests} test{'' if tests.tests == 1 else 's'}", *(f"{n} {what}" for n, what in rest if n)]
    return ", ".join(told)


def _seconds(started: float | None, finished: float | None) -> str:
    if started is None or finished is None:
        return ""
    # As a ledger keeps them, in milliseconds: what a fsck reads there must give the same text.
    return f"{max(0.0, round(finished, 3) - round(started, 3)):.1f}s"


def _count(stages: int) -> str:
    return f"{stages} stage{'' if stages == 1 else 's'}"


def _short(ref: str) -> str:
    return ref.removeprefix("refs/heads/").removeprefix("refs/tags/")


def _data(text: str) -> str:
    return escaped(text, _LIMIT)


def _bytes(line: str) -> bytes:
    return line.encode(errors="replace")
