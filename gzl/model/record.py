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
    """An attempt's log as it is kept, masked: its length in bytes, the SHA-256 of its bytes, and where it is."""

    bytes: int
    sha256: str
    store: str = "ref"
    """`ref`: in the month's log ref. `object`: in the object store. `file` (older records): beside git."""
    object: str = ""
    """SHA-256 of the object that holds it, compressed."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """What a stage handed over: an object of the object store under a name within its job."""

    name: str
    kind: str
    """`file`, or `tree` for a directory, which the object holds as a compressed archive."""
    digest: str
    """SHA-256 of the object, hex."""
    size: int
    """Of the object, in bytes."""
    mode: int = 0o644
    """Permission bits of a file."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What the test reports of a stage add up to; `seconds` is the sum of the tests' own times."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    report: str = ""
    """SHA-256 of the object that holds each test's result, a JSON object a line; empty if it was not kept."""

    @property
    def tests(self) -> int:
        return self.passed + self.failed + self.skipped


@dataclass(frozen=True, slots=True)
class Advance:
    """How far a running stage says that it is: `done` of `total` (None: unknown), in its own words."""

    done: int
    total: int | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """What the processes of an attempt used: totals, and series of equal intervals from its start."""

    cpu: float = 0.0
    """Processor seconds, user and system."""
    memory: int = 0
    """Peak of the resident memory of all processes together, bytes."""
    read: int = 0
    written: int = 0
    """Bytes read from and written to storage, as far as the kernel tells."""
    interval: float = 0.0
    """Seconds between two values of a series."""
    cpu_series: tuple[float, ...] = ()
    """Processors in use, on average over each interval."""
    memory_series: tuple[int, ...] = ()
    read_series: tuple[int, ...] = ()
    """Bytes in each interval, as is the next."""
    written_series: tuple[int, ...] = ()


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
    usage: Usage | None = None
    advance: Advance | None = None
    remarks: tuple[str, ...] = ()
    """What gzl did for it that is no part of its log, a sentence each: a cache that was restored."""


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
    outputs: Mapping[str, str] = field(default_factory=dict)
    """What the stage said with `gzl out`."""
    artifacts: tuple[Artifact, ...] = ()
    tests: Totals | None = None
    key: str = ""
    """For a stage with `inputs=`: SHA-256 over all that its result depends on."""
    reused_from: str | None = None
    """The job whose pass of the same key stands for this stage; it was not run."""
    unchanged: bool = False
    """Skipped because nothing of its `paths=` changed since it last passed: no reason for others not to run."""

    @property
    def ran(self) -> bool:
        """Whether an attempt was begun in this job."""
        return bool(self.attempts)


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
        "outputs": dict(stage.outputs),
        "artifacts": [artifact_data(artifact) for artifact in stage.artifacts],
        "tests": totals_data(stage.tests) if stage.tests else None,
        "key": stage.key,
        "reused_from": stage.reused_from,
        "unchanged": stage.unchanged,
    }


def artifact_data(artifact: Artifact) -> dict[str, Any]:
    """The artifact as JSON values; `Artifact(**data)` is the way back."""
    return {
        "name": artifact.name,
        "kind": artifact.kind,
        "digest": artifact.digest,
        "size": artifact.size,
        "mode": artifact.mode,
    }


def totals_data(totals: Totals) -> dict[str, Any]:
    """The totals as JSON values; `Totals(**data)` is the way back."""
    return {
        "passed": totals.passed,
        "failed": totals.failed,
        "skipped": totals.skipped,
        "seconds": _ms(totals.seconds),
        "report": totals.report,
    }


def advance_data(advance: Advance) -> dict[str, Any]:
    """How far a stage is as JSON values; `Advance(**data)` is the way back."""
    return {"done": advance.done, "total": advance.total, "text": advance.text}


def usage_data(usage: Usage) -> dict[str, Any]:
    """The usage as JSON values; `usage` reads them."""
    return {
        "cpu": _ms(usage.cpu),
        "memory": usage.memory,
        "read": usage.read,
        "written": usage.written,
        "interval": _ms(usage.interval),
        "cpu_series": [_ms(value) for value in usage.cpu_series],
        "memory_series": list(usage.memory_series),
        "read_series": list(usage.read_series),
        "written_series": list(usage.written_series),
    }


def usage(raw: Mapping[str, Any]) -> Usage:
    """The usage that `usage_data` gave as JSON values."""
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in raw.items()}
    return Usage(**values)


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
        "log": _log_data(log) if log else None,
        "usage": usage_data(attempt.usage) if attempt.usage else None,
        "advance": advance_data(attempt.advance) if attempt.advance else None,
        "remarks": list(attempt.remarks),
    }


def _log_data(log: LogRef) -> dict[str, Any]:
    return {"bytes": log.bytes, "sha256": log.sha256, "store": log.store, "object": log.object}


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
        outputs=raw.get("outputs", {}),
        artifacts=tuple(Artifact(**artifact) for artifact in raw.get("artifacts", ())),
        tests=Totals(**raw["tests"]) if raw.get("tests") else None,
        key=raw.get("key", ""),
        reused_from=raw.get("reused_from"),
        unchanged=raw.get("unchanged", False),
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
        log=LogRef(log["bytes"], log["sha256"], log["store"], log.get("object", "")) if log else None,
        reason=raw.get("reason", ""),
        usage=usage(raw["usage"]) if raw.get("usage") else None,
        advance=Advance(**raw["advance"]) if raw.get("advance") else None,
        remarks=tuple(raw.get("remarks", ())),
    )
