"""The entry point of agents: `python -m gzl.cli.agent <git folder> <job>`, without click, because it starts often.

Exit status: 0 the job is recorded (or somebody else runs it), 75 it was handed over, else see `cli.boundary`.
"""

import os
import signal
import sys
from pathlib import Path

from gzl.agent import lease as leases
from gzl.agent.agent import Agent, HandedOver
from gzl.cli.boundary import guarded
from gzl.git.repo import Repo
from gzl.kit import crash
from gzl.kit.clock import system_clock
from gzl.records import unfinished
from gzl.runners.base import runner

GRACE = 10.0  # seconds between SIGTERM and SIGKILL for what is stopped


def main() -> int:
    """Run the job to its end and record it."""
    git_dir, job = Path(sys.argv[1]), sys.argv[2]
    crash.arm(os.environ.get("GZL_CRASH_AT"))
    repo = Repo(git_dir, git_dir, None)
    lease = leases.take(repo.layout.job(job))
    if lease is None:
        return 0
    request = unfinished.request(repo.layout, job)
    runs = runner(request.record.runner)()
    agent = Agent(repo, lease, request, runs, environ=os.environ, clock=system_clock, grace=GRACE)
    signal.signal(signal.SIGTERM, lambda *_: agent.leave())
    signal.signal(signal.SIGUSR1, lambda *_: None)  # only to wake it: `stop` is a file
    try:
        record = agent.run(meanwhile=_prepare_the_end)
    except HandedOver:
        return 75
    from gzl.agent.finish import finish

    finish(repo, lease, record, agent.stages)
    return 0


def _prepare_the_end() -> None:
    """Import what records the job, with pygit2 85 ms: not between a push and its first step, nor after the last one."""
    import gzl.agent.finish  # noqa: F401


if __name__ == "__main__":
    sys.exit(guarded(main))
