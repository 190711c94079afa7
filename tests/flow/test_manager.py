"""The repo manager as an operator meets it: garbage in its folders, many branches, no repository any more, cron."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from world import Place, World

GZLFILE = """\
on push: build
on cron "* * * * *": nightly
build:
    echo building
nightly:
    echo nightly on $GZL_BRANCH
"""


@pytest.fixture
def server(world: World) -> Place:
    return world.server()


@pytest.fixture
def clone(world: World, server: Place) -> Place:
    place = world.clone(server)
    place.gzlfile(GZLFILE.replace('on cron "* * * * *": nightly\n', ""))
    place.commit("first")
    return place


def test_garbage_is_set_aside_with_the_reason_and_the_rest_goes_on(server: Place, clone: Place) -> None:
    layout = server.layout
    (layout.spool / "new/garbage").write_bytes(b"\xff\x00 no event")
    (layout.spool / "new/half").write_text("event push\nold 0\n")
    (layout.spool / "new/elsewhere").write_text(
        f"event push\nold {'0' * 40}\nnew {'1' * 40}\nref refs/heads/x\nactor a\nend\n"
    )
    job = layout.jobs / "01jdf3k2q8v0h6m4c1x9z7n5ra"
    job.mkdir(parents=True)
    (job / "request.json").write_text("{}")
    clone.push()
    server.settled()
    assert server.show("main")["state"] == "passed"
    bad = {path.name: path for path in (layout.spool / "bad").iterdir()}
    assert {"garbage", "garbage.why", "half", "half.why", f"job-{job.name}"} <= bad.keys()
    assert "end" in bad["half.why"].read_text()


def test_many_branches_in_one_push(server: Place, clone: Place) -> None:
    names = [f"b{number}/'$(x)\"" for number in range(60)]
    started = time.monotonic()
    pushed = clone.sh("git", "push", "--quiet", "origin", *(f"HEAD:refs/heads/{name}" for name in names))
    took = time.monotonic() - started
    server.settled(180)
    assert pushed.stderr == ""
    assert took < 10
    heads = [line for line in server.note(names[0]).splitlines() if "/" not in line.split()[0]]
    assert len(heads) >= 1, "one answer is enough for one commit"
    passed = server.git("for-each-ref", "--format=%(refname)", "refs/gzl/passed/build").splitlines()
    assert len(passed) == len(names), "and it counts for every branch"


def test_a_manager_leaves_when_its_repository_is_gone(server: Place) -> None:
    command = ["gzl", "-C", str(server.path), "manage-repo", "--idle", "3"]
    manager = subprocess.Popen(command, cwd="/", env=server.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not server.layout.manager_pid.exists():
        time.sleep(0.01)
    time.sleep(1)  # until it rests
    shutil.rmtree(server.path)
    out, err = manager.communicate(timeout=20)
    assert (manager.returncode, err) == (0, b""), out


def test_cron_rules_tick_and_make_up_for_what_was_missed_once(server: Place, clone: Place) -> None:
    clone.gzlfile(GZLFILE)
    clone.commit("with a schedule")
    clone.push("-o", "gzl.skip", "origin", "HEAD")
    server.settled()
    pid = server.manager_pid()
    assert pid is not None
    subprocess.run(["kill", "-9", str(pid)], check=True)
    (server.layout.root / "cron").write_text(f"{time.time() - 600}\n")
    server.gzl("manage-repo", "--once")
    jobs = [line for line in server.note("main").splitlines() if "/" not in line.split()[0]]
    assert len(jobs) == 1
    assert "cron main" in jobs[0]
    assert server.gzl("logs", "main/nightly").stdout == "nightly on main\n"


def test_bad_settings_are_said_and_do_not_stop_it(server: Place, clone: Place) -> None:
    server.git("config", "gzl.jobs", "many")
    server.git("config", "gzl.slots", "0")
    clone.push()
    server.settled()
    assert server.show("main")["state"] == "passed"
    said = server.layout.manager_log.read_text()
    assert "'many' is not a count" in said
    assert "'0' is not a count" in said


def test_it_sleeps_while_jobs_run_and_wait(server: Place, clone: Place) -> None:
    clone.gzlfile('on push: slow\non cron "0 3 * * *": slow\nslow:\n    sleep 5\n')
    clone.commit("slow")
    clone.push()
    _wait_for(server, "0*/journal", 1)
    clone.commit("one that waits for the first")
    clone.push()
    _wait_for(server, "0*/request.json", 2)
    pid = server.manager_pid()
    woken = []
    for _ in range(4):
        before = _switches(pid)
        time.sleep(0.6)
        woken.append(_switches(pid) - before)
    assert min(woken) < 10, f"a manager that waits does not wake by itself: {woken}"
    server.settled()


def _wait_for(server: Place, pattern: str, count: int) -> None:
    until = time.monotonic() + 20
    while len(list(server.layout.jobs.glob(pattern))) < count:
        assert time.monotonic() < until, f"never {count} of {pattern}"
        time.sleep(0.02)


def _switches(pid: int | None) -> int:
    with open(f"/proc/{pid}/status") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith(("voluntary", "nonvoluntary")))


def test_a_job_whose_agents_fail_again_and_again_is_given_up(world: World) -> None:
    repo = world.repository()
    repo.gzlfile("on push: slow\nslow:\n    sleep 3219\n")
    repo.commit("first")
    repo.gzl("init")
    job = repo.gzl("run", "--detach").stdout.strip()
    while not (pid := (repo.show(job)["agent"] or {}).get("pid")):
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    repo.layout.job(job).tries.write_bytes(b"." * 20)
    repo.sh(sys.executable, "-m", "gzl.cli.agent", str(repo.path / ".git"), job)
    record = repo.show(job)
    assert (record["state"], record["stages"]["slow"]["state"]) == ("lost", "lost")
    assert "failed again and again" in record["reason"]
    assert subprocess.run(["pgrep", "-f", "sleep 3219"], check=False).returncode == 1
    assert (repo.layout.spool / "bad" / f"job-{job}" / "journal").exists(), "nothing of it is thrown away"
