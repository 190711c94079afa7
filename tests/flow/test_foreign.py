"""Jobs that depend on stages of other repositories: on one server, with real agents."""

import json
import subprocess
import time
from pathlib import Path

import pytest
from world import Place, World

LIB = """\
on push: package
build:
    gzl out os=linux
package: build
    echo "$GZL_BRANCH" >package; gzl obj-store package; gzl out version=3
    echo packaged >>ran; echo x >>"$RAN"
"""
APP = """\
on push: test
test: lib//package
    echo "$GZL_IN_LIB_PACKAGE_VERSION of $GZL_IN_LIB_PACKAGE_COMMIT"
    gzl obj-get package --from lib; cat package
"""


@pytest.fixture
def ran(world: World) -> Path:
    """A line for each time that lib was packaged."""
    path = world.root / "ran"
    world.env["RAN"] = str(path)
    path.touch()
    return path


def repository(world: World, name: str, gzlfile: str) -> Place:
    place = world.repository(name)
    place.gzlfile(gzlfile)
    place.commit("first")
    place.gzl("init")
    return place


@pytest.fixture
def lib(world: World, ran: Path) -> Place:
    return repository(world, "lib", LIB)


@pytest.fixture
def app(world: World, ran: Path) -> Place:
    return repository(world, "app", APP)


def started(place: Place, marker: Path) -> None:
    until = time.monotonic() + 30
    while not marker.exists():
        assert time.monotonic() < until, f"{place.path}: never got that far"
        time.sleep(0.02)


def test_a_stage_of_another_repository_runs_there_and_hands_on_what_it_told(app: Place, lib: Place, ran: Path) -> None:
    app.gzl("run")
    commit = lib.git("rev-parse", "HEAD")
    assert app.gzl("logs", "HEAD/test").stdout == f"3 of {commit}\nmain\n"
    theirs = lib.show()
    assert {name: stage["state"] for name, stage in theirs["stages"].items()} == {
        "build": "passed",
        "package": "passed",
    }
    assert theirs["ref"] == "refs/heads/main"
    ours = app.show()["stages"]["lib//package"]
    assert ours["outputs"] == {"version": "3", "commit": commit, "job": theirs["id"]}
    assert commit in app.gzl("show").stdout
    log = app.gzl("logs", "HEAD/lib//package").stdout
    assert f"package at main ({commit[:12]})" in log
    assert "✓ passed" in log
    assert ran.read_text() == "x\n"
    assert app.gzl("fsck").returncode == 0


def test_a_verdict_is_taken_and_a_new_tip_runs(app: Place, lib: Place, ran: Path) -> None:
    lib.gzl("run")
    app.gzl("run")
    assert ran.read_text() == "x\n", "it had run already"
    assert "runs it again" in app.gzl("run").stdout
    lib.commit("second", more="x")
    app.gzl("run")
    assert ran.read_text() == "x\nx\n"
    assert app.show()["stages"]["lib//package"]["outputs"]["commit"] == lib.git("rev-parse", "HEAD")


def test_a_failure_there_is_a_failure_here(app: Place, lib: Place, ran: Path) -> None:
    app.gzlfile(APP + "alarm: lib//package!\n    echo $GZL_IN_LIB_PACKAGE_JOB\n")
    app.commit("with an alarm")
    lib.gzlfile(LIB + "    false\n")
    lib.commit("broken")
    assert app.gzl("run", ok=False).returncode == 1
    states = {name: stage["state"] for name, stage in app.show()["stages"].items()}
    assert states == {"lib//package": "failed", "test": "skipped", "alarm": "passed"}
    assert app.gzl("logs", "HEAD/alarm").stdout.strip() == lib.show()["id"]
    app.gzl("run", "--again", ok=False)
    assert ran.read_text() == "x\n", "the verdict stands"


def test_a_job_that_is_at_it_is_followed(app: Place, lib: Place, ran: Path, tmp_path: Path) -> None:
    wait = f"    touch {tmp_path}/begun; while ! test -e {tmp_path}/go; do sleep 0.05; done\n"
    lib.gzlfile(LIB + wait + "later: package\n    sleep 300\n")
    lib.commit("slow")
    job = lib.gzl("run", "--detach", "--stage", "later").stdout.strip()
    started(lib, tmp_path / "begun")
    ours = app.gzl("run", "--detach").stdout.strip()
    until = time.monotonic() + 30
    while not (app.layout.job(ours).attempt("lib//package", 1) / "log").exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    (tmp_path / "go").touch()
    app.gzl("attach", ours)
    assert app.show()["state"] == "passed", "without waiting for what does not matter here"
    assert app.show()["stages"]["lib//package"]["outputs"]["job"] == job
    assert lib.show(job)["state"] == "running"
    lib.gzl("stop", job)


