"""The second checkout of a repository of 4,000 files, at a nearby commit, beside git's own ways to get one."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from common import Machine, Row, Table, in_turns, limit, timed

from gzl.git.repo import open_repo
from gzl.git.workspace import Workspace

FILES = 4000
CHANGED = 40
GZL = "gzl's workspace, used again"
BUDGET = 0.200  # seconds


def tables(machine: Machine) -> Iterator[Table]:
    """One table; the commits differ in 40 files, and every contestant goes from one to the other and back."""
    rounds = machine.rounds(15)
    path = _repository(machine)
    commits = [machine.git(path, "rev-parse", name) for name in ("HEAD", "HEAD~")]
    repo = open_repo(path)
    turn = 0

    def workspace() -> float:
        nonlocal turn
        turn += 1
        return timed(Workspace(repo, machine.folder / "workspace", commits[turn % 2]).prepare)

    def switch() -> float:
        return machine.time(
            "git", "checkout", "--quiet", "--detach", commits[turn % 2], cwd=machine.folder / "switched"
        )

    def worktree() -> float:
        target = machine.folder / "worktree"
        if target.exists():
            machine.git(path, "worktree", "remove", "--force", "--", str(target))
        return machine.time("git", "worktree", "add", "--quiet", "--detach", target, commits[turn % 2], cwd=path)

    def clone() -> float:
        target = machine.folder / "cloned"
        shutil.rmtree(target, ignore_errors=True)
        return machine.time("git", "clone", "--quiet", "--shared", path, target)

    machine.git(path, "worktree", "add", "--quiet", "--detach", str(machine.folder / "switched"), commits[0])
    contestants = {
        GZL: workspace,
        "a worktree used again: git checkout": switch,
        "a new worktree: git worktree add": worktree,
        "a new clone: git clone --shared": clone,
    }
    timings = in_turns(contestants, rounds)
    rows = [limit(GZL, timings[GZL], BUDGET)]
    rows += [Row(name, str(timing), f"{timing.over(timings[GZL]):.2f}×") for name, timing in timings.items()][1:]
    yield Table(f"second checkout of {FILES:,} files, {CHANGED} of them changed, {rounds} rounds", rows)


def _repository(machine: Machine) -> Path:
    path = machine.repository("large")
    for number in range(FILES):
        file = path / f"part{number % 40}" / f"module{number}.txt"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"module {number}\n" * 100)
    for number in range(2):
        for changed in range(CHANGED if number else 0):
            (path / f"part{changed}" / f"module{changed}.txt").write_text("changed\n")
        machine.git(path, "add", "--all")
        machine.git(path, "commit", "--quiet", "--message", f"files {number}")
    return path
