"""`last` and `passed` refs follow their branches, also where branches were renamed into each other's way."""

from pathlib import Path

from world import World

from gzl.git.refs import read
from gzl.git.repo import open_repo
from gzl.model.record import Attempt, JobRecord, StageResult
from gzl.model.result import State
from gzl.notes import branches


def test_a_branch_may_come_where_another_was(world: World) -> None:
    place = world.repository()
    commit = place.commit("first")
    repo = open_repo(Path(place.path))
    stage = StageResult("s", State.PASSED, attempts=(Attempt(1, State.PASSED),))
    record = JobRecord("0" * 26, commit, commit, "", "push", State.PASSED, "w", 1.0, stages={"s": stage})

    def refs_after(branch: str) -> set[str]:
        place.git("checkout", "--quiet", "--detach")
        for name in place.git("for-each-ref", "--format=%(refname)", "refs/heads").split():
            place.git("update-ref", "-d", name)
        place.git("branch", branch)
        branches.inherit(repo, record, f"refs/heads/{branch}")
        return {name.removeprefix("refs/gzl/") for name in read(repo, "refs/gzl/last", "refs/gzl/passed")}

    assert refs_after("a") == {"last/s/a", "passed/s/a"}
    assert refs_after("a/b") == {"last/s/a/b", "passed/s/a/b"}
    assert refs_after("c") == {"last/s/a/b", "passed/s/a/b", "last/s/c", "passed/s/c"}
    assert refs_after("a") == {"last/s/a", "passed/s/a", "last/s/c", "passed/s/c"}
    branches.forget(repo, "a")
    assert set(read(repo, "refs/gzl/last")) == {"refs/gzl/last/s/c"}
    branches.inherit(repo, record, "refs/heads/gone")
    assert set(read(repo, "refs/gzl/last")) == {"refs/gzl/last/s/c"}
