"""The end of a job: its logs and steps gathered, one record, one atomic transaction, and the folder removed."""

import signal
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from gzl.agent.lease import Lease
from gzl.git.refs import ANY, RefInTheWay, RefUpdate
from gzl.git.repo import Repo
from gzl.kit.crash import point
from gzl.kit.fs import NotPlain
from gzl.kit.proc import marked, signal_all
from gzl.logs import gather
from gzl.logs.masking import Moved, masker
from gzl.logs.store import Objects
from gzl.model import refs
from gzl.model.journal import replay
from gzl.model.pipeline import Stage
from gzl.model.record import Attempt, JobRecord, StageResult, StepResult, without_agent
from gzl.model.result import State
from gzl.notes import branches, store
from gzl.objects import opening
from gzl.records import unfinished
from gzl.runners.attempt import read_steps

Begun = tuple[int, int | None, float | None]
"""A step as `read_steps` gives it."""


def finish(
    repo: Repo, lease: Lease, record: JobRecord, stages: Mapping[str, Stage], environ: Mapping[str, str]
) -> None:
    """Write the finished `record` down and remove the job's folder. May be called again after a crash at any point.

    `environ` has the credentials of the object store.
    """
    gathered = _Gatherer(lease, lambda: opening.of(repo, environ))
    full = {name: gathered.stage(result, stages[name]) for name, result in record.stages.items()}
    done = without_agent(replace(record, stages=full))
    moved = branches.updates(repo, done, done.ref)
    comments = unfinished.comments(repo.layout, done.id)
    updates = [*moved, RefUpdate(refs.live(done.id), None, ANY)]
    record_it = partial(
        store.record, repo, done.writer, done,
        logs=gathered.blobs, comments=comments, refs=updates, still_mine=lease.held,
    )  # fmt: skip
    try:
        record_it()
    except RefInTheWay:
        branches.make_room(repo, moved)
        record_it()
    point("agent.recorded")
    unfinished.remove(repo.layout, done.id)


def give_up(repo: Repo, lease: Lease, request: JobRecord, now: float) -> None:
    """End a job whose agents fail again and again: what still runs is killed, the job is recorded as lost without its
    logs, and its folder is kept among what could not be handled."""
    job = replay(request, unfinished.journal(repo.layout, request.id))
    for name, stage in job.stages.items():
        for attempt in stage.attempts if not stage.state.final else ():
            signal_all(marked(f"GZL_ATTEMPT={lease.layout.attempt(name, attempt.number)}"), signal.SIGKILL)
    stages = {
        name: stage if stage.state.final else replace(stage, state=State.LOST) for name, stage in job.stages.items()
    }
    kept = unfinished.aside(repo.layout, job.id)
    reason = f"its agents failed again and again; {repo.layout.manager_log} says why, {kept} has what they left"
    done = without_agent(replace(job, stages=stages, state=State.LOST, finished=now, reason=reason))
    store.record(repo, done.writer, done, refs=[RefUpdate(refs.live(done.id), None, ANY)], still_mine=lease.held)
    unfinished.set_aside(repo.layout, done.id)


class _Gatherer:
    """Takes from attempt directories what outlives them: `blobs` is what goes into the log ref."""

    def __init__(self, lease: Lease, objects: Objects) -> None:
        self._layout = lease.layout
        self._objects = objects
        self._masker = masker(lease.layout)
        self._booted = time.time() - _uptime()
        self.blobs: dict[str, bytes] = {}

    def stage(self, result: StageResult, stage: Stage) -> StageResult:
        """The result with the steps and logs of its attempts."""
        if not result.attempts:
            return result
        return replace(result, attempts=tuple(self._attempt(result.name, a, stage) for a in result.attempts))

    def _attempt(self, name: str, attempt: Attempt, stage: Stage) -> Attempt:
        directory = self._layout.attempt(name, attempt.number)
        begun, problem = [], ""
        try:
            begun = read_steps(directory) if len(stage.steps) > 1 else []
        except NotPlain as error:
            problem = str(error)
        offsets = [offset for _, offset, _ in begun if offset is not None]
        kept = gather.attempt(directory, name, attempt.number, self._masker, self._objects, offsets)
        self.blobs |= kept.files
        steps = self._steps(begun or [(1, 0, None)], attempt, stage, kept.moved)
        return replace(attempt, steps=tuple(steps), log=kept.log, reason=attempt.reason or kept.problem or problem)

    def _steps(self, begun: Iterable[Begun], attempt: Attempt, stage: Stage, moved: Moved) -> Iterator[StepResult]:
        started, ended = attempt.started or 0.0, attempt.finished or time.time()
        for number, offset, uptime in begun:
            if 1 <= number <= len(stage.steps):
                step = stage.steps[number - 1]
                # After a reboot the uptime says nothing about this attempt: no step began before it or after its end.
                when = started if uptime is None else min(max(self._booted + uptime, started), ended)
                yield StepResult(number, moved.at(offset or 0), when, step.line, step.text)


def _uptime() -> float:
    with suppress(FileNotFoundError):
        return float(Path("/proc/uptime").read_text().split()[0])
    return 0.0
