"""Runs attempts as processes of this machine. The agent waits for SIGCHLD, and for pidfds of attempts that an earlier
agent began; nothing is polled, and no byte of output passes through here.

An attempt that goes on for a tenth of a second gets a control group, where those can be had, and one that is a second
old is looked at for what it uses: 1,000 stages that do nothing pay for neither (docs/decisions/008).
"""

import math
import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from gzl.errors import UserError
from gzl.kit import proc
from gzl.kit.fs import read_regular
from gzl.model.record import Usage
from gzl.runners import cgroup, processes, usage
from gzl.runners.attempt import ENTER, SUPERVISOR, env_text, read_rc
from gzl.runners.base import End, Work
from gzl.runners.trees import Trees
from gzl.runners.usage import Sampler

CONTAINED_AFTER = 0.1  # seconds
_GIVEN_UP = "given up"
_PID_WRITTEN_WITHIN = 1.0  # seconds from the creation of `pid` to its content, for a shell that was not killed between


class LocalRunner:
    """See `base.Runner`. Takes over SIGCHLD of this process."""

    def __init__(self, cgroups: bool = True) -> None:
        self._children: dict[int, Path] = {}
        self._adopted: dict[int, Path] = {}  # pidfd → attempt directory
        self._found: list[End] = []
        self._deadlines: dict[Path, float] = {}
        self._loose: dict[Path, float] = {}  # attempts that are not contained, and when they are to be; oldest first
        self._trees = Trees(cgroups)
        self._sampler = Sampler()
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._poll = select.poll()
        self._poll.register(self._wake_read, select.POLLIN)
        proc.become_subreaper()

    @property
    def remark(self) -> str:
        """Why attempts have no control groups here, for people; empty as long as they have."""
        return self._trees.without_groups

    def start(self, work: Work) -> None:
        place = os.fspath(work.directory)
        os.makedirs(place)
        _write(f"{place}/script", work.script, 0o600 if work.shell else 0o700)
        _write(f"{place}/env", env_text(work.env), 0o600)
        group = self._trees.make_group(work.directory) if work.contained else None
        inside = [ENTER + SUPERVISOR, place, os.fspath(group.path)] if group is not None else [SUPERVISOR, place]
        argv = ["/bin/sh", "-c", *inside, os.fspath(work.workspace), *work.shell]
        try:
            pid = proc.spawn(argv, env=work.env, stdout=f"{place}/log")
        except OSError:
            if group is not None:
                group.remove()
            raise
        self._children[pid] = work.directory
        self._trees.add(work.directory, pid, work.workspace, group)
        self._sampler.begin(work.directory, processes.uptime())
        if not self._trees.without_groups:
            self._loose[work.directory] = time.monotonic() + CONTAINED_AFTER

    def adopt(self, directory: Path) -> bool:
        pid = _supervisor(directory)
        if pid is None:
            if (group := cgroup.find(directory)) is not None:
                group.remove()
            return False
        shell = None if _has_rc(directory) else _hold(pid, directory)
        # Where the shell is gone, its pid still names its session; unless somebody else has got that pid.
        root = pid if shell is not None or processes.process(pid) is None else 0
        self._trees.add(directory, root, None, cgroup.find(directory))
        self._sampler.resume(directory, None if shell is None else shell[1])
        if shell is None:
            self._found.append(self._done(directory, "", leftovers=True))
        else:
            self._adopted[shell[0]] = directory
            self._poll.register(shell[0], select.POLLIN)
            self._loose[directory] = 0.0
        return True

    def ended(self) -> Iterator[End]:
        self._kill_overdue()
        self._contain()
        self._sample()
        yield from self._found
        self._found.clear()
        yield from self._ended_children()
        for pidfd, directory in list(self._adopted.items()):
            if select.select([pidfd], [], [], 0)[0]:
                self._poll.unregister(pidfd)
                os.close(pidfd)
                del self._adopted[pidfd]
                yield self._done(directory, "", leftovers=True)

    def stop(self, directory: Path, grace: float) -> None:
        self._deadlines[directory] = time.monotonic() + grace
        # What is stopped (SIGSTOP) gets to know of it only when it goes on.
        self._trees.signal(directory, signal.SIGTERM, signal.SIGCONT)

    def wait(self, timeout: float | None) -> None:
        if self._found:
            return
        now = time.monotonic()
        left = [] if timeout is None else [timeout]
        left += [until - now for until in (*self._deadlines.values(), *self._loose.values())]
        if (due := self._sampler.next_due()) is not None:
            left.append(due - processes.uptime())
        # Rounded up: to wake a part of a millisecond too early is to wake twice.
        self._poll.poll(math.ceil(max(0.0, min(left)) * 1000) if left else None)
        with suppress(BlockingIOError):
            os.read(self._wake_read, 4096)

    def wake(self) -> None:
        with suppress(BlockingIOError):
            os.write(self._wake_write, b"\0")

    def sweep(self) -> None:
        self._trees.sweep()

    def _ended_children(self) -> Iterator[End]:
        while self._children:
            # Looked at before it is reaped: as long as it is not, its process group cannot be anybody else's.
            child = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if child is None:
                return
            if child.si_pid in self._children:
                yield self._reap(child)
            elif self._trees.is_stray(child.si_pid):
                os.waitpid(child.si_pid, 0)
            else:
                # A command of the agent itself, which another thread waits for, is first in line until that has.
                ends = [os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) for pid in self._children]
                yield from [self._reap(end) for end in ends if end is not None]
                return

    def _reap(self, child: os.waitid_result) -> End:
        """A shell has ended."""
        directory = self._children.pop(child.si_pid)
        with suppress(ProcessLookupError):
            os.killpg(child.si_pid, signal.SIGKILL)  # what the stage left in its group
        _, _, rusage = os.wait4(child.si_pid, 0)
        killed = child.si_code in (os.CLD_KILLED, os.CLD_DUMPED)
        reason = f"its shell was killed by signal {child.si_status}" if killed else ""
        return self._done(directory, reason, told=usage.told(rusage))

    def _done(self, directory: Path, reason: str, *, told: Usage | None = None, leftovers: bool = False) -> End:
        """The end of an attempt, and of what it left running: `leftovers` if there may be some, wherever they are."""
        group = self._trees.group(directory)
        self._loose.pop(directory, None)
        stopped = self._deadlines.pop(directory, None) is not None
        immortal: set[int] = set()
        if leftovers or stopped or self._trees.strays() or (group is not None and group.populated()):
            immortal = self._trees.kill(directory)
        if immortal:
            left = f"its processes {', '.join(map(str, sorted(immortal)))} could not be killed"
            reason = f"{reason}; {left}" if reason else left
        used = self._sampler.end(directory, processes.uptime(), told, group.cpu() if group is not None else 0.0)
        self._trees.drop(directory)
        return _end(directory, reason, used)

    def _kill_overdue(self) -> None:
        now = time.monotonic()
        for directory in [d for d, deadline in self._deadlines.items() if deadline <= now]:
            self._trees.kill(directory)
            self._deadlines[directory] = now + 1.0

    def _contain(self) -> None:
        now = time.monotonic()
        for directory in [d for d, when in self._loose.items() if when <= now]:
            del self._loose[directory]
            self._trees.contain(directory)

    def _sample(self) -> None:
        now = processes.uptime()
        if (first := self._sampler.next_due()) is None or first > now:
            return
        due = self._sampler.due(now)
        groups = {directory: self._trees.group(directory) for directory in due}
        members = self._trees.members() if None in groups.values() else {}
        for directory, group in groups.items():
            pids = group.members() if group is not None else {process.pid for process in members[directory]}
            self._sampler.note(directory, now, pids, group.cpu() if group is not None else 0.0)


