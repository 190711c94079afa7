"""The journal of a running job, and what it adds up to.

An append-only file of JSON objects, one a line, each written with one write(2): a process that dies leaves at worst a
part of a last line, which no reader takes for an entry. Only the holder of the job's lease appends. The state of a job
is its request and its journal, replayed; nobody keeps it anywhere else.

    taken     an agent took the lease: token, host, pid
    started   an attempt of a stage began: stage, attempt, slot
    ended     it ended: stage, attempt, state, exit, reason
    skipped   a stage will not run: stage, because
    finished  all stages have ended: state, reason
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from gzl.model.record import Agent, Attempt, JobRecord, StageResult
from gzl.model.result import State


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened, at `time` (seconds since the epoch)."""

    time: float
    what: str
    stage: str = ""
    attempt: int = 0
    slot: int = 0
    state: State | None = None
    exit: int | None = None
    reason: str = ""
    token: int = 0
    host: str = ""
    pid: int = 0


def to_line(entry: Entry) -> bytes:
    """The entry as a line of the journal, without what it does not say."""
    said: dict[str, Any] = {"time": round(entry.time, 4), "what": entry.what}
    for name in ("stage", "attempt", "slot", "state", "exit", "reason", "token", "host", "pid"):
        value = getattr(entry, name)
        if value not in ("", None) and not (value == 0 and name in ("attempt", "token", "pid")):
            said[name] = value
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def entries(data: bytes) -> Iterator[Entry]:
    """The entries of a journal's bytes; a last line without its end is not one."""
    for line in data[: data.rfind(b"\n") + 1].splitlines():
        if line:
            raw = json.loads(line)
            state = raw.pop("state", None)
            yield Entry(**raw, state=State(state) if state else None)


def replay(record: JobRecord, journal: Iterable[Entry]) -> JobRecord:
    """The job as it stands, from its request's record and its journal."""
    stages = dict(record.stages)
    for entry in journal:
        if entry.what == "taken":
            record = replace(
                record,
                state=State.RUNNING,
                started=record.started or entry.time,
                agent=Agent(entry.host, entry.pid),
            )
        elif entry.what == "finished":
            record = replace(record, state=entry.state or State.LOST, finished=entry.time, reason=entry.reason)
        else:
            stages[entry.stage] = _stage_after(stages[entry.stage], entry)
    return replace(record, stages=stages)


def _stage_after(stage: StageResult, entry: Entry) -> StageResult:
    if entry.what == "started":
        attempt = Attempt(entry.attempt, State.RUNNING, entry.time)
        kept = tuple(a for a in stage.attempts if a.number != entry.attempt)
        return replace(
            stage, state=State.RUNNING, started=stage.started or entry.time, attempts=(*kept, attempt), finished=None
        )
    if entry.what == "skipped":
        return replace(stage, state=State.SKIPPED, skipped_because=entry.reason, finished=entry.time)
    if entry.what == "ended":
        state = entry.state or State.LOST
        ended = tuple(
            replace(a, state=state, finished=entry.time, exit=entry.exit, reason=entry.reason)
            if a.number == entry.attempt
            else a
            for a in stage.attempts
        )
        return replace(stage, state=state, finished=entry.time, exit=entry.exit, attempts=ended)
    return stage
