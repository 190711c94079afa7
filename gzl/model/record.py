"""The record of a job: the exact data that a ledger keeps in `job.json`, and that `--json` prints.

Times are seconds since the epoch with millisecond resolution; object ids are hex. The schema's version is in every
record; readers accept every older one, and newer ones as far as they know their keys.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gzl.errors import UserError
from gzl.model.result import State

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class StepResult:
    """A step that was begun: its number from 1, the log offset in bytes and the time at which it began."""

    number: int
    offset: int
    started: float
    line: int = 0
    text: str = ""


@dataclass(frozen=True, slots=True)
class LogRef:
    """Where an attempt's log is: its length in bytes, the SHA-256 of its bytes, and `ref` or `file` for the store."""

    bytes: int
    sha256: str
    store: str = "ref"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at executing a stage."""

    number: int
    state: State
    started: float | None = None
    finished: float | None = None
    exit: int | None = None
    """The workload's exit status; None where there is none (lost, stopped)."""
    steps: tuple[StepResult, ...] = ()
    log: LogRef | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class StageResult:
    """What became of a stage in a job; of its attempts the last one counts."""

    name: str
    state: State = State.WAITING
    started: float | None = None
    finished: float | None = None
    exit: int | None = None
    attempts: tuple[Attempt, ...] = ()
    skipped_because: str | None = None
    runner: str = "local"


@dataclass(frozen=True, slots=True)
class Agent:
    """The process that runs a job."""

    host: str
    pid: int


@dataclass(frozen=True, slots=True)
class JobRecord:
    """One run of a pipeline for one commit."""

    id: str
    commit: str
    tree: str
    ref: str
    """Full ref name, or `HEAD`."""
    event: str
    state: State
    writer: str
    created: float
    started: float | None = None
    finished: float | None = None
    runner: str = "local"
    definition: str = ""
    """SHA-256 over what would run: the selected stages, their dependencies, steps, options and environment."""
    targets: tuple[str, ...] = ()
    """The stages that were asked for."""
    stages: Mapping[str, StageResult] = field(default_factory=dict)
    reason: str = ""
    """Why it ended as it did, where the stages do not say it: superseded, stopped by whom, a bad Gzlfile."""
    snapshot_of: str | None = None
    """For a snapshot of a dirty working tree: the commit that it was based on."""
    actor: str = ""
    agent: Agent | None = None
    """While it runs; never in a ledger."""
    schema: int = SCHEMA


def to_data(record: JobRecord) -> dict[str, Any]:
    """The record as JSON values, in a fixed order; a key with nothing to say is null or empty."""
    return {
        "schema": record.schema,
        "id": record.id,
        "commit": record.commit,
        "tree": record.tree,
        "ref": record.ref,
        "event": record.event,
        "state": str(record.state),
        "created": _ms(record.created),
        "started": _ms(record.started),
        "finished": _ms(record.finished),
        "runner": record.runner,
        "writer": record.writer,
        "agent": {"host": record.agent.host, "pid": record.agent.pid} if record.agent else None,
        "actor": record.actor,
        "reason": record.reason,
        "definition": record.definition,
        "targets": list(record.targets),
        "snapshot_of": record.snapshot_of,
        "stages": {name: _stage_data(stage) for name, stage in record.stages.items()},
    }


def to_json(record: JobRecord) -> bytes:
    """`job.json`: compact UTF-8 and a newline; the same record always gives the same bytes."""
    text = json.dumps(to_data(record), ensure_ascii=False, separators=(",", ":"))
    # A ref name that is no UTF-8 holds lone surrogates; inside a string backslashreplace writes JSON's escape for them.
    return text.encode(errors="backslashreplace") + b"\n"


def from_json(data: bytes, where: str) -> JobRecord:
    """The record in `data`; UserError naming `where` if it is none."""
    try:
        return from_data(json.loads(data))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{where}: not a gzl job record ({error!r}); `gzl fsck` shows what else is wrong") from error


def from_data(raw: Mapping[str, Any]) -> JobRecord:
    """The record that `to_data` gave as JSON values. Raises what their types raise if they are none."""
    return JobRecord(
        id=raw["id"],
        commit=raw["commit"],
        tree=raw["tree"],
        ref=raw["ref"],
        event=raw["event"],
        state=State(raw["state"]),
        writer=raw["writer"],
        created=raw["created"],
        started=raw.get("started"),
        finished=raw.get("finished"),
        runner=raw.get("runner", "local"),
        definition=raw.get("definition", ""),
        targets=tuple(raw.get("targets", ())),
        stages={name: _stage(name, stage) for name, stage in raw.get("stages", {}).items()},
        reason=raw.get("reason", ""),
        snapshot_of=raw.get("snapshot_of"),
        actor=raw.get("actor", ""),
        agent=Agent(**raw["agent"]) if raw.get("agent") else None,
        schema=raw["schema"],
    )


def without_agent(record: JobRecord) -> JobRecord:
    """The record as a ledger keeps it."""
    return replace(record, agent=None)


def _ms(time: float | None) -> float | None:
    return None if time is None else round(time, 3)


def _stage_data(stage: StageResult) -> dict[str, Any]:
    return {
        "state": str(stage.state),
        "started": _ms(stage.started),
        "finished": _ms(stage.finished),
        "exit": stage.exit,
        "attempts": [_attempt_data(attempt) for attempt in stage.attempts],
        "skipped_because": stage.skipped_because,
        "runner": stage.runner,
    }


def _attempt_data(attempt: Attempt) -> dict[str, Any]:
    log = attempt.log
    return {
        "number": attempt.number,
        "state": str(attempt.state),
        "started": _ms(attempt.started),
        "finished": _ms(attempt.finished),
        "exit": attempt.exit,
        "reason": attempt.reason,
        "steps": [
            {
                "number": s.number,
                "offset": s.offset,
                "started": _ms(s.started),
                "line": s.line,
                "text": s.text,
            }
            for s in attempt.steps
        ],
        "log": {"bytes": log.bytes, "sha256": log.sha256, "store": log.store} if log else None,
    }


def _stage(name: str, raw: Mapping[str, Any]) -> StageResult:
    return StageResult(
        name=name,
        state=State(raw["state"]),
        started=raw.get("started"),
        finished=raw.get("finished"),
        exit=raw.get("exit"),
        attempts=tuple(_attempt(attempt) for attempt in raw.get("attempts", ())),
        skipped_because=raw.get("skipped_because"),
        runner=raw.get("runner", "local"),
    )


def _attempt(raw: Mapping[str, Any]) -> Attempt:
    log = raw.get("log")
    return Attempt(
        number=raw["number"],
        state=State(raw["state"]),
        started=raw.get("started"),
        finished=raw.get("finished"),
        exit=raw.get("exit"),
        steps=tuple(
            StepResult(s["number"], s["offset"], s["started"], s.get("line", 0), s.get("text", ""))
            for s in raw.get("steps", ())
        ),
        log=LogRef(log["bytes"], log["sha256"], log["store"]) if log else None,
        reason=raw.get("reason", ""),
    )
