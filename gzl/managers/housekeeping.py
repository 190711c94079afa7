"""The manager's part in retention: once a day, with nothing else to do, it starts `gzl gc` as a process of its own."""

import sys
from collections.abc import Mapping

from gzl.git.repo import Repo
from gzl.kit import proc

EVERY = 86400.0  # seconds
KEY = "gzl.gc"


def start_gc_if_due(repo: Repo, environ: Mapping[str, str], now: float) -> int | None:
    """The pid of a `gzl gc` that was started, or None: the last one began less than a day ago, or `gzl.gc` is false.

    Costs one stat(2) where it is not due. The first is due a day after the first question: what is new has nothing.
    """
    try:
        last = repo.layout.gc_lock.stat().st_mtime
    except FileNotFoundError:
        repo.layout.gc_lock.touch()
        return None
    if now - last < EVERY or (repo.config(KEY) or "").lower() in ("false", "no", "off", "0"):
        return None
    argv = [sys.executable, "-m", "gzl", "-C", str(repo.git_dir), "gc", "--auto"]
    return proc.spawn(argv, env=proc.scrubbed(environ), stdout=repo.layout.manager_log)
