"""The parallel slots of a job, each with a workspace that no other job uses as long as this one is not over.

A workspace belongs to the job that its `owner` file names, until that job's folder is gone: also while no agent of the
job is alive, because its workloads may be.
"""

from pathlib import Path

from gzl.git.repo import Repo
from gzl.git.workspace import Workspace
from gzl.kit.fs import locked, read_or_none, write_atomic


class Slots:
    """Gives out at most `count` workspaces at a time."""

    def __init__(self, repo: Repo, job: str, commit: str, count: int) -> None:
        self._repo = repo
        self._job = job
        self._commit = commit
        self._count = count
        self._lent = 0
        self._used: set[int] = set()
        self._spaces: dict[int, Workspace] = {}

    @property
    def full(self) -> bool:
        return len(self._used) >= self._count + self._lent

    def lend(self, more: int) -> None:
        """Give out `more` workspaces than usual (negative: fewer again), because as many stages only wait."""
        self._lent += more

    def take(self) -> int:
        """The number of a slot that is free and from now on used; only while it is not `full`."""
        slot = next((n for n in sorted(self._spaces) if n not in self._used), None)
        if slot is None:
            slot = self._claim()
        self._used.add(slot)
        return slot

    def hold(self, slot: int) -> None:
        """Count a slot as used by an attempt that an earlier agent of this job began."""
        self._used.add(slot)
        self._spaces[slot] = Workspace(self._repo, self._root(slot), self._commit)

    def free(self, slot: int) -> None:
        """The attempt in the slot has ended."""
        self._used.discard(slot)

    def workspace(self, slot: int) -> Path:
        """The checkout in the slot, as the attempt in it left it."""
        return self._spaces[slot].path

    def prepare(self, slot: int) -> Path:
        """A clean checkout in the slot. CommandFailed or OSError if git or the disk will not have it."""
        return self._spaces[slot].prepare()

    def _root(self, slot: int) -> Path:
        return self._repo.layout.work / str(slot)

    def _claim(self) -> int:
        work = self._repo.layout.work
        work.mkdir(exist_ok=True)
        with locked(work / "lock"):
            slot = 0
            while slot in self._spaces or not self._ours(slot):
                slot += 1
            self._root(slot).mkdir(exist_ok=True)
            write_atomic(self._root(slot) / "owner", self._job.encode())
        self._spaces[slot] = Workspace(self._repo, self._root(slot), self._commit)
        return slot

    def _ours(self, slot: int) -> bool:
        owner = (read_or_none(self._root(slot) / "owner") or b"").decode()
        return owner in ("", self._job) or not self._repo.layout.job(owner).root.exists()
