"""`gzl run` and what looks at its jobs: in a person's own clone, with no server."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from world import Place, World

GZLFILE = """\
on push: build test

env:
    GREETING = hello $USER

build:
    echo "$GREETING" >built; cat built
test: build
    ls
"""


@pytest.fixture
def repo(world: World) -> Place:
    place = world.repository('my repo\'s $(odd) "name"')
    place.gzlfile(GZLFILE)
    place.commit("first")
    place.gzl("init")
    return place


def test_a_run_is_shown_recorded_and_noted(repo: Place) -> None:
    ran = repo.gzl("run", USER="me")
    assert "build | hello me" in ran.stdout
    assert re.search(r"✓ passed in \d+\.\ds  job [0-9a-z]{26}", ran.stdout)
    assert "passed" in repo.note()
    assert repo.gzl("logs", "HEAD/build").stdout == "hello me\n"
    assert repo.gzl("logs", "HEAD/test").stdout == "Gzlfile\n", "a stage begins with a clean checkout"
    assert not (repo.path / "built").exists(), "the user's working tree is not the workspace"
    assert repo.git("status", "--porcelain") == ""


def test_what_was_answered_is_not_asked_again(repo: Place) -> None:
    first = repo.gzl("run")
    again = repo.gzl("run")
    assert "gzl run --again" in again.stdout
    assert len(json.loads(repo.gzl("list", "--json").stdout)) == 1
    repo.gzl("run", "--again")
    assert len(json.loads(repo.gzl("list", "--json").stdout)) == 2
    repo.git("commit", "--amend", "--message", "another message")
    amended = repo.gzl("run")
    assert "which has the same tree" in amended.stdout
    assert repo.show()["commit"] != repo.git("rev-parse", "HEAD")
    assert first.returncode == amended.returncode == 0


def test_only_what_failed_runs_again(repo: Place, tmp_path: Path) -> None:
    repo.gzlfile(
        f"a:\n    echo a >>{tmp_path}/ran\nb: a\n    test -e {tmp_path}/fixed\nc: b\n    echo c >>{tmp_path}/ran\n"
    )
    repo.commit("fails")
    assert repo.gzl("run", ok=False).returncode == 1
    assert repo.gzl("run", ok=False).returncode == 1, "the earlier verdict's"
    (tmp_path / "fixed").touch()
    first = repo.show()["id"]
    repo.gzl("run", "--again", "--failed")
    assert (tmp_path / "ran").read_text() == "a\nc\n"
    record = repo.show()
    assert record["state"] == "passed"
    assert record["stages"]["a"]["skipped_because"] == f"passed in {first}"


def test_a_dirty_tree_runs_as_a_snapshot(repo: Place) -> None:
    (repo.path / "new file").write_text("x")
    ran = repo.gzl("run", "--stage", "test")
    assert "snapshot of your working tree" in ran.stdout
    assert "test  | new file" in ran.stdout
    assert repo.git("status", "--porcelain") == '?? "new file"'
    assert repo.git("for-each-ref", "refs/gzl/last") == ""
    same = repo.gzl("run", "--stage", "test")
    assert "gzl run --again" in same.stdout


def test_handlers_come_along(repo: Place) -> None:
    repo.gzlfile("""\
on push: deploy
deploy:
    false
rollback: deploy!
    echo back
report: deploy?
    echo done
smoke: deploy
    true
