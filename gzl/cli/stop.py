"""`gzl stop`: ask for a job to be stopped, and wait until it is."""

import getpass
import os
import signal
import time
from contextlib import suppress

import click

from gzl.cli import find
from gzl.cli.boundary import PASSED
from gzl.cli.context import App, in_repository
from gzl.cli.render import Paper, summary
from gzl.errors import TransientError, UserError
from gzl.git.repo import Repo
from gzl.kit.fs import is_locked, write_atomic
from gzl.managers.launch import start_agent
from gzl.model.record import JobRecord
from gzl.notes.ledger import read_job
from gzl.records import unfinished

_LONG = 60.0  # seconds; an agent gives its stages 10 between SIGTERM and SIGKILL


@click.command("stop")
@click.argument("job")
@in_repository
def command(app: App, job: str) -> int:
    """Stop JOB (an id, a unique prefix, or a commit: its latest job). Its logs are kept; it may run again later."""
    repo = app.initialised
    record = find.job(app, job)
    if record.state.final:
        raise UserError(f"{record.id}: has ended already ({record.state}); there is nothing to stop")
    click.echo(summary(stop(app, repo, record.id), Paper.of(app)))
    return PASSED


def stop(app: App, repo: Repo, job: str) -> JobRecord:
    """Have the job stopped, by its agent or a new one, and give its record. TransientError if that takes too long."""
    layout = repo.layout.job(job)
    with suppress(FileNotFoundError):
        write_atomic(layout.stop, f"stopped by {getpass.getuser()}".encode())
    until = time.monotonic() + _LONG
    while layout.root.exists():
        if is_locked(layout.lease):
            agent = unfinished.read(repo.layout, job).agent
            if agent is not None:
                with suppress(ProcessLookupError):
                    os.kill(agent.pid, signal.SIGUSR1)
        else:
            start_agent(repo, job, app.environ)
        for _ in range(20):
            if not layout.root.exists():
                break
            time.sleep(0.05)
        if time.monotonic() > until:
            raise TransientError(f"{job}: still not stopped after {_LONG:.0f} s; {repo.layout.manager_log} may say why")
    record = read_job(repo, job)
    if record is None:
        raise UserError(f"{job}: was removed without a record; `gzl fsck` says what is wrong")
    return record
