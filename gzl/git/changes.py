"""Which files differ from where a stage last passed: what `paths=` and `gzl changed` go by.

A commit is compared with one on which the stage passed (`Base`). If that is an ancestor, the files that differ are all
there is to it. If it is not (the branch was rewritten), every file counts that changed on either line since they
parted: a pass on the one line says nothing of the commit where they did. That is never less than what differs.

All by git's plumbing, whose output no setting of the user's changes: in most cases two processes of a few milliseconds,
on 75,000 commits too, where pygit2's import alone takes 85.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gzl.git import refs
from gzl.git.repo import Repo
from gzl.gzlfile.globs import select
from gzl.kit.proc import CommandFailed


@dataclass(frozen=True, slots=True)
class Base:
    """What a commit is compared with."""

    passed: str
    """The commit on which the stage passed."""
    forks: tuple[str, ...] = ()
    """Where that is no ancestor: the best common ancestors, several if histories were merged criss-cross."""


class File(NamedTuple):
    """A file of a commit's tree; `mode` as git has it (`100644`, `160000` for a submodule), `oid` in hex."""

    path: str
    mode: str
    oid: str


def base(repo: Repo, ref: str | None, commit: str, nearest: Callable[[], str | None]) -> Base | None:
    """What to compare `commit` with, for a stage whose last pass on the job's branch is at `ref` (full name).

    Where there is no such ref, or no branch (`ref` None), it is the commit that `nearest` gives, an ancestor. None if
    nothing can be said: the stage never passed, the commit that it passed on is not here (a shallow clone, a damaged
    repository), or the two have no ancestor in common.
    """
    if ref is not None:
        if (found := _if_ancestor(repo, ref, commit)) is not None:
            return found
        if (passed := refs.read(repo, ref).get(ref)) is not None:
            return _parted(repo, passed, commit)
    earlier = nearest()
    return None if earlier is None else Base(earlier)


def _if_ancestor(repo: Repo, ref: str, commit: str) -> Base | None:
    """The usual case: reads the ref and says whether it is an ancestor, in one process."""
    try:
        printed = repo.git("for-each-ref", f"--merged={commit}", "--format=%(objectname) %(refname)", ref)
    except CommandFailed:
        return None  # what the ref holds is not here
    oid, _, name = printed.removesuffix(b"\n").partition(b" ")
    return Base(oid.decode()) if name == os.fsencode(ref) else None  # a pattern matches what is below it, too


def _parted(repo: Repo, passed: str, commit: str) -> Base | None:
    try:
        common = repo.git("merge-base", "--all", passed, commit).decode().split()
    except CommandFailed:
        return None
    return Base(passed, tuple(common))


def changed(repo: Repo, base: Base, commit: str, globs: Sequence[str] = ()) -> list[str]:
    """The paths that changed from `base` to `commit`, sorted; with `globs` only those that one of them matches.

    A file that was removed has changed, one whose mode did, a submodule that moved; a file that was renamed under both
    of its names. Raises CommandFailed where objects are missing.
    """
    pairs = [(end, fork) for fork in base.forks for end in (commit, base.passed)] or [(commit, base.passed)]
    # --ignore-submodules=none: a .gitmodules in the repository may say otherwise.
    printed = repo.git(
        "diff-tree", "--stdin", "-r", "-z", "--name-only", "--no-commit-id", "--no-renames", "--ignore-submodules=none",
        stdin="".join(f"{one} {other}\n" for one, other in pairs).encode(),
    )  # fmt: skip
    paths = sorted({os.fsdecode(path) for path in printed.split(b"\0") if path})
    return select(globs, paths) if globs else paths


def files(repo: Repo, commit: str) -> list[File]:
    """Every file of a commit, in git's order."""
    printed = os.fsdecode(repo.git("ls-tree", "-r", "-z", "--full-tree", commit))
    return [_file(entry) for entry in printed.split("\0") if entry]


def matching(found: Iterable[File], globs: Sequence[str]) -> list[File]:
    """The files that one of the globs matches."""
    by_path = {file.path: file for file in found}
    return [by_path[path] for path in select(globs, by_path)]


def _file(entry: str) -> File:
    # "<mode> SP <type> SP <object> TAB <path>" (git-ls-tree(1))
    about, _, path = entry.partition("\t")
    mode, _, oid = about.split(" ")
    return File(path, mode, oid)