""")
    repo.commit("deploy")
    assert repo.gzl("run", ok=False).returncode == 1
    states = {name: stage["state"] for name, stage in repo.show()["stages"].items()}
    assert states == {"deploy": "failed", "rollback": "passed", "report": "passed"}


def test_a_matrix_runs_every_combination(repo: Place) -> None:
    repo.gzlfile(
        'on push: all\nt [matrix.os="a b", matrix.py="1 2"]:\n    echo $GZL_MATRIX_OS-$GZL_MATRIX_PY\nall: t\n'
    )
    repo.commit("matrix")
    out = repo.gzl("run").stdout
    assert {f"{os}-{py}" for os in "ab" for py in "12"} == set(re.findall(r"\| ([ab]-[12])", out))
    assert len(repo.show()["stages"]) == 5


def test_what_this_version_cannot_do_is_refused_by_name(repo: Place) -> None:
    repo.gzlfile("on push: a\na [network=none]:\n    true\n")
    repo.commit("later")
    refused = repo.gzl("run", ok=False)
    assert refused.returncode == 2
    assert "network" in refused.stderr
    assert repo.gzl("run", "docker", ok=False).returncode == 2


def test_stop_ends_the_whole_tree_and_is_no_verdict(repo: Place) -> None:
    repo.gzlfile("on push: slow after\nslow:\n    sleep 3217 & sleep 3218\nafter: slow\n    true\n")
    repo.commit("slow")
    job = repo.gzl("run", "--detach").stdout.strip()
    until = time.monotonic() + 20
    while repo.show(job)["stages"]["slow"]["state"] != "running" and time.monotonic() < until:
        time.sleep(0.02)
    assert repo.show(job)["agent"]["pid"] > 0
    repo.gzl("stop", job[:12])
    record = repo.show(job)
    assert (record["state"], record["stages"]["slow"]["state"]) == ("stopped", "stopped")
    assert "stopped by" in record["reason"]
    assert subprocess.run(["pgrep", "-f", "sleep 321[78]"], check=False).returncode == 1
    again = repo.gzl("run", "--detach")
    assert again.returncode == 0, "a stopped job is no verdict"
    repo.gzl("stop", again.stdout.strip())


def test_ctrl_c_stops_run_and_detaches_attach(repo: Place) -> None:
    repo.gzlfile("on push: slow\nslow:\n    echo begun; sleep 300\n")
    repo.commit("slow")
    run = subprocess.Popen(["gzl", "run"], cwd=repo.path, env=repo.env, stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    for line in run.stdout:
        if "begun" in line:
            break
    attach = subprocess.Popen(["gzl", "attach"], cwd=repo.path, env=repo.env, stdout=subprocess.PIPE, text=True)
    assert attach.stdout is not None
    for line in attach.stdout:
        if "begun" in line:
            break
    attach.send_signal(signal.SIGINT)
    assert attach.wait(20) == 130
    assert repo.show()["state"] == "running"
    run.send_signal(signal.SIGINT)
    assert run.wait(30) == 130
    assert repo.show()["state"] == "stopped"


def test_run_goes_on_when_its_agent_is_killed(repo: Place, tmp_path: Path) -> None:
    repo.gzlfile(f"on push: slow\nslow:\n    echo begun; sleep 3; echo x >>{tmp_path}/ran; echo end\n")
    repo.commit("slow")
    run = subprocess.Popen(["gzl", "run"], cwd=repo.path, env=repo.env, stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    for line in run.stdout:
        if "begun" in line:
            break
    os.kill(repo.show()["agent"]["pid"], signal.SIGKILL)
    rest = run.stdout.read()
    assert run.wait(30) == 0
    assert "slow | end" in rest
    assert (tmp_path / "ran").read_text() == "x\n"
    assert repo.gzl("logs", "HEAD/slow").stdout == "begun\nend\n"


def test_times_of_lines(repo: Place) -> None:
    repo.gzlfile("on push: slow\nslow:\n    echo one; sleep 1\n    echo two\n")
    repo.commit("slow")
    repo.gzl("run")
    lines = repo.gzl("logs", "HEAD/slow", "--timestamps").stdout.splitlines()
    assert [line.split()[1] for line in lines] == ["one", "two"]
    assert lines[0].split()[0] < lines[1].split()[0]


def test_in_a_linked_worktree_and_a_shallow_clone(world: World, repo: Place) -> None:
    repo.commit("second")
    repo.git("worktree", "add", "--quiet", "-b", "side", str(world.root / "side"))
    side = world.place("side")
    assert "test  | Gzlfile" in side.gzl("run").stdout
    assert "passed" in side.note()
    shallow = world.place("shallow")
    subprocess.run(
        ["git", "clone", "--quiet", "--depth", "1", repo.path.as_uri(), str(shallow.path)], env=repo.env, check=True
    )
    shallow.gzl("init")
    assert "passed" in shallow.gzl("run", "--again").stdout


def test_git_works_inside_a_stage(repo: Place) -> None:
    repo.gzlfile("""\
on push: a
a:
    git describe --tags; git log -1 --format=%s; git status --porcelain
    git commit -q --allow-empty -m inside; git rev-parse --abbrev-ref HEAD
""")
    repo.commit("subject")
    repo.git("tag", "v1.2")
    repo.gzl("run")
    assert repo.gzl("logs", "HEAD/a").stdout == "v1.2\nsubject\nHEAD\n"
    assert repo.git("log", "-1", "--format=%s") == "subject"


def test_shell_completion(repo: Place) -> None:
    done = repo.gzl(_GZL_COMPLETE="bash_complete", COMP_WORDS="gzl re", COMP_CWORD="1")
    assert done.stdout.splitlines() == ["plain,reindex"]
    assert "complete" in repo.gzl(_GZL_COMPLETE="bash_source").stdout
