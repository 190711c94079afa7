"""`gzl manage-repo`: the repo manager, in the foreground, once, or detached."""

import os
import time
from datetime import datetime

import click

from gzl.cli.boundary import NOT_PASSED, PASSED
from gzl.cli.context import App, in_repository
from gzl.kit import crash
from gzl.managers.housekeeping import start_gc_if_due
from gzl.managers.launch import IDLE, start_agent
from gzl.managers.repo import AlreadyManaged, RepoManager
from gzl.runners import cgroup


@click.command("manage-repo")
@click.option("--daemon", is_flag=True, help="Detach from the terminal and go on in the background.")
@click.option("--once", is_flag=True, help="Handle what there is, run it to the end, and leave.")
@click.option(
    "--idle", type=float, metavar="SECONDS", help=f"Leave after so long with nothing to do. [--daemon: {IDLE}]"
)
@in_repository
def command(app: App, daemon: bool, once: bool, idle: float | None) -> int:
    """Turn the events of this repository into jobs, and keep agents at work on them.

    Git's hooks start a manager when they find none, so nobody needs to call this. A service manager may, to have one
    that stays; `git config gzl.jobs` sets how many jobs it runs at once. A second manager says so and leaves.
    """
    crash.arm(app.environ.get("GZL_CRASH_AT"))
    repo = app.initialised
    if daemon:
        if os.fork():
            return PASSED
        os.setsid()
        idle = IDLE if idle is None else idle
    try:
        cgroup.remove_old()
        if why := cgroup.why_none():
            _say(f"stages have no control groups, and end without them: {why}")
        manager = RepoManager(
            repo,
            app.clock,
            _say,
            lambda job: start_agent(repo, job, app.environ),
            lambda: _say_started(start_gc_if_due(repo, app.environ, app.clock())),
        )
        manager.run(once=once, idle=idle)
    except AlreadyManaged as error:
        _say(str(error))
        return PASSED if daemon else NOT_PASSED
    return PASSED


def _say_started(gc: int | None) -> None:
    if gc is not None:
        _say(f"gzl gc: process {gc}")


def _say(line: str) -> None:
    print(f"{datetime.fromtimestamp(time.time()).isoformat(sep=' ', timespec='milliseconds')} {line}", flush=True)
