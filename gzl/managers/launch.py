"""Starting agents and managers as processes of their own, which outlive whoever starts them."""

import sys
from collections.abc import Mapping

from gzl.git.repo import Repo
from gzl.kit import proc
from gzl.kit.fs import is_locked
from gzl.managers.repo import wake

IDLE = 600  # seconds of nothing to do after which a manager that was started by need ends


def start_agent(repo: Repo, job: str, environ: Mapping[str, str]) -> int:
    """Start an agent for a job; its pid. It leaves at once if another one holds the job."""
    argv = [sys.executable, "-m", "gzl.cli.agent", str(repo.common_dir), job]
    return proc.spawn(argv, env=proc.scrubbed(environ), stdout=repo.layout.manager_log)


def ensure_manager(repo: Repo, environ: Mapping[str, str]) -> None:
    """Wake the repository's manager, or start one in the background."""
    if is_locked(repo.layout.manager_lock):
        wake(repo)
    else:
        argv = [sys.executable, "-m", "gzl", "-C", str(repo.git_dir), "manage-repo", "--daemon", "--idle", str(IDLE)]
        proc.spawn(argv, env=proc.scrubbed(environ), stdout=repo.layout.manager_log)
