"""`refs/gzl/last/…` and `refs/gzl/passed/…`: the commits that a stage last ran and last passed on, by branch."""

from collections.abc import Sequence

from gzl.git import refs
from gzl.git.refs import ANY, RefInTheWay, RefUpdate
from gzl.git.repo import Repo
from gzl.model import refs as names
from gzl.model.record import JobRecord
from gzl.model.result import State

_FOLDERS = ("refs/gzl/last", "refs/gzl/passed")


def updates(repo: Repo, record: JobRecord, ref: str) -> list[RefUpdate]:
    """What a job says of the stages of the branch `ref` (full name).

    A branch that is gone by now has no such refs, and a snapshot of a working tree is no commit of the branch.
    """
    branch = names.short_branch(ref)
    if branch is None or record.snapshot_of is not None or not refs.read(repo, ref):
        return []
    ran = {name: result.state for name, result in record.stages.items() if result.attempts}
    wanted = [names.last(stage, branch) for stage in ran]
    wanted += [names.passed(stage, branch) for stage, state in ran.items() if state is State.PASSED]
    return [RefUpdate(name, record.commit, ANY) for name in wanted]


def make_room(repo: Repo, wanted: Sequence[RefUpdate]) -> None:
    """Drop what branches that are gone left in the way: `a` of `a/b`, and `a/b` of `a`.

    It cannot be done in the same transaction: git checks what is made against what was there before.
    """
    there = refs.read(repo, *_FOLDERS)
    new = {update.name for update in wanted}
    above = {parent for name in new for parent in _parents(name)}
    stale = [name for name in there if name in above or not new.isdisjoint(_parents(name))]
    refs.transaction(repo, [RefUpdate(name, None, there[name]) for name in stale])


def inherit(repo: Repo, record: JobRecord, ref: str) -> None:
    """A branch came to a commit that a recorded job has answered for: what it says holds for this branch too."""
    moved = updates(repo, record, ref)
    try:
        refs.transaction(repo, moved)
    except RefInTheWay:
        make_room(repo, moved)
        refs.transaction(repo, moved)


def forget(repo: Repo, branch: str) -> None:
    """The branch was deleted: its refs go with it, so that `a` and later `a/b` can both be."""
    mine = names.encode_path(branch)
    there = refs.read(repo, *_FOLDERS)
    stale = [name for name in there if name.split("/", 4)[4] == mine]
    refs.transaction(repo, [RefUpdate(name, None, there[name]) for name in stale])


def _parents(name: str) -> list[str]:
    """The refs that `name` cannot be beside: `refs/gzl/last/<stage>/a` for `…/a/b`."""
    parts = name.split("/")
    return ["/".join(parts[:end]) for end in range(5, len(parts))]
