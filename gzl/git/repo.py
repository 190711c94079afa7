"""Where a repository is and how it is configured; found by git itself, so that worktrees, submodules and bare
repositories need no cases of their own. Imports no pygit2: commands that only read a file or two stay fast."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gzl.errors import UserError
from gzl.kit.proc import CommandFailed, git, run
from gzl.model.layout import Layout


@dataclass(frozen=True, slots=True)
class Repo:
    """A repository as one of its worktrees sees it; all paths absolute."""

    git_dir: Path
    common_dir: Path
    worktree: Path | None
    """The root of the working tree; None where the repository is bare."""

    @property
    def bare(self) -> bool:
        return self.worktree is None

    @property
    def layout(self) -> Layout:
        """gzl's own folder, shared by all worktrees."""
        return Layout(self.common_dir / "gzl")

    def git(self, *args: str, stdin: bytes = b"", extra: Mapping[str, str] | None = None) -> bytes:
        """What `git args…` prints, run on this repository's git folder, with `extra` in its environment. Raises
        CommandFailed."""
        return git(self.common_dir, "--git-dir", str(self.git_dir), *args, stdin=stdin, extra=extra)

    def config(self, key: str) -> str | None:
        """The value of a configuration key, or None where it is not set."""
        done = run(["git", "--git-dir", str(self.git_dir), "config", "--get", "--", key])
        return done.stdout.decode(errors="surrogateescape").removesuffix("\n") if done.status == 0 else None

    def resolve(self, revision: str) -> str | None:
        """The commit that `revision` names, in hex, or None if it names none."""
        done = run(
            ["git", "--git-dir", str(self.git_dir), "rev-parse", "--verify", "--quiet", "--end-of-options",
             f"{revision}^{{commit}}"]
        )  # fmt: skip
        return done.stdout.decode().strip() if done.status == 0 else None

    def symbolic(self, revision: str) -> str:
        """The full name of the ref that `revision` names; empty where it names a commit only."""
        if revision.startswith("-"):  # rev-parse prints its --end-of-options here
            return ""
        done = run(["git", "--git-dir", str(self.git_dir), "rev-parse", "--symbolic-full-name", revision])
        return os.fsdecode(done.stdout).strip() if done.status == 0 else ""


def open_repo(directory: Path, environ: Mapping[str, str] | None = None) -> Repo:
    """The repository that `directory` is in. UserError if there is none."""
    try:
        printed = git(
            directory, "rev-parse", "--path-format=absolute", "--git-dir", "--git-common-dir", "--is-bare-repository",
            env=environ,
        )  # fmt: skip
    except CommandFailed as error:
        if "not a git repository" in error.stderr:
            raise UserError(
                f"{directory}: not in a git repository; `git init` makes one, -C names another folder"
            ) from error
        raise UserError(f"{directory}: git cannot read this repository: {error.stderr.strip()}") from error
    paths, _, bare = os.fsdecode(printed).removesuffix("\n").rpartition("\n")
    # A path may hold line breaks; both are absolute, and outside of a linked worktree they are the same.
    half = len(paths) // 2
    same = paths[:half] == paths[half + 1 :]
    git_dir, _, common_dir = (paths[:half], "", paths[half + 1 :]) if same else paths.partition("\n/")
    common_dir = f"/{common_dir.removeprefix('/')}"
    worktree = None
    if bare == "false":
        top = run(
            ["git", "-C", str(directory), "rev-parse", "--path-format=absolute", "--show-toplevel"],
            env=environ,
        )
        # Inside the git folder of a repository with a working tree there is no top level to show.
        worktree = Path(os.fsdecode(top.stdout).removesuffix("\n")) if top.status == 0 else Path(git_dir).parent
    return Repo(Path(git_dir), Path(common_dir), worktree)
