"""The journal of a running job, and what it adds up to.

An append-only file of JSON objects, one a line, each written with one write(2): a process that dies leaves at worst a
part of a last line, which no reader takes for an entry. Only the holder of the job's lease appends. The state of a job
is its request and its journal, replayed; nobody keeps it anywhere else.

    taken     an agent took the lease: token, host, pid
    started   an attempt of a stage began: stage, attempt, slot
    ended     it ended: stage, attempt, state, exit, reason; data: its usage
    skipped   a stage will not run: stage, reason; data {"unchanged": true}: because nothing that it looks at changed
    reused    an earlier job's pass stands for a stage: stage, key, reason; data: job, outputs, artifacts, tests
    remark    what gzl did for an attempt: stage, attempt, reason
    finished  all stages have ended: state, reason

and what a running stage asked for, through the Job API:

    output    a value for those who depend on it: stage, attempt, data: key and value
    stored    an artifact: stage, attempt, data as `record.artifact_data` gives it
    advanced  how far it is: stage, attempt, data as `record.advance_data` gives it
    tested    what its test reports add up to so far: stage, attempt, data as `record.totals_data` gives it
    comment   data as `comment.to_data` gives it
    added     stages that were not there before: stage (who asked), data as `request.Added` reads it
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gzl.model.record import Advance, Agent, Artifact, Attempt, JobRecord, StageResult, Totals, usage
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
    key: str = ""
    data: Mapping[str, Any] | None = None


def to_line(entry: Entry) -> bytes:
    """The entry as a line of the journal, without what it does not say."""
    said: dict[str, Any] = {"time": round(entry.time, 4), "what": entry.what}
    for name in ("stage", "attempt", "slot", "state", "exit", "reason", "token", "host", "pid", "key", "data"):
        value = getattr(entry, name)
        if value not in ("", None) and not (value == 0 and name in ("attempt", "token", "pid")):
            said[name] = value
    text = json.dumps(said, ensure_ascii=False, separators=(",", ":"))
    # What a stage tells may hold bytes that are no UTF-8, as lone surrogates; see `record.to_json`.
    return text.encode(errors="backslashreplace") + b"\n"


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
        elif entry.what == "added":
            names = (raw["name"] for raw in (entry.data or {})["stages"])
            stages.update({name: StageResult(name) for name in names if name not in stages})
        elif entry.what != "comment":
            stages[entry.stage] = _stage_after(stages[entry.stage], entry)
    return replace(record, stages=stages)


def _stage_after(stage: StageResult, entry: Entry) -> StageResult:
    data = entry.data or {}
    match entry.what:
        case "started":
            return _started(stage, entry)
        case "ended":
            return _ended(stage, entry)
        case "skipped":
            return replace(
                stage, state=State.SKIPPED, skipped_because=entry.reason, finished=entry.time,
                unchanged=data.get("unchanged", False),
            )  # fmt: skip
        case "reused":
            return replace(
                stage, state=State.PASSED, finished=entry.time, skipped_because=entry.reason, key=entry.key,
                reused_from=data["job"], outputs=data["outputs"],
                artifacts=tuple(Artifact(**raw) for raw in data["artifacts"]),
                tests=Totals(**data["tests"]) if data["tests"] else None,
            )  # fmt: skip
        case "output":
            return replace(stage, outputs={**stage.outputs, data["key"]: data["value"]})
        case "stored":
            artifact = Artifact(**data)
            return replace(stage, artifacts=(*(a for a in stage.artifacts if a.name != artifact.name), artifact))
        case "tested":
            return replace(stage, tests=Totals(**data))
        case "remark":
            said = next((a.remarks for a in stage.attempts if a.number == entry.attempt), ())
            return _with_attempt(stage, entry.attempt, remarks=(*said, entry.reason))
        case "advanced":
            return _with_attempt(stage, entry.attempt, advance=Advance(**data))
    return stage


def _started(stage: StageResult, entry: Entry) -> StageResult:
    """A new attempt begins with nothing: what an earlier one told was told by one that was lost."""
    attempt = Attempt(entry.attempt, State.RUNNING, entry.time)
    kept = tuple(a for a in stage.attempts if a.number != entry.attempt)
    return replace(
        stage, state=State.RUNNING, started=stage.started or entry.time, attempts=(*kept, attempt), finished=None,
        key=entry.key, outputs={}, artifacts=(), tests=None,
    )  # fmt: skip


def _ended(stage: StageResult, entry: Entry) -> StageResult:
    state = entry.state or State.LOST
    stage = _with_attempt(
        stage, entry.attempt, state=state, finished=entry.time, exit=entry.exit, reason=entry.reason,
        usage=usage(entry.data) if entry.data else None,
    )  # fmt: skip
    return replace(stage, state=state, finished=entry.time, exit=entry.exit)


def _with_attempt(stage: StageResult, number: int, **changes: Any) -> StageResult:
    attempts = tuple(replace(a, **changes) if a.number == number else a for a in stage.attempts)
    return replace(stage, attempts=attempts)
