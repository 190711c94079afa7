"""Keeps loose objects bounded, as git's own commands do after they wrote some."""

import os
from pathlib import Path

from gzl.git.repo import Repo
from gzl.kit.proc import CommandFailed

# git-config(1), gc.auto: about 6700 loose objects. Object names are evenly spread, so builtin/gc.c looks into one of
# the 256 folders for that share of them.
_GC_AUTO = 6700


def maybe_gc(repo: Repo) -> bool:
    """Let git repack if loose objects have piled up; whether it was asked to. Costs one readdir where they have not.

    Git decides (`gc.auto`, `maintenance.auto`, a gc that already runs), and works in the background. Never raises:
    what was written is written, and the next write asks again.
    """
    if _loose(repo.common_dir / "objects" / "17") <= _GC_AUTO // 256:
        return False
    try:
        repo.git("maintenance", "run", "--auto", "--quiet")
    except CommandFailed:  # git keeps the reason in gc.log and shows it to the user's next `git gc`
        return False
    return True


def _loose(folder: Path) -> int:
    try:
        return len(os.listdir(folder))
    except FileNotFoundError:
        return 0
