"""Stages whose processes do all they can to stay: none is there when the stage has ended, however it ended.

Each agent is a process of its own, as it is in life: orphans come to it, and it can be killed.
"""

import ctypes
import json
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from world import Place, World

from gzl.runners.base import End, Work
from gzl.runners.local import LocalRunner

# A loop that is found by the last word of its command line, whatever else it did.
LOOP = "trap '' HUP INT TERM; while :; do sleep 0.05; done"
CHAIN = """
import os, sys, time
while True:
    if os.fork():
        os._exit(0)
    if sys.argv[1] == "sessions":
        os.setsid()
    with open(sys.argv[2], "ab") as hops:
        hops.write(b".")
    time.sleep(0.001)
"""
TRACED = """
import ctypes, os, sys, time
if not (child := os.fork()):
    ctypes.CDLL(None).ptrace(0, 0, 0, 0)  # PTRACE_TRACEME: stops at the next signal, until its tracer lets it go on
    os.kill(os.getpid(), 10)
os.waitpid(child, 0)
time.sleep(60)
"""
WILD = {
    "child": 'sh -c "$LOOP" $T.child &',
    "orphan": '(sh -c "$LOOP" $T.orphan &)',
    "session": 'setsid sh -c "$LOOP" $T.session &',
    "daemon": '(setsid sh -c "sh -c \\"\\$LOOP\\" $T.daemon & exit" &)',
    "nameless": '(env -i LOOP="$LOOP" setsid sh -c "$LOOP" $T.nameless &)',
    "group": f"{sys.executable} -c \"import os; os.setpgid(0, 0); os.system(os.environ['LOOP'])\" $T.group &",
    "stopped": """sh -c 'kill -STOP $$' $T.stopped &""",
    "traced": f'{sys.executable} -c "$TRACED" $T.traced &',
    "chain": f'{sys.executable} -c "$CHAIN" group $PLACE/chain &',
    "sessions": f'{sys.executable} -c "$CHAIN" sessions $PLACE/sessions &',
}
HIDDEN = {"hidden": '(cd /; env -i setsid sh -c "$LOOP" $T.hidden >/dev/null 2>&1 </dev/null &)'}
"""Nothing shows whose it is but where it came from."""


class Story:
    """An attempt directory, and what is alive of its attempt."""

    def __init__(self, root: Path, name: str = "s.1") -> None:
        self.directory = root / name
        self.workspace = root / f"workspace of {name}"
        self.workspace.mkdir()
        self.hops = root / f"hops of {name}".replace(" ", "-")
        self.hops.mkdir()
        self.hops.chmod(0o777)
        self.token = f"{os.getpid()}-{time.monotonic_ns()}"

    def work(self, lines: str, *, contained: bool = False) -> Work:
        env = {"PATH": os.environ["PATH"], "GZL_ATTEMPT": str(self.directory), "T": self.token, "PLACE": str(self.hops),
               "LOOP": LOOP, "CHAIN": CHAIN, "TRACED": TRACED}  # fmt: skip
        return Work(self.directory, self.workspace, ("sh",), lines + "\n", env, contained)

    def alive(self) -> set[str]:
        """Which of its processes are there, by the word after the token; of the chains, which grow."""
        before = self._hops()
        time.sleep(0.03)
        found = {name for name, hops in self._hops().items() if hops != before.get(name)}
        for entry in os.listdir("/proc"):
            try:
                words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0") if entry.isdigit() else []
                dead = words and Path(f"/proc/{entry}/stat").read_bytes().rpartition(b") ")[2][:1] in b"ZX"
            except (FileNotFoundError, ProcessLookupError):
                continue
            if not dead:
                found |= {w.decode().partition(".")[2] for w in words if w.startswith(self.token.encode() + b".")}
        return found

    def _hops(self) -> dict[str, int]:
        return {path.name: path.stat().st_size for path in self.hops.iterdir()}

    def wait_for(self, names: set[str]) -> None:
        until = time.monotonic() + 20
        while not names <= (seen := self.alive()):
            assert time.monotonic() < until, f"not there: {names - seen}"


