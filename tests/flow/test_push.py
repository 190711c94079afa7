"""From `git push` to `git log --notes=gzl`."""

import os
import signal
import time

import pytest
from world import Place, World

GZLFILE = """\
on push main: build test
on push topic/*: test
on tag v*: build

build:
    echo building
test: build
    echo testing
"""


@pytest.fixture
def server(world: World) -> Place:
    return world.server()


@pytest.fixture
def clone(world: World, server: Place) -> Place:
    place = world.clone(server)
    place.gzlfile(GZLFILE)
    place.commit("first")
    return place


def test_a_push_runs_the_pipeline_and_every_clone_reads_the_result(world: World, server: Place, clone: Place) -> None:
    clone.push()
    server.settled()
    other = world.clone(server, "other")
    other.gzl("init")
    other.git("fetch")
    note = other.note()
    assert "  passed  " in note.splitlines()[0]
    assert "push main  2 stages  local" in note
    assert [line.split()[:2] for line in note.splitlines()[1:]] == [
        [f"{note[:26]}/build", "passed"], [f"{note[:26]}/test", "passed"],
    ]  # fmt: skip
    assert other.gzl("logs", "HEAD/test").stdout == "testing\n"
    commit = other.git("rev-parse", "HEAD")
    for name in ("last/build", "passed/build", "last/test", "passed/test"):
        assert server.git("rev-parse", f"refs/gzl/{name}/main") == commit
    assert server.git("for-each-ref", "refs/gzl/live") == ""


def test_a_failure_is_a_verdict_and_says_where(server: Place, clone: Place) -> None:
    clone.gzlfile(GZLFILE.replace("echo building", "echo one\n    echo two; exit 7\n    echo three"))
    clone.commit("broken")
    clone.push()
    server.settled()
    job = server.show("main")
    assert (job["state"], job["stages"]["build"]["exit"], job["stages"]["test"]["state"]) == ("failed", 7, "skipped")
    assert job["stages"]["test"]["skipped_because"] == "build failed"
    step = job["stages"]["build"]["attempts"][0]["steps"][-1]
    assert (step["number"], step["line"], step["text"], step["offset"]) == (2, 7, "echo two; exit 7", 4)
    shown = server.gzl("show", "main").stdout
    assert "Gzlfile:7" in shown
    assert "echo two; exit 7" in shown


def test_rules_say_what_runs(server: Place, clone: Place) -> None:
    clone.git("push", "origin", "HEAD:refs/heads/topic/x", "HEAD:refs/heads/other")
    clone.git("tag", "v1")
    clone.git("push", "origin", "v1")
    server.settled()
    jobs = {line.split("  ")[3]: line for line in server.note("topic/x").splitlines() if "/" not in line[:27]}
    assert set(jobs) == {"push topic/x", "tag v1"}
    assert "2 stages" in jobs["push topic/x"]
    assert "1 stage " in jobs["tag v1"]


def test_push_options_and_marks(server: Place, clone: Place) -> None:
    clone.git("push", "-o", "gzl.skip", "origin", "HEAD:main")
    clone.commit("docs [gzl skip]")
    clone.push()
    server.settled()
    assert server.note("main") == ""
    waited = clone.sh("git", "push", "-o", "gzl.wait", "-o", "gzl.run=build", "origin", "HEAD:refs/heads/x")
    assert "building" in waited.stderr
    assert "passed" in waited.stderr
    assert list(server.show("x")["stages"]) == ["build"]


def test_a_bad_gzlfile_fails_its_own_job_with_all_its_mistakes(server: Place, clone: Place) -> None:
    good = clone.git("rev-parse", "HEAD")
    clone.gzlfile("on push: nothing\nbuild: biuld\n    true\n")
    bad = clone.commit("bad")
    clone.push()
    server.settled()
    job = server.show(bad)
    assert job["state"] == "failed"
    assert "nothing" in job["reason"]
    assert "biuld" in job["reason"]
    clone.git("push", "origin", f"{good}:refs/heads/topic/good")
    server.settled()
    assert server.show(good)["state"] == "passed"


