"""`gzl run --join`: take what there is of some stages at a commit, follow the job that is at it, or start one."""

import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout, suppress
from dataclasses import replace
from typing import TextIO

import click

from gzl.cli.boundary import NOT_PASSED, PASSED, say
from gzl.cli.context import App
from gzl.cli.follow import Follower
from gzl.cli.render import Paper, summary
from gzl.cli.stop import stop
from gzl.cli.watch import watch
from gzl.errors import TransientError, UserError
from gzl.git.repo import Repo
from gzl.kit.fs import is_locked, locked, write_atomic
from gzl.managers import foreign, jobs
from gzl.managers.foreign import Settled, UnderWay
from gzl.managers.jobs import Asked, Known, Nothing, Refused
from gzl.managers.launch import start_agent
from gzl.managers.repo import wake
from gzl.managers.settings import Settings
from gzl.model.ids import new_job_id
from gzl.model.record import JobRecord, to_data
from gzl.model.request import JobRequest
from gzl.notes.index import open_index
from gzl.planning.extend import needed_by
from gzl.records import unfinished

JOINED = "GZL_JOINED"
"""What waits for the stages, if it is another job: as in a file of `JobLayout.joined`."""
_TRIES = 5  # jobs that are followed and come to no verdict, because they are stopped say


def join(app: App, repo: Repo, settings: Settings, asked: Asked, *, as_json: bool) -> int:
    """See the module. Gives the exit status of the stages that `asked` names: 0 if all passed.

    With `as_json` the standard output is the record of the job that was taken, and all else goes to standard error.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    joined = app.environ.pop(JOINED, "")  # of this process alone, not of an agent that it starts
    stages = jobs.members(asked)
    aside: AbstractContextManager[TextIO | None] = redirect_stdout(sys.stderr) if as_json else nullcontext()
    with aside:
        record = _settle(app, repo, settings, asked, stages, joined)
    if as_json:
        click.echo(json.dumps(to_data(record), indent=2))
    return PASSED if foreign.passed(record, stages) else NOT_PASSED


def _settle(app: App, repo: Repo, settings: Settings, asked: Asked, stages: Sequence[str], joined: str) -> JobRecord:
    for _ in range(_TRIES):
        found = _find_or_create(app, repo, settings, asked, stages)
        match found:
            case JobRequest():
                with _noted(repo, found.record.id, joined):
                    return _carry_out(app, repo, found.record.id)
            case Settled(record) | Known(record):
                click.echo(f"taken from what ran already: {summary(record, Paper.of(app))}")
                return record
            case UnderWay(job):
                with _noted(repo, job, joined):
                    _refuse_circle(repo, job, stages, joined)
                    record_or_none = _follow(app, repo, job, stages)
                if record_or_none is not None:
                    return record_or_none
                say(f"{job} ended without a verdict; looking again")
    raise TransientError(f"{_TRIES} jobs that had {' and '.join(stages)} came to no verdict; `gzl list` shows them")


def _find_or_create(
    app: App, repo: Repo, settings: Settings, asked: Asked, stages: Sequence[str]
) -> JobRequest | Settled | Known | UnderWay:
    """Under a lock, so that of several who want the same only one starts a job."""
    with locked(repo.layout.root / "join.lock"), open_index(repo) as index:
        found = foreign.find(repo, index, asked.source.commit, stages, settings.trusted)
        if found is not None:
            return found
        again = replace(asked, job=new_job_id(app.clock()))
        match jobs.answer(repo, again, index, settings.trusted):
            case Nothing(because):
                raise UserError(because)
            case Refused(record):
                raise UserError(record.reason)
            case Known(record) as known:
                return known
            case JobRequest() as request:
                jobs.create(repo, request)
                return request


def _carry_out(app: App, repo: Repo, job: str) -> JobRecord:
    """Run a job that was made here to its end: its agent is this process's child, and would end with it."""
    start_agent(repo, job, app.environ)
    follower = _follower(app, repo, job)
    try:
        watch(app, follower)
    except KeyboardInterrupt:
        say(f"stopping job {job}")
        stop(app, repo, job)
        raise
    return follower.record


def _follow(app: App, repo: Repo, job: str, stages: Sequence[str]) -> JobRecord | None:
    """Wait for what becomes of the stages in a job that somebody else started; None if it came to no verdict."""
    try:
        follower = _follower(app, repo, job)
    except UserError:
        return None  # it was recorded meanwhile
    ours = False

    def attend(app: App, follower: Follower) -> None:
        nonlocal ours
        if is_locked(repo.layout.manager_lock):
            wake(repo)  # it starts the agent when it is the job's turn
        else:
            ours = True
            start_agent(repo, job, app.environ)

    watch(app, follower, until=lambda record: foreign.settled(record, stages) and not ours, attend=attend)
    if foreign.settled(follower.record, stages) or not foreign.inconclusive(follower.record):
        return follower.record
    return None


@contextmanager
def _noted(repo: Repo, job: str, joined: str) -> Iterator[None]:
    """Note at the job who waits for it, so that it does not come to wait for them."""
    note = repo.layout.job(job).joined / str(os.getpid())
    with suppress(FileNotFoundError):  # the job was recorded meanwhile
        if joined:
            note.parent.mkdir(exist_ok=True)
            write_atomic(note, joined.encode())
    try:
        yield
    finally:
        note.unlink(missing_ok=True)


def _refuse_circle(repo: Repo, job: str, stages: Sequence[str], joined: str) -> None:
    """UserError if the stages of that job wait for one of those that wait for them."""
    waiting = [line.partition(" ")[2] for line in joined.splitlines() if line.partition(" ")[0] == job]
    if not waiting:
        return
    known = unfinished.stages(repo.layout, job)
    for stage in stages:
        if behind := [one for one in waiting if one == stage or one in needed_by(stage, known)]:
            raise UserError(
                f"{stage} of job {job} waits for {behind[0]}, which waits for it through another repository; remove one"
                " of these dependencies"
            )


def _follower(app: App, repo: Repo, job: str) -> Follower:
    follower = Follower.of(repo, job, app.environ)
    if follower is None:
        raise UserError(f"{job}: was removed before it could be watched; `gzl show {job}`")
    return follower


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
