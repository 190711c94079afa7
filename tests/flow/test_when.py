"""When a stage runs: `paths=` and `inputs=` against the real program."""

import re

import pytest
from world import Place, World

GZLFILE = """\
on push: deploy undo report

migrate [paths="*.sql"]:
    echo migrating since "$GZL_LAST_PASS"
deploy: migrate
    echo deployed
undo: migrate!
    echo undone
report: migrate? deploy
    echo reported
only [paths="*.sql"]:
    true
"""


@pytest.fixture
def repo(world: World) -> Place:
    place = world.repository()
    place.gzlfile(GZLFILE)
    place.commit("first", **{"1.sql": "create", "other": "1"})
    place.gzl("init")
    return place


def states(place: Place) -> dict[str, str]:
    return {name: stage["state"] for name, stage in place.show()["stages"].items()}


def test_an_unchanged_stage_is_skipped_and_keeps_nobody_from_running(repo: Place) -> None:
    first = repo.git("rev-parse", "HEAD")
    repo.gzl("run")
    assert states(repo) == {"migrate": "passed", "deploy": "passed", "undo": "skipped", "report": "passed"}
    second = repo.commit("second", other="2")
    repo.gzl("run")
    assert states(repo) == {"migrate": "skipped", "deploy": "passed", "undo": "skipped", "report": "passed"}
    assert repo.show()["state"] == "passed"
    assert re.search(rf"/migrate +skipped +unchanged since {first[:7]}$", repo.note(), re.MULTILINE)
    assert repo.git("rev-parse", "refs/gzl/passed/migrate/main") == first
    assert repo.git("rev-parse", "refs/gzl/passed/deploy/main") == second
    repo.commit("third", **{"2.sql": "alter"})
    repo.gzl("run")
    assert repo.gzl("logs", "HEAD/migrate").stdout == f"migrating since {first}\n"


def test_a_job_of_which_all_is_unchanged_is_skipped(repo: Place) -> None:
    repo.gzlfile(GZLFILE.replace("on push: deploy undo report", "on push: only"))
    repo.commit("only")
    repo.gzl("run")
    repo.commit("other", other="2")
    assert repo.gzl("run").returncode == 0
    record = repo.show()
    assert (record["state"], record["stages"]["only"]["unchanged"]) == ("skipped", True)
    repo.gzl("run", "--stage", "only")
    assert repo.show()["state"] == "passed", "somebody asked for it by name"


def test_a_pass_is_reused_in_another_commit_and_in_a_clone(world: World, repo: Place) -> None:
    repo.gzlfile("""\
on push: test
build [inputs="*.c"]:
    date +%s%N
    gzl out size=7
test: build
    echo "size $GZL_IN_BUILD_SIZE"
""")
    repo.commit("c", **{"a.c": "int a;"})
    repo.gzl("run")
    first = repo.show()
    assert len(first["stages"]["build"]["key"]) == 64
    repo.commit("other", other="2")
    repo.gzl("run")
    build = repo.show()["stages"]["build"]
    assert (build["state"], build["reused_from"], build["attempts"]) == ("passed", first["id"], [])
    assert repo.gzl("logs", "HEAD/test").stdout == "size 7\n"
    repo.gzl("run", "--again")
    again = repo.show()
    assert (again["stages"]["build"]["reused_from"], again["stages"]["build"]["key"]) == (None, build["key"])
    repo.commit("c", **{"a.c": "int b;"})
    repo.gzl("run")
    assert repo.show()["stages"]["build"]["reused_from"] is None


def test_a_failure_is_never_reused(repo: Place) -> None:
    repo.gzlfile('on push: a\na [inputs="*.sql"]:\n    test -e other2\n')
    repo.commit("fails")
    assert repo.gzl("run", ok=False).returncode == 1
    repo.commit("passes", other2="x")
    repo.gzl("run")
    assert repo.show()["stages"]["a"]["reused_from"] is None


def test_a_revert_is_deployed_again(world: World) -> None:
    repo = world.repository()
    repo.gzlfile("on manual: deploy\ndeploy [once]:\n    cat version\n")
    repo.commit("one", version="1")
    repo.gzl("init")
    repo.gzl("run")
    repo.commit("two", version="2")
    repo.gzl("run")
    assert "gzl run --again" in repo.gzl("run").stdout, "where the branch is, it was deployed"
    repo.commit("one again", version="1")
    assert "deploy | 1" in repo.gzl("run").stdout, "the world has version 2, whatever became of this tree before"