def _write(path: str, text: str, mode: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        os.write(fd, text.encode(errors="surrogateescape"))
    finally:
        os.close(fd)


def _end(directory: Path, reason: str, used: Usage | None) -> End:
    try:
        rc = read_rc(directory)
    except UserError as error:
        return End(directory, None, None, str(error), used)
    if rc is None:
        return End(directory, None, None, reason or "its shell is gone and left no exit status", used)
    return End(directory, *rc, reason, used)


def _has_rc(directory: Path) -> bool:
    """Whether the attempt ended, or something is in the place of its exit status."""
    try:
        return read_rc(directory) is not None
    except UserError:
        return True


def _supervisor(directory: Path) -> int | None:
    """The pid of the shell that runs the attempt; None if there is none, and then there never will be."""
    path = directory / "pid"
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        pass
    except FileNotFoundError:
        return None
    else:
        path.write_text(_GIVEN_UP)
        return None
    until = time.monotonic() + _PID_WRITTEN_WITHIN
    while not (text := _pid_text(path)) and time.monotonic() < until:
        time.sleep(0.005)
    if text == _GIVEN_UP:
        return None
    return int(text) if text.isdecimal() else 0


def _pid_text(path: Path) -> str:
    """What `pid` says; nothing if the workload put something else in its place."""
    try:
        return (read_regular(path, 64) or b"").decode(errors="replace").strip()
    except UserError:
        return ""


def _hold(pid: int, directory: Path) -> tuple[int, float] | None:
    """A pidfd of the attempt's shell, and when that was started, in seconds since boot; None if it is gone."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return None
    # Only now that the pidfd holds the process can its identity be checked: a pid may have been used again.
    shell = processes.process(pid)
    if shell is not None and os.fsencode(f"GZL_ATTEMPT={directory}") in processes.environment(pid):
        return pidfd, shell.start * processes.TICK
    os.close(pidfd)
    return None
