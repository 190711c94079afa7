"""The end of a job: its logs and steps gathered, one record, one atomic transaction, and the folder removed."""

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from gzl.agent.lease import Lease
from gzl.git.refs import ANY, RefInTheWay, RefUpdate
from gzl.git.repo import Repo
from gzl.kit.crash import point
from gzl.logs import store as log_store
from gzl.logs import times
from gzl.model import refs
from gzl.model.pipeline import Stage
from gzl.model.record import Attempt, JobRecord, StageResult, StepResult, without_agent
from gzl.notes import branches, store
from gzl.records import unfinished
from gzl.runners.attempt import read_steps


def finish(repo: Repo, lease: Lease, record: JobRecord, stages: Mapping[str, Stage]) -> None:
    """Write the finished `record` down and remove the job's folder. May be called again after a crash at any point."""
    blobs: dict[str, bytes] = {}
    full = {name: _with_attempts(repo, lease, result, stages[name], blobs) for name, result in record.stages.items()}
    done = without_agent(replace(record, stages=full))
    moved = branches.updates(repo, done, done.ref)
    updates = [*moved, RefUpdate(refs.live(done.id), None, ANY)]
    try:
        store.record(repo, done.writer, done, logs=blobs, refs=updates, still_mine=lease.held)
    except RefInTheWay:
        branches.make_room(repo, moved)
        store.record(repo, done.writer, done, logs=blobs, refs=updates, still_mine=lease.held)
    point("agent.recorded")
    unfinished.remove(repo.layout, done.id)


def _with_attempts(repo: Repo, lease: Lease, result: StageResult, stage: Stage, blobs: dict[str, bytes]) -> StageResult:
    attempts = []
    for attempt in result.attempts:
        directory = lease.layout.attempt(result.name, attempt.number)
        steps = tuple(_steps(directory, attempt, stage))
        kept = None
        if (directory / "log").exists():
            kept, data = log_store.store(repo, directory / "log")
            if data is not None and kept.bytes:
                blobs[log_store.name(result.name, attempt.number)] = data
            if (noted := times.pack(directory)) is not None:
                blobs[times.times_name(result.name, attempt.number)] = noted
        attempts.append(replace(attempt, steps=steps, log=kept))
    return replace(result, attempts=tuple(attempts))


def _steps(directory: Path, attempt: Attempt, stage: Stage) -> Iterator[StepResult]:
    booted = time.time() - _uptime()
    begun, ended = attempt.started or 0.0, attempt.finished or time.time()
    for number, offset, uptime in read_steps(directory) or [(1, 0, None)]:
        if 1 <= number <= len(stage.steps):
            step = stage.steps[number - 1]
            # After a reboot the uptime says nothing about this attempt: no step began before it or after its end.
            started = begun if uptime is None else min(max(booted + uptime, begun), ended)
            yield StepResult(number, offset or 0, started, step.line, step.text)


def _uptime() -> float:
    with suppress(FileNotFoundError):
        return float(Path("/proc/uptime").read_text().split()[0])
    return 0.0
