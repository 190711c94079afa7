"""A dirty working tree as a commit: what `gzl run` runs where no commit was named."""

import os
import shutil
import tempfile
from pathlib import Path

from gzl.errors import UserError
from gzl.git.repo import Repo
from gzl.kit.proc import git


def snapshot(repo: Repo, directory: Path) -> tuple[str, str | None]:
    """The commit to run for the working tree around `directory`: HEAD itself where nothing differs from it, else a new
    commit on top of HEAD with all that git does not ignore; then HEAD is given too, as what it is a snapshot of.

    The user's index and working tree stay as they are. The commit is dated as HEAD is, so that the same content gives
    the same commit, and finds its verdict.
    """
    head = repo.resolve("HEAD")
    if head is None:
        raise UserError(f"{repo.worktree}: no commit yet; `git commit` makes the first")
    if repo.worktree is None:
        return head, None
    with tempfile.TemporaryDirectory(prefix="gzl-index-") as folder:
        index = Path(folder) / "index"
        if (repo.git_dir / "index").exists():
            shutil.copyfile(repo.git_dir / "index", index)  # with its cache of stat data: only what changed is read
        extra = {"GIT_INDEX_FILE": str(index)}
        git(repo.worktree, "add", "--all", "--", ".", extra=extra)
        tree = git(repo.worktree, "write-tree", extra=extra).decode().strip()
    if tree == repo.git("rev-parse", f"{head}^{{tree}}").decode().strip():
        return head, None
    when = os.fsdecode(repo.git("show", "-s", "--format=%ct +0000", head)).strip()
    identity = {
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "gzl"), ("EMAIL", "gzl@localhost"), ("DATE", when))
    }
    message = f"Snapshot of the working tree on {head[:12]}"
    commit = repo.git("commit-tree", "-p", head, "-m", message, tree, extra=identity).decode().strip()
    return commit, head
