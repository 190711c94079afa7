"""The repo manager: one process per repository that turns events into jobs and keeps agents at work on them.

It owns nothing but its lock. Events are files in the spool, jobs are folders, running agents hold their leases: a
manager that is killed leaves all of it as it is, and the next one goes on. It sleeps in one poll(2) on a FIFO that
hooks write to, on SIGCHLD for the agents it started, and on pidfds for those that somebody else did.
"""

import os
import select
import signal
import time
from collections.abc import Callable
from contextlib import suppress

from gzl.errors import TransientError, UserError
from gzl.git.repo import Repo
from gzl.githooks import spool
from gzl.kit import proc
from gzl.kit.clock import Clock
from gzl.kit.fs import Lock, try_lock, write_atomic
from gzl.managers.crew import Crew
from gzl.managers.intake import RETRY, Intake
from gzl.records import unfinished

_EXITING_WITHIN = 5.0  # seconds that a manager which has taken back its pid file may still hold the lock
_TRIES = 5  # of events that cannot be handled, before a manager that is to come to an end gives up
_UNWATCHED = 0.1  # seconds between two looks at an agent that has not said who it is yet


class AlreadyManaged(UserError):
    """Another manager is at work on the repository."""


class RepoManager:
    """See the module. `say` gets a line for people about each thing that it does; `start_agent` gives a pid; `at_rest`
    is called whenever there is nothing to do, and only begins what it does."""

    def __init__(
        self,
        repo: Repo,
        clock: Clock,
        say: Callable[[str], None],
        start_agent: Callable[[str], int],
        at_rest: Callable[[], None],
    ) -> None:
        """Raises AlreadyManaged if another manager has the repository; that one is woken."""
        self._repo = repo
        self._layout = repo.layout
        self._clock = clock
        self._at_rest = at_rest
        self._lock = _take_over(repo)
        with suppress(FileExistsError):
            os.mkfifo(self._layout.manager_wake, 0o600)
        self._fifo = os.open(self._layout.manager_wake, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._child, child_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(child_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._poll = select.poll()
        for fd in (self._fifo, self._child):
            self._poll.register(fd, select.POLLIN)
        unfinished.sweep(self._layout)
        self._intake = Intake(repo, clock, say)
        self._crew = Crew(repo, clock, say, start_agent, self._poll)
        self._present()

    def run(self, *, once: bool, idle: float | None) -> None:
        """Manage until there is nothing left to do (`once`), for `idle` seconds of nothing to do, or for ever."""
        self._intake.handle()
        self._intake.deposit_missed()
        quiet_since = time.monotonic()
        while self._still_ours():
            while self._turn():
                quiet_since = time.monotonic()
            if once and self._intake.troubled >= _TRIES:
                raise TransientError(
                    f"{self._repo.common_dir}: events could not be handled; {self._layout.spool / 'cur'}"
                )
            tick = None if once else self._intake.schedule.next()
            resting = not self._crew.busy and not self._intake.troubled and tick is None
            if not self._crew.busy and not once and self._still_ours():
                self._at_rest()
            if resting and (once or (idle is not None and time.monotonic() - quiet_since >= idle)):
                if self._leave():
                    return
                self._wait(RETRY, tick)
                continue
            self._wait(quiet_since + idle - time.monotonic() if resting and idle is not None else None, tick)

    def _still_ours(self) -> bool:
        """Whether the lock is the one that others would take: the repository may have been removed or replaced."""
        try:
            return os.path.samestat(os.stat(self._layout.manager_lock), os.fstat(self._lock.fd))
        except FileNotFoundError:
            return False

    def _turn(self) -> bool:
        """Do what can be done now; whether there was anything, and so perhaps more."""
        handled = self._intake.handle()
        started = self._crew.employ(self._intake.settings.jobs)
        if handled:
            self._intake.schedule.refresh()  # after the agents: nobody waits for it
        # Each git that was run above has left a SIGCHLD too: dropped here, or the manager would wake itself for ever.
        # An agent's that came with them is not lost, because agents are reaped after it.
        _drain(self._child)
        return self._crew.reap() or handled or started

    def _wait(self, idle_left: float | None, tick: float | None) -> None:
        limits = [
            None if tick is None else tick - self._clock(),
            RETRY if self._intake.troubled else None,
            _UNWATCHED if self._crew.unwatched else None,
            idle_left,
        ]
        timeout = min((max(0.0, limit) for limit in limits if limit is not None), default=None)
        for fd, _ in self._poll.poll(None if timeout is None else timeout * 1000):
            if fd == self._fifo:
                _drain(fd)

    def _present(self) -> None:
        """From now on hooks need not start a manager."""
        pid = os.getpid()
        write_atomic(self._layout.manager_pid, f"{pid} {proc.start_time(pid)}\n".encode())

    def _leave(self) -> bool:
        """Take back the pid file, then look once more: an event that came before is seen here, the hook of one that
        comes after starts another manager. Whether the manager may go."""
        self._layout.manager_pid.unlink(missing_ok=True)
        if spool.pending(self._layout) or unfinished.jobs(self._layout):
            self._present()
            return False
        return True


def wake(repo: Repo) -> None:
    """Wake the manager of a repository, if there is one."""
    with suppress(FileNotFoundError, BlockingIOError):
        fd = os.open(repo.layout.manager_wake, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.write(fd, b"\n")
        finally:
            os.close(fd)


def _drain(fd: int) -> None:
    with suppress(BlockingIOError):
        os.read(fd, 65536)


def _take_over(repo: Repo) -> Lock:
    until = time.monotonic() + _EXITING_WITHIN
    while (lock := try_lock(repo.layout.manager_lock)) is None:
        # One that has removed its pid file is on its way out, and may have looked at the spool for the last time.
        if repo.layout.manager_pid.exists() or time.monotonic() > until:
            wake(repo)
            raise AlreadyManaged(f"{repo.common_dir}: another manager is at work here; nothing to do")
        time.sleep(0.01)
    return lock
