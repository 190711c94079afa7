"""`gzl attach`: watch a job; Ctrl-C leaves it running. With --event, the job that a push is about to start."""

import time

import click

from gzl.cli import find
from gzl.cli.boundary import INTERRUPTED, PASSED, say
from gzl.cli.context import App
from gzl.cli.follow import Follower
from gzl.cli.remote import reading
from gzl.cli.render import Paper, stage_line, summary
from gzl.cli.watch import exit_status, watch
from gzl.errors import UserError
from gzl.githooks import spool
from gzl.managers.launch import ensure_manager
from gzl.model.ids import is_job_id
from gzl.model.record import JobRecord
from gzl.notes.ledger import read_job


@click.command("attach")
@click.argument("job", default="HEAD")
@click.option("--event", metavar="NAME", help="Wait for the job of this event file (what `git push -o gzl.wait` does).")
@reading
def command(app: App, job: str, event: str | None) -> int:
    """Watch JOB (a job's id, a unique prefix of one, or a commit: its latest job) until it ends.

    The exit status is the job's: 0 passed, 1 did not pass. Ctrl-C detaches; the job goes on.
    """
    repo = app.initialised
    if event is not None:
        told = _outcome(app, event)
        if not is_job_id(told.split()[0]):
            click.echo(f"gzl: no job: {told}")
            return PASSED
        job_id = told.split()[0]
    else:
        job_id = _found(app, job)
    follower = Follower.of(repo, job_id, app.environ)
    if follower is None:
        record = read_job(repo, job_id)
        if record is None:
            raise UserError(f"{job_id}: no such job; `gzl list` shows the jobs")
        if event is None:
            _show(record, Paper.of(app))
            return exit_status(record)
        follower = Follower.replay(repo, record, app.environ)
    try:
        return watch(app, follower)
    except KeyboardInterrupt:
        say(f"detached; job {job_id} goes on, `gzl attach {job_id}` comes back to it, `gzl stop {job_id}` stops it")
        return INTERRUPTED


def _found(app: App, name: str) -> str:
    """The job's id. A push that has just returned may be ahead of the manager: its event is then still in the spool."""
    while True:
        told_of = spool.pending(app.repo.layout) or spool.claimed(app.repo.layout)
        try:
            return find.job(app, name).id
        except UserError:
            if not told_of:
                raise
        ensure_manager(app.repo, app.environ)
        time.sleep(0.05)


def _outcome(app: App, event: str) -> str:
    """What the manager says came of an event."""
    layout = app.repo.layout
    asked = 0.0
    while (told := spool.read_outcome(layout, event)) is None:
        if time.monotonic() - asked > 1.0:
            ensure_manager(app.repo, app.environ)
            asked = time.monotonic()
        time.sleep(0.02)
    return told


def _show(record: JobRecord, paper: Paper) -> None:
    width = max(map(len, record.stages), default=0)
    for stage in record.stages.values():
        click.echo(stage_line(stage, paper, width))
    click.echo(summary(record, paper))
