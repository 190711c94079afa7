"""The attempt directory on this machine: exit statuses, takeover, stopping, with real processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

import pytest

from gzl.kit import proc
from gzl.model.pipeline import Stage, Step
from gzl.runners import attempt, cgroup
from gzl.runners.base import End, Work
from gzl.runners.local import LocalRunner


@pytest.fixture
def runner() -> LocalRunner:
    return LocalRunner()


@pytest.fixture
def work(tmp_path: Path) -> Callable[..., Work]:
    workspace = tmp_path / "work space"
    workspace.mkdir()

    def make(
        *steps: str, name: str = "1", shell: str = "sh", interpreter: str | None = None, contained: bool = False,
        **env: str,
    ) -> Work:  # fmt: skip
        stage = Stage("s", steps=tuple(Step(text, 1) for text in steps), shell=shell, interpreter=interpreter)
        directory = tmp_path / "at'tempts" / name
        environ = {"PATH": os.environ["PATH"], "GZL_ATTEMPT": str(directory), **env}
        return Work(directory, workspace, attempt.shell(stage), attempt.script(stage), environ, contained)

    return make


def end_of(runner: LocalRunner, seconds: float = 20) -> End:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for end in runner.ended():
            return end
        runner.wait(0.1)
    raise AssertionError("the attempt did not end")


def test_steps_share_a_shell_and_the_first_that_fails_ends_it(runner: LocalRunner, work: Callable[..., Work]) -> None:
    started = work("x=1; cd /", 'echo "$x $PWD"', "false && true", "echo not reached")
    runner.start(started)
    end = end_of(runner)
    assert (end.exit, end.log_bytes) == (1, 4)
    assert (started.directory / "log").read_bytes() == b"1 /\n"
    assert [(number, offset) for number, offset, _ in attempt.read_steps(started.directory)] == [(1, 0), (2, 0), (3, 4)]


@pytest.mark.parametrize(
    ("step", "status"),
    [
        ("true", 0), ("exit 3", 3), ("exec sh -c 'exit 5'", 5), ("no-such-command", 127), ("/", 126),
        ("kill -9 $$; sleep 9", None),
        ("sh -c 'kill -9 $$'", 137), ("trap 'exit 4' EXIT", 4), ("if", 2), ("exit 255", 255), ("kill 0; sleep 9", 143),
        ("false || true", 0), ("! true", 1),
    ],
)  # fmt: skip
def test_exit_statuses(runner: LocalRunner, work: Callable[..., Work], step: str, status: int | None) -> None:
    runner.start(work(step))
    end = end_of(runner)
    assert end.exit == status
    assert end.reason if status is None else not end.reason


def test_any_shell_and_any_interpreter(runner: LocalRunner, work: Callable[..., Work]) -> None:
    in_bash = work("a=(1 2); echo ${a[1]}", name="bash", shell="bash")
    in_busybox = work("echo $((2 + 3))", name="busybox", shell="busybox")
    in_python = work(f"#!{sys.executable}\nprint('py')", name="python", interpreter=sys.executable)
    runner.start(in_busybox)
    assert end_of(runner).exit == 0
    assert (in_busybox.directory / "log").read_text() == "5\n"
    runner.start(in_bash)
    assert end_of(runner).exit == 0
    runner.start(in_python)
    assert end_of(runner).exit == 0
    assert (in_bash.directory / "log").read_text() == "2\n"
    assert (in_python.directory / "log").read_text() == "py\n"


def test_values_of_the_environment_stay_data(runner: LocalRunner, work: Callable[..., Work]) -> None:
    hostile = "a'b\"c\n$(id)`id` \\ é"
    started = work('printf %s "$VALUE"', VALUE=hostile)
    runner.start(started)
    end_of(runner)
    assert (started.directory / "log").read_text() == hostile
    assert started.directory.joinpath("env").stat().st_mode & 0o777 == 0o600
    again = subprocess.run(
        ["sh", "-c", '. "$0/env"; printf %s "$VALUE"', str(started.directory)], capture_output=True, check=True
    )
    assert again.stdout.decode() == hostile


def test_a_later_agent_takes_over(work: Callable[..., Work]) -> None:
    started = work("sleep 0.5; echo done")
    child = os.fork()
    if not child:
        LocalRunner().start(started)
        os._exit(0)
    os.waitpid(child, 0)
    runner = LocalRunner()
    assert runner.adopt(started.directory)
    assert (end_of(runner).exit, (started.directory / "log").read_text()) == (0, "done\n")
    assert LocalRunner().adopt(started.directory), "it has ended, which `ended` tells"


def test_what_was_never_started_never_will_be(runner: LocalRunner, work: Callable[..., Work]) -> None:
    never = work("echo ran")
    assert not runner.adopt(never.directory), "there is not even a directory"
    never.directory.mkdir(parents=True)
    (never.directory / "script").write_text(never.script)
    assert not runner.adopt(never.directory)
    # A shell that was spawned before, and is scheduled only now, finds that it was given up.
    late = subprocess.run(
        ["sh", "-c", attempt.SUPERVISOR, str(never.directory), str(never.workspace), "sh"],
        capture_output=True,
        check=False,
    )
    assert late.stdout == b""
    assert attempt.read_rc(never.directory) is None


def test_a_lost_workload_is_told_from_a_failed_one(runner: LocalRunner, work: Callable[..., Work]) -> None:
    started = work("echo one; sleep 60")
    child = os.fork()
    if not child:
        LocalRunner().start(started)
        os._exit(0)
    os.waitpid(child, 0)
    pid_file = started.directory / "pid"
    while not pid_file.exists() or not pid_file.read_text():
        time.sleep(0.01)
    os.kill(int(pid_file.read_text()), signal.SIGKILL)
    assert runner.adopt(started.directory)
    end = end_of(runner)
    assert (end.exit, end.log_bytes) == (None, None)
    assert not proc.marked(f"GZL_ATTEMPT={started.directory}"), "what it left must not go on beside a second attempt"


def test_the_whole_tree_is_gone_after_stop(runner: LocalRunner, work: Callable[..., Work]) -> None:
    deaf = "trap '' TERM; sleep 61; sleep 62"
    started = work(f'({deaf}; setsid sh -c "{deaf}") & (setsid sh -c "{deaf}" &); {deaf}')
    runner.start(started)
    time.sleep(0.3)
    assert len(proc.marked(f"GZL_ATTEMPT={started.directory}")) >= 4
    runner.stop(started.directory, 0.2)
    end_of(runner)
    assert not proc.marked(f"GZL_ATTEMPT={started.directory}")


def test_daemons_do_not_outlive_their_stage(runner: LocalRunner, work: Callable[..., Work]) -> None:
    started = work("setsid sleep 66 >/dev/null 2>&1 &", "(sleep 67 &)", "echo $$ >/dev/null")
    runner.start(started)
    assert end_of(runner).exit == 0
    time.sleep(0.05)
    assert not proc.marked(f"GZL_ATTEMPT={started.directory}")


def test_what_a_stage_used_is_known(runner: LocalRunner, work: Callable[..., Work]) -> None:
    # A peak counts only where it is above that of the process that spawned the stage, which here is pytest.
    much = 100_000_000 + getrusage(RUSAGE_SELF).ru_maxrss * 1024
    burn = f"import time\nwhile time.process_time() < 0.25: pass\nx = bytearray({much})\n"
    runner.start(work(f'{sys.executable} -c "{burn}"', name="short"))
    short = end_of(runner).usage
    assert short is not None
    assert (short.cpu >= 0.25, short.memory > much) == (True, True)
    runner.start(work(f'{sys.executable} -c "{burn}time.sleep(1)"', name="long"))
    long = end_of(runner).usage
    assert long is not None
    assert long.memory_series
    assert max(long.memory_series) > much
    assert sum(long.cpu_series) * long.interval == pytest.approx(long.cpu, abs=0.01)


def test_an_attempt_that_goes_on_has_a_group_and_leaves_none(runner: LocalRunner, work: Callable[..., Work]) -> None:
    started = work("(sleep 0.4 &); sleep 0.3")
    runner.start(started)
    where = started.directory / "cgroup"
    assert not where.exists()
    while not where.exists() and not runner.remark:
        runner.wait(1)
        list(runner.ended())
    if runner.remark:
        return
    group = Path(where.read_text())
    assert len((group / "cgroup.procs").read_text().split()) == 4, "the shells and both commands"
    end_of(runner)
    assert not group.exists()


def test_empty_groups_of_killed_agents_are_removed_later(tmp_path: Path) -> None:
    if cgroup.why_none():
        return
    group = cgroup.make(tmp_path)
    cgroup.remove_old()
    assert cgroup.find(tmp_path) == group, "somebody may be about to use it"
    os.utime(group.path, (1, 1))
    cgroup.remove_old()
    assert cgroup.find(tmp_path) is None


def test_where_there_are_no_groups_it_says_so(work: Callable[..., Work]) -> None:
    runner = LocalRunner(cgroups=False)
    assert runner.remark
    started = work("sleep 0.2", contained=True)
    runner.start(started)
    assert end_of(runner).exit == 0
    assert not (started.directory / "cgroup").exists()


def test_commands_of_other_threads_keep_their_status(runner: LocalRunner, work: Callable[..., Work]) -> None:
    command = subprocess.Popen(["sh", "-c", "exit 7"])
    time.sleep(0.1)  # it is a zombie now, and first in line
    runner.start(work("exit 3"))
    assert end_of(runner).exit == 3
    assert command.wait() == 7


def test_a_half_written_rc_is_none(tmp_path: Path) -> None:
    for text in ("", "0", "0 12"):
        (tmp_path / "rc").write_text(text)
        assert attempt.read_rc(tmp_path) is None
    (tmp_path / "rc").write_text("0 12\n")
    assert attempt.read_rc(tmp_path) == (0, 12)
