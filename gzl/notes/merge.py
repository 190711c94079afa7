"""Merging two versions of the notes, as `git notes merge -s cat_sort_uniq` does it (git-notes(1), notes-merge.c).

It is done here, on trees, because git's own would choose another layout for the tree, and moves the ref without looking
at what it holds by then.
"""

from dataclasses import dataclass

import pygit2
from pygit2 import Oid, Repository
from pygit2.enums import FileMode

from gzl.git import trees
from gzl.git.repo import Repo
from gzl.notes import fanout
from gzl.notes.text import merged


@dataclass(frozen=True, slots=True)
class _Three:
    """What one place of the tree holds in the common ancestor, here, and there: object id, whether it is a folder."""

    base: tuple[Oid, bool] | None
    ours: tuple[Oid, bool] | None
    theirs: tuple[Oid, bool] | None

    @property
    def settled(self) -> bool:
        """Whether at most one side changed it."""
        return self.ours == self.theirs or self.base in (self.ours, self.theirs)

    @property
    def result(self) -> tuple[Oid, bool] | None:
        return self.theirs if self.ours in (self.base, self.theirs) else self.ours


def notes(repo: Repo, ours: str | None, theirs: str, author: str) -> str:
    """The commit (in hex, as are `ours` and `theirs`) that holds both versions: one of the two where it already does,
    else a new one with both as parents, so that a push of it is a fast-forward. No ref moves."""
    if ours is None or ours == theirs:
        return theirs
    one, other = Oid(hex=ours), Oid(hex=theirs)
    return str(trees.again(repo.common_dir, lambda objects: _notes(objects, one, other, author)))


def _notes(repo: Repository, ours: Oid, theirs: Oid, author: str) -> Oid:
    base = repo.merge_base(ours, theirs)
    if base == theirs:
        return ours
    if base == ours:
        return theirs
    before, here, there = (fanout.normal(repo, trees.tree_of(repo, commit)) for commit in (base, ours, theirs))
    tree = _merge(repo, _Three(_folder(before), _folder(here), _folder(there)))
    when = max(_time(repo, ours), _time(repo, theirs))
    empty = repo.TreeBuilder().write()
    return trees.commit(
        repo, tree[0] if tree else empty, [ours, theirs], author=author, time=when, message="Merge notes of gzl\n"
    )


def _merge(repo: Repository, three: _Three) -> tuple[Oid, bool] | None:
    if three.settled:
        return three.result
    if any(side is not None and side[1] for side in (three.base, three.ours, three.theirs)):
        return _merge_folders(repo, three)
    if three.ours is None:  # removed here, changed there: git takes it as it is there
        return three.theirs
    texts = [fanout.text_of(repo, side[0]) for side in (three.ours, three.theirs) if side is not None]
    return repo.create_blob(merged(*texts)), False


def _merge_folders(repo: Repository, three: _Three) -> tuple[Oid, bool] | None:
    base, ours, theirs = (_entries(repo, side) for side in (three.base, three.ours, three.theirs))
    start = three.ours or three.theirs
    builder = repo.TreeBuilder(start[0]) if start and start[1] else repo.TreeBuilder()
    for name in ours.keys() | theirs.keys():
        result = _merge(repo, _Three(base.get(name), ours.get(name), theirs.get(name)))
        if result is not None:
            builder.insert(name, result[0], FileMode.TREE if result[1] else FileMode.BLOB)
        elif builder.get(name) is not None:
            builder.remove(name)
    return (builder.write(), True) if len(builder) else None


def _entries(repo: Repository, side: tuple[Oid, bool] | None) -> dict[str, tuple[Oid, bool]]:
    return trees.entries(repo, side[0]) if side is not None and side[1] else {}


def _folder(tree: Oid | None) -> tuple[Oid, bool] | None:
    return None if tree is None else (tree, True)


def _time(repo: Repository, commit: Oid) -> float:
    found = repo[commit]
    assert isinstance(found, pygit2.Commit)
    return float(found.commit_time)
