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
    gathered = _Gatherer(repo, lease)
    full = {name: gathered.stage(result, stages[name]) for name, result in record.stages.items()}
    done = without_agent(replace(record, stages=full))
    moved = branches.updates(repo, done, done.ref)
    updates = [*moved, RefUpdate(refs.live(done.id), None, ANY)]
    try:
        store.record(repo, done.writer, done, logs=gathered.blobs, refs=updates, still_mine=lease.held)
    except RefInTheWay:
        branches.make_room(repo, moved)
        store.record(repo, done.writer, done, logs=gathered.blobs, refs=updates, still_mine=lease.held)
    point("agent.recorded")
    unfinished.remove(repo.layout, done.id)


class _Gatherer:
    """Takes from attempt directories what outlives them: `blobs` is what goes into the log ref."""

    def __init__(self, repo: Repo, lease: Lease) -> None:
        self._repo = repo
        self._layout = lease.layout
        self._booted = time.time() - _uptime()
        self.blobs: dict[str, bytes] = {}

    def stage(self, result: StageResult, stage: Stage) -> StageResult:
        """The result with the steps and logs of its attempts."""
        if not result.attempts:
            return result
        return replace(result, attempts=tuple(self._attempt(result.name, a, stage) for a in result.attempts))

    def _attempt(self, name: str, attempt: Attempt, stage: Stage) -> Attempt:
        directory = self._layout.attempt(name, attempt.number)
        log = directory / "log"
        kept = None
        if log.exists():
            kept, data = log_store.store(self._repo, log)
            if data is not None:
                self.blobs[log_store.name(name, attempt.number)] = data
            if kept.bytes and (noted := times.pack(directory)) is not None:
                self.blobs[times.times_name(name, attempt.number)] = noted
        return replace(attempt, steps=tuple(self._steps(directory, attempt, stage)), log=kept)

    def _steps(self, directory: Path, attempt: Attempt, stage: Stage) -> Iterator[StepResult]:
        begun, ended = attempt.started or 0.0, attempt.finished or time.time()
        several = read_steps(directory) if len(stage.steps) > 1 else []
        for number, offset, uptime in several or [(1, 0, None)]:
            if 1 <= number <= len(stage.steps):
                step = stage.steps[number - 1]
                # After a reboot the uptime says nothing about this attempt: no step began before it or after its end.
                started = begun if uptime is None else min(max(self._booted + uptime, begun), ended)
                yield StepResult(number, offset or 0, started, step.line, step.text)


def _uptime() -> float:
    with suppress(FileNotFoundError):
        return float(Path("/proc/uptime").read_text().split()[0])
    return 0.0