def test_a_newer_push_takes_the_place_of_one_that_waits(server: Place, clone: Place) -> None:
    clone.gzlfile("on push: slow\nslow:\n    sleep 1\n")
    commits = []
    for number in range(4):
        commits.append(clone.commit(f"change {number}"))
        clone.push()
    server.settled()
    states = [server.show(commit)["state"] for commit in commits]
    assert states[-1] == "passed"
    assert set(states[:-1]) <= {"passed", "skipped"}
    assert "skipped" in states
    skipped = server.show(commits[states.index("skipped")])
    assert skipped["reason"].startswith("superseded by ")
    assert "superseded by" in server.note(commits[states.index("skipped")])


def test_a_deleted_branch_takes_its_refs_with_it(server: Place, clone: Place) -> None:
    clone.git("push", "origin", "HEAD:refs/heads/topic/a")
    server.settled()
    assert server.git("for-each-ref", "refs/gzl/last/*/topic/a") != ""
    clone.git("push", "origin", ":refs/heads/topic/a")
    server.settled()
    assert server.git("for-each-ref", "refs/gzl/last", "refs/gzl/passed") == ""
    clone.git("commit", "--allow-empty", "-m", "below")
    clone.git("push", "origin", "HEAD:refs/heads/topic/a/b")
    server.settled()
    assert server.show("topic/a/b")["state"] == "passed"


def test_a_tip_that_no_event_told_of_is_found(server: Place, clone: Place) -> None:
    hook = server.path / "hooks/post-receive"
    hook.rename(server.path / "hooks/away")
    clone.push()
    server.settled()
    assert server.note("main") == ""
    (server.path / "hooks/away").rename(hook)
    server.gzl("manage-repo", "--once")
    assert server.show("main")["state"] == "passed"


def test_the_same_commit_on_another_branch_is_known_already(server: Place, clone: Place) -> None:
    clone.git("push", "origin", "HEAD:refs/heads/topic/a")
    server.settled()
    clone.git("push", "-o", "gzl.wait", "origin", "HEAD:refs/heads/topic/b")
    server.settled()
    assert server.note("topic/a").count("push topic/") == 1


def test_everything_killed_in_the_middle_goes_on(server: Place, clone: Place) -> None:
    clone.gzlfile(
        "on push: one two\none:\n    echo one >>$LOG\n    sleep 3; echo end\ntwo: one\n    echo two >>$LOG\n".replace(
            "$LOG", str(server.path / "ran")
        )
    )
    clone.commit("slow")
    clone.push()
    until = time.monotonic() + 20
    while not (server.path / "ran").exists() and time.monotonic() < until:
        time.sleep(0.02)
    job = server.gzl("list", "--json").stdout
    manager = server.manager_pid()
    assert manager is not None
    os.kill(manager, signal.SIGKILL)
    import json

    agent = next(j for j in json.loads(job) if j["state"] == "running")["agent"]["pid"]
    os.kill(agent, signal.SIGKILL)
    server.gzl("manage-repo", "--once")
    record = server.show("main")
    assert record["state"] == "passed"
    assert (server.path / "ran").read_text() == "one\ntwo\n"
    assert [len(stage["attempts"]) for stage in record["stages"].values()] == [1, 1]
    assert server.gzl("logs", "main/one").stdout == "end\n"


def test_a_second_manager_says_so_and_leaves(server: Place, clone: Place) -> None:
    clone.push()
    server.settled()
    second = server.gzl("manage-repo", "--once", ok=False)
    assert second.returncode == 1
    assert "another manager" in second.stdout


def test_a_branch_whose_name_is_no_utf_8_is_a_branch_like_any_other(server: Place, clone: Place) -> None:
    branch = os.fsdecode(b"topic/\xff\xe9")
    clone.git("push", "origin", f"HEAD:refs/heads/{branch}")
    server.settled()
    commit = server.git("rev-parse", f"refs/gzl/passed/test/{branch}")
    clone.commit("after it")
    clone.push()
    server.settled()
    assert server.show("main")["state"] == "passed"
    clone.gzlfile(GZLFILE.replace("echo testing", 'echo "after $GZL_LAST_PASS"'))
    clone.commit("and again")
    clone.git("push", "origin", f"HEAD:refs/heads/{branch}")
    server.settled()
    assert server.gzl("logs", f"{branch}/test").stdout == f"after {commit}\n"
