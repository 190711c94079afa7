"""Other repositories that a Gzlfile may name: `lib` in `lib//package`, on this machine or at an SSH address.

`git config gzl.repository.lib.url` says where one is, as a path (from the folder that this repository is in) or as
git writes SSH addresses; where it says nothing, it is the folder `lib` or `lib.git` beside this repository.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from gzl.errors import UserError
from gzl.git.repo import Repo, open_repo
from gzl.gzlfile.names import repo_flaw
from gzl.kit.text import escaped
from gzl.model.pipeline import StageRef
from gzl.model.refs import short_branch

_SCP_LIKE = re.compile(r"[^/:]+:.")


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another repository: `repo` if it is on this machine, else `url`, an SSH address."""

    name: str
    repo: Repo | None
    url: str = ""


@dataclass(frozen=True, slots=True)
class Tip:
    """A branch of a neighbour, and where it is now."""

    branch: str
    """Empty where HEAD is meant, and is no branch."""
    commit: str

    def __str__(self) -> str:
        return f"{escaped(self.branch or 'HEAD')} ({self.commit[:12]})"


def find(repo: Repo, name: str) -> Neighbour:
    """The repository that `repo` calls `name`. UserError says what to configure."""
    if flaw := repo_flaw(name):
        raise UserError(flaw)
    key = f"gzl.repository.{name}.url"
    url = repo.config(key)
    if url is None:
        beside = _beside(repo)
        candidates = [beside / name, beside / f"{name}.git"]
        advice = f"`git config {key} PATH` (or an SSH address) says where it is"
        looked = f"no repository {name!r}: neither {candidates[0]} nor {candidates[1]} is one"
    elif is_ssh(url):
        return Neighbour(name, None, url)
    else:
        candidates = [_beside(repo) / Path(url.removeprefix("file://")).expanduser()]
        advice = f"`git config {key} PATH` mends it"
        looked = f"{candidates[0]} is no repository"
    path = next(filter(_is_repository, candidates), None)
    if path is None:
        raise UserError(f"{escaped(looked)}; {advice}")
    found = open_repo(path)
    if not found.layout.root.is_dir():
        raise UserError(f"{path}: gzl is not set up there; run `gzl -C {path} init`")
    return Neighbour(name, found)


def tip(there: Repo, ref: StageRef, branch: str) -> Tip:
    """Where in the repository `there` the stage of `ref` is to run: at the branch that it names, else at this job's
    `branch` (may be empty) if it is there too, else at HEAD. UserError if there is nothing."""
    if ref.branch is not None:
        commit = there.resolve(f"refs/heads/{ref.branch}")
        if commit is None:
            raise UserError(f"{ref.repo} has no branch {escaped(ref.branch)!r}; `git branch` lists them there")
        return Tip(ref.branch, commit)
    if branch and (commit := there.resolve(f"refs/heads/{branch}")) is not None:
        return Tip(branch, commit)
    commit = there.resolve("HEAD")
    if commit is None:
        raise UserError(f"{ref.repo} has no commit yet; push one, or name a branch: `{ref.repo}@BRANCH//{ref.stage}`")
    return Tip(short_branch(there.symbolic("HEAD")) or "", commit)


def is_ssh(url: str) -> bool:
    """Whether it is an SSH address in either of git's two forms (git-clone(1), GIT URLS), and no path."""
    return url.startswith("ssh://") or (
        "://" not in url and not url.startswith("/") and _SCP_LIKE.match(url) is not None
    )


def _beside(repo: Repo) -> Path:
    """The folder that the repository is in."""
    inside = repo.common_dir.name == ".git"
    return repo.common_dir.parent.parent if inside else repo.common_dir.parent


def _is_repository(path: Path) -> bool:
    """Whether the folder itself is a repository, and not only in one."""
    return os.path.lexists(path / ".git") or ((path / "HEAD").is_file() and (path / "objects").is_dir())