def test_stopping_the_job_stops_what_it_started_there(app: Place, lib: Place, tmp_path: Path) -> None:
    lib.gzlfile(LIB + f"    touch {tmp_path}/begun; sleep 3219\n")
    lib.commit("slow")
    job = app.gzl("run", "--detach").stdout.strip()
    started(app, tmp_path / "begun")
    app.gzl("stop", job)
    assert app.show(job)["state"] == "stopped"
    until = time.monotonic() + 30
    while subprocess.run(["pgrep", "-f", "sleep 3219"], check=False, capture_output=True).returncode == 0:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_an_agent_that_is_killed_meanwhile_changes_nothing(app: Place, lib: Place, ran: Path, tmp_path: Path) -> None:
    lib.gzlfile(LIB + f"    touch {tmp_path}/begun; while ! test -e {tmp_path}/go; do sleep 0.05; done\n")
    lib.commit("slow")
    job = app.gzl("run", "--detach").stdout.strip()
    started(app, tmp_path / "begun")
    app.sh("kill", "-9", str(app.show(job)["agent"]["pid"]))
    (tmp_path / "go").touch()
    app.gzl("attach", job)
    assert app.show(job)["state"] == "passed"
    assert ran.read_text() == "x\n"


def test_a_push_is_refused_with_the_line_and_what_to_configure(world: World) -> None:
    server = world.server("app.git")
    clone = world.clone(server)
    clone.gzlfile(APP)
    clone.commit("first")
    clone.push()
    server.settled()
    record = server.show("main")
    assert record["state"] == "failed"
    assert "line 2: `lib//package`: no repository 'lib'" in record["reason"]
    assert "git config gzl.repository.lib.url" in record["reason"]


def test_pushes_to_two_repositories_of_a_server(world: World, ran: Path) -> None:
    lib_server, app_server = world.server("lib.git"), world.server("app.git")
    lib, app = world.clone(lib_server, "lib-clone"), world.clone(app_server, "app-clone")
    lib.gzlfile(LIB)
    lib.commit("first")
    app.gzlfile(APP)
    app.commit("first")
    lib.push()
    app.push()
    for server in (lib_server, app_server):
        server.settled()
    assert app_server.show("main")["state"] == "passed"
    assert ran.read_text() == "x\n", "the push's own job was followed, or its verdict taken"
    lib.git("checkout", "--quiet", "-b", "topic")
    lib.push("-o", "gzl.skip", "origin", "topic")
    app.git("checkout", "--quiet", "-b", "topic")
    app.commit("on a branch that lib has, too")
    app.push("origin", "topic")
    app_server.settled()
    assert app_server.show("topic")["stages"]["lib//package"]["outputs"]["commit"] == lib.git("rev-parse", "topic")


def test_a_running_stage_may_add_one_that_depends_on_another_repository(app: Place, lib: Place, ran: Path) -> None:
    app.gzlfile("""\
on push: end
ask:
    printf 'more: lib//package\\n    echo $GZL_IN_LIB_PACKAGE_VERSION\\n' | gzl stage add --before end
    printf 'x: lib//nothing\\n' | gzl stage add || echo refused
end: ask
    true
""")
    app.commit("dynamic")
    app.gzl("run")
    assert app.gzl("logs", "HEAD/more").stdout == "3\n"
    assert "lib has no stage 'nothing'" in app.gzl("logs", "HEAD/ask").stdout


def test_join_is_for_people_too(lib: Place, ran: Path) -> None:
    assert lib.gzl("run", "--join", ok=False).returncode == 2
    started_one = json.loads(lib.gzl("run", "--join", "--stage", "package", "--json").stdout)
    assert started_one["stages"]["package"]["state"] == "passed"
    taken = lib.gzl("run", "--join", "--stage", "package", "--stage", "build")
    assert "taken from what ran already" in taken.stdout
    assert started_one["id"] in taken.stdout
    command = ["gzl", "run", "--join", "--commit", "HEAD", "--stage", "build"]
    both = [subprocess.Popen(command, cwd=lib.path, env=lib.env) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    assert len(json.loads(lib.gzl("list", "--json").stdout)) == 1