def agent(act: Callable[[], object]) -> int:
    """Let an agent do something, in the background."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        act()
        status = 0
    except AssertionError:
        traceback.print_exc()
    finally:
        os._exit(status)


def done(pid: int) -> None:
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def end_of(runner: LocalRunner, directory: Path) -> End:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        for end in runner.ended():
            if end.directory == directory:
                return end
        runner.wait(1)
    raise AssertionError("it did not end")


def wild(cgroups: bool, contained: bool = False) -> dict[str, str]:
    """What the machine can be asked to end: what hides in its first moments, only where it begins in a group."""
    return WILD | (HIDDEN if cgroups and contained else {})


@pytest.mark.parametrize("contained", [True, False])
@pytest.mark.parametrize("cgroups", [True, False])
def test_all_are_gone_after_a_stop(tmp_path: Path, cgroups: bool, contained: bool) -> None:
    story, other = Story(tmp_path), Story(tmp_path, "other.1")
    acts = wild(cgroups, contained)

    def run() -> None:
        runner = LocalRunner(cgroups)
        runner.start(other.work('sh -c "$LOOP" $T.bystander; :'))
        runner.start(story.work("\n".join([*acts.values(), "sleep 60"]), contained=contained))
        story.wait_for(set(acts))
        other.wait_for({"bystander"})
        runner.stop(story.directory, 0.1)
        end_of(runner, story.directory)
        assert story.alive() == set()
        assert other.alive() == {"bystander"}, "what is not asked to end goes on"
        runner.stop(other.directory, 0.0)
        end_of(runner, other.directory)
        assert other.alive() == set()

    done(agent(run))


@pytest.mark.parametrize("cgroups", [True, False])
def test_nothing_outlives_its_stage(tmp_path: Path, cgroups: bool) -> None:
    story = Story(tmp_path)
    acts = WILD | HIDDEN  # no other attempt was there when they began

    def run() -> None:
        runner = LocalRunner(cgroups)
        runner.start(story.work("\n".join([*acts.values(), "while ! test -e go; do sleep 0.02; done", "exit 3"])))
        story.wait_for(set(acts))
        (story.workspace / "go").touch()
        assert end_of(runner, story.directory).exit == 3
        assert story.alive() == set()

    done(agent(run))


@pytest.mark.parametrize("stop", [True, False])
@pytest.mark.parametrize("cgroups", [True, False])
def test_a_later_agent_ends_them_too(tmp_path: Path, cgroups: bool, stop: bool) -> None:
    story = Story(tmp_path)
    acts = wild(cgroups, contained=True)

    def begin() -> None:
        runner = LocalRunner(cgroups)
        wait = "while ! test -e go; do sleep 0.02; done"
        runner.start(story.work("\n".join([*acts.values(), wait]), contained=True))
        while True:
            runner.wait(0.05)
            list(runner.ended())

    def go_on() -> None:
        runner = LocalRunner(cgroups)
        assert runner.adopt(story.directory)
        if stop:
            runner.stop(story.directory, 0.1)
        else:
            (story.workspace / "go").touch()
        end_of(runner, story.directory)
        assert story.alive() == set()

    first = agent(begin)
    story.wait_for(set(acts))
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    done(agent(go_on))


@pytest.mark.parametrize("cgroups", [True, False])
def test_what_is_in_doubt_goes_with_the_job(tmp_path: Path, cgroups: bool) -> None:
    story, other = Story(tmp_path), Story(tmp_path, "other.1")

    def run() -> None:
        runner = LocalRunner(cgroups)
        runner.start(other.work("sleep 0.3"))
        time.sleep(0.05)
        runner.start(story.work("\n".join([*HIDDEN.values(), *HIDDEN.values()])))
        end_of(runner, story.directory)
        end_of(runner, other.directory)
        runner.sweep()
        assert story.alive() == set()

    done(agent(run))


def test_a_plain_user_can_do_without_control_groups(tmp_path: Path) -> None:
    story = Story(tmp_path)
    acts = {name: act for name, act in WILD.items() if sys.executable not in act}  # which may be root's own
    story.workspace.chmod(0o777)
    tmp_path.chmod(0o777)
    for folder in tmp_path.parents:
        if not folder.stat().st_mode & 0o001:
            folder.chmod(0o711)
    root = os.getuid() == 0

    def run() -> None:
        if root:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE, which setuid took away; exec gives it back, too
        runner = LocalRunner()
        runner.start(story.work("\n".join([*acts.values(), "sleep 60"])))
        story.wait_for(set(acts))
        time.sleep(0.1)
        list(runner.ended())
        assert not root or "no group can be made there" in runner.remark
        runner.stop(story.directory, 0.1)
        end_of(runner, story.directory)
        assert story.alive() == set()

    done(agent(run))


GZLFILE = """\
late [timeout=1s]:
    echo begun
    (env -i setsid sh -c 'trap "" HUP INT TERM; while :; do sleep 0.05; done' {token}.late >/dev/null 2>&1 </dev/null &)
    sleep 60
