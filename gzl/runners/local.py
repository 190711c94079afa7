"""Runs attempts as processes of this machine. The agent waits for SIGCHLD, and for pidfds of attempts that an earlier
agent began; nothing is polled, and no byte of output passes through here."""

import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from gzl.errors import UserError
from gzl.kit import proc
from gzl.runners.attempt import SUPERVISOR, env_text, read_rc
from gzl.runners.base import End, Work

_GIVEN_UP = "given up"
_PID_WRITTEN_WITHIN = 1.0  # seconds from the creation of `pid` to its content, for a shell that was not killed between


class LocalRunner:
    """See `base.Runner`. Takes over SIGCHLD of this process."""

    def __init__(self) -> None:
        self._children: dict[int, Path] = {}
        self._adopted: dict[int, Path] = {}  # pidfd → attempt directory
        self._found: list[End] = []
        self._deadlines: dict[Path, float] = {}
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._poll = select.poll()
        self._poll.register(self._wake_read, select.POLLIN)
        proc.become_subreaper()

    def start(self, work: Work) -> None:
        place = os.fspath(work.directory)
        os.makedirs(place)
        _write(f"{place}/script", work.script, 0o600 if work.shell else 0o700)
        _write(f"{place}/env", env_text(work.env), 0o600)
        argv = ["/bin/sh", "-c", SUPERVISOR, place, os.fspath(work.workspace), *work.shell]
        pid = proc.spawn(argv, env=work.env, stdout=f"{place}/log")
        self._children[pid] = work.directory

    def adopt(self, directory: Path) -> bool:
        end = _end(directory)
        if end.exit is not None:
            self._found.append(end)
            return True
        pid = _supervisor(directory)
        if pid is None:
            return False
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            pidfd = -1
        # Only now that the pidfd holds the process can its identity be checked: a pid may have been used again.
        if pidfd >= 0 and _is_supervisor_of(pid, directory):
            self._adopted[pidfd] = directory
            self._poll.register(pidfd, select.POLLIN)
        else:
            if pidfd >= 0:
                os.close(pidfd)
            self._kill(directory)
            self._found.append(_end(directory))
        return True

    def ended(self) -> Iterator[End]:
        self._kill_overdue()
        yield from self._found
        self._found.clear()
        while self._children:
            # Looked at before it is reaped: as long as it is not, its process group cannot be anybody else's.
            child = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if child is None:
                break
            directory = self._children.pop(child.si_pid, None)
            if directory is not None:
                with suppress(ProcessLookupError):
                    os.killpg(child.si_pid, signal.SIGKILL)  # what the stage left in its group
            os.waitpid(child.si_pid, 0)
            if directory is not None:
                killed = child.si_code in (os.CLD_KILLED, os.CLD_DUMPED)
                yield self._done(directory, f"its shell was killed by signal {child.si_status}" if killed else "")
        for pidfd, directory in list(self._adopted.items()):
            if select.select([pidfd], [], [], 0)[0]:
                self._poll.unregister(pidfd)
                os.close(pidfd)
                del self._adopted[pidfd]
                self._kill(directory)
                yield self._done(directory, "")

    def stop(self, directory: Path, grace: float) -> None:
        self._deadlines[directory] = time.monotonic() + grace
        proc.signal_all(proc.marked(f"GZL_ATTEMPT={directory}"), signal.SIGTERM)

    def wait(self, timeout: float | None) -> None:
        if self._found:
            return
        until = min(self._deadlines.values(), default=None)
        if until is not None:
            left = max(0.0, until - time.monotonic())
            timeout = left if timeout is None else min(timeout, left)
        self._poll.poll(None if timeout is None else timeout * 1000)
        with suppress(BlockingIOError):
            os.read(self._wake_read, 4096)

    def wake(self) -> None:
        with suppress(BlockingIOError):
            os.write(self._wake_write, b"\0")

    def sweep(self) -> None:
        for pid in proc.children():
            if pid not in self._children:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _done(self, directory: Path, reason: str) -> End:
        if self._deadlines.pop(directory, None) is not None:
            self._kill(directory)
        elif set(proc.children()) - set(self._children):
            self._kill(directory)  # something of this stage double-forked away
        return _end(directory, reason)

    def _kill_overdue(self) -> None:
        now = time.monotonic()
        for directory in [d for d, deadline in self._deadlines.items() if deadline <= now]:
            self._kill(directory)
            self._deadlines[directory] = now + 1.0

    def _kill(self, directory: Path) -> None:
        """Until none is left: a process that forks while it is looked for is found in the next round."""
        while pids := proc.marked(f"GZL_ATTEMPT={directory}"):
            proc.signal_all(pids, signal.SIGKILL)
            time.sleep(0.01)


def _write(path: str, text: str, mode: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        os.write(fd, text.encode(errors="surrogateescape"))
    finally:
        os.close(fd)


def _end(directory: Path, reason: str = "") -> End:
    try:
        rc = read_rc(directory)
    except UserError as error:
        return End(directory, None, None, str(error))
    if rc is None:
        return End(directory, None, None, reason or "its shell is gone and left no exit status")
    return End(directory, *rc)


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
    while not (text := path.read_text()) and time.monotonic() < until:
        time.sleep(0.005)
    if text == _GIVEN_UP:
        return None
    return int(text) if text else 0


def _is_supervisor_of(pid: int, directory: Path) -> bool:
    try:
        environ = Path(f"/proc/{pid}/environ").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False
    return f"GZL_ATTEMPT={directory}".encode() in environ.split(b"\0")
