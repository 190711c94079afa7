"""The entry point of agents: `python -m gzl.cli.agent <git folder> <job>`, without click, because it starts often.

Exit status: 0 the job is recorded (or somebody else runs it), 75 it was handed over, else see `cli.boundary`.
"""

import os
import signal
import sys
from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from gzl.agent import lease as leases
from gzl.agent.agent import Agent, HandedOver
from gzl.agent.conditions import Conditions
from gzl.agent.preparation import Preparation
from gzl.agent.vault import Vault
from gzl.cli.boundary import guarded
from gzl.git.repo import Repo
from gzl.jobapi import shim
from gzl.jobapi.listener import Listener
from gzl.jobapi.tokens import Tokens
from gzl.jobapi.tokens import key as tokens_key
from gzl.kit import crash
from gzl.kit.clock import system_clock
from gzl.kit.fs import append
from gzl.kit.mask import Masker
from gzl.records import unfinished
from gzl.runners.base import runner

if TYPE_CHECKING:
    from gzl.agent.caches import Caches
    from gzl.agent.host import AgentHost
    from gzl.objects.base import ObjectStore

GRACE = 10.0  # seconds between SIGTERM and SIGKILL for what is stopped
MAX_TRIES = 20  # agents of a job that may die or fail in a row; then it is the job (or gzl), and not bad luck


def main() -> int:
    """Run the job to its end and record it."""
    git_dir, job = Path(sys.argv[1]), sys.argv[2]
    crash.arm(os.environ.get("GZL_CRASH_AT"))
    repo = Repo(git_dir, git_dir, None)
    lease = leases.take(repo.layout.job(job))
    if lease is None:
        return 0
    request = unfinished.request(repo.layout, job)
    append(lease.layout.tries, b".")
    if lease.layout.tries.stat().st_size > MAX_TRIES:
        from gzl.agent.finish import give_up

        give_up(repo, lease, request.record, system_clock())
        return 0
    runs = runner(request.record.runner)()
    store = lru_cache(maxsize=8)(partial(_store, os.environ))
    conditions = Conditions(repo, request, lambda digest: store(repo).has(digest) is not None)
    vault = Vault(repo.layout, lease.layout, request.record)
    tokens = Tokens(job, tokens_key(lease.layout.api_key))

    def masks() -> Masker:
        return vault.masker

    def host() -> "AgentHost":
        from gzl.agent.host import AgentHost, Means

        means = Means(repo, tokens, store, masks, conditions, system_clock, shared=True)
        return AgentHost(agent, agent.desk, means)

    def caches() -> "Caches":
        from gzl.agent.caches import Caches

        tmp = repo.layout.objects / "tmp"
        return Caches(repo, lambda: store(repo), request.record, masker=masks, tmp=tmp, clock=system_clock)

    listener = Listener(
        lease.layout, tokens, host, Path(os.environ.get("XDG_RUNTIME_DIR") or os.environ.get("TMPDIR") or "/tmp")
    )
    preparation = Preparation(
        request, os.environ, conditions=conditions, contact=listener, vault=vault, caches=caches, commands=shim.folder()
    )
    agent = Agent(
        repo, lease, request, runs, conditions=conditions, preparation=preparation, clock=system_clock, grace=GRACE
    )
    signal.signal(signal.SIGTERM, lambda *_: agent.leave())
    signal.signal(signal.SIGUSR1, lambda *_: None)  # only to wake it: `stop` is a file
    try:
        record = agent.run(meanwhile=_prepare_the_end)
    except HandedOver:
        lease.layout.tries.unlink()
        return 75
    finally:
        listener.close()
    from gzl.agent.finish import finish

    finish(repo, lease, record, agent.stages, os.environ)
    return 0


def _store(environ: Mapping[str, str], repo: Repo) -> "ObjectStore":
    from gzl.objects.opening import of

    return of(repo, environ)


def _prepare_the_end() -> None:
    """Import what records the job, with pygit2 85 ms: not between a push and its first step, nor after the last one."""
    import gzl.agent.finish  # noqa: F401


if __name__ == "__main__":
    sys.exit(guarded(main))