silent [idle=1s]:
    (setsid sh -c 'trap "" HUP INT TERM; while :; do sleep 0.05; done' {token}.silent &)
    for n in 1 2 3; do echo $n; sleep 0.4; done
    sleep 60
well [timeout=1m, idle=1m]:
    sleep 1.5
"""


@pytest.fixture
def repo(world: World) -> Place:
    place = world.repository()
    place.gzl("init")
    place.git("config", "gzl.slots", "3")
    return place


def test_limits_end_the_whole_tree(repo: Place, tmp_path: Path) -> None:
    story = Story(tmp_path)
    repo.gzlfile(GZLFILE.format(token=story.token))
    repo.commit("slow")
    assert repo.gzl("run", ok=False).returncode == 1
    stages = repo.show()["stages"]
    assert {name: stage["state"] for name, stage in stages.items()} == {
        "late": "timed-out", "silent": "timed-out", "well": "passed",
    }  # fmt: skip
    assert re.fullmatch(r"timeout=1s: stopped after \d\.\d s", stages["late"]["attempts"][0]["reason"])
    assert stages["silent"]["attempts"][0]["reason"] == "idle=1s: no output for 1 s"
    assert stages["silent"]["finished"] - stages["silent"]["started"] > 1.7, "each line puts it off"
    assert repo.gzl("logs", "HEAD/silent").stdout.startswith("1\n2\n3\n")
    assert story.alive() == set()


def test_limits_of_a_run_are_for_all_of_it(repo: Place) -> None:
    repo.gzlfile("on push [timeout=1h]: a c\na:\n    sleep 60\nb: a\n    true\nc: b\n    true\n")
    repo.commit("slow")
    assert repo.gzl("run", "--timeout", "1s", ok=False).returncode == 1
    job = repo.show()
    assert (job["state"], job["stages"]["a"]["state"], job["stages"]["b"]["state"]) == (
        "timed-out",
        "timed-out",
        "skipped",
    )
    assert job["reason"].startswith("the job's timeout=1s: stopped after ")
    assert "a duration is written like" in repo.gzl("run", "--idle", "soon", ok=False).stderr


def test_a_limit_outlives_its_agent(repo: Place, tmp_path: Path) -> None:
    story = Story(tmp_path)
    repo.gzlfile(GZLFILE.format(token=story.token).replace("timeout=1s", "timeout=3s"))
    repo.commit("slow")
    job = repo.layout.job(repo.gzl("run", "--detach", "--stage", "late").stdout.strip())
    story.wait_for({"late"})
    agent_pid = next(json.loads(line)["pid"] for line in job.journal.read_text().splitlines() if '"taken"' in line)
    os.kill(agent_pid, signal.SIGKILL)
    repo.gzl("manage-repo", "--once")
    (attempt,) = repo.show()["stages"]["late"]["attempts"]
    said = re.fullmatch(r"timeout=3s: stopped after (\d+\.\d) s", attempt["reason"])
    assert said is not None
    assert attempt["finished"] - attempt["started"] == pytest.approx(float(said[1]), abs=1), "from its own beginning"
    assert story.alive() == set()
