"""Where other threads meet the agent's loop.

The loop owns the job: its journal, its plan, what runs. A thread of the Job API, or one that restores a cache, hands it
a function through a `Desk`; the loop runs it between two turns, so that nothing of the job needs a lock of its own.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar

from gzl.errors import GzlError
from gzl.model.record import JobRecord
from gzl.model.request import Added
from gzl.planning.plan import Plan

T = TypeVar("T")


class Closed(GzlError):
    """The loop has ended, and whoever asks came too late."""


class Job(Protocol):
    """The job as the loop has it: only for functions that the loop runs."""

    @property
    def record(self) -> JobRecord:
        """The job as it stands."""

    @property
    def plan(self) -> Plan:
        """Its stages, those that were added too."""

    def attempt(self, stage: str) -> int | None:
        """The number of the attempt of the stage that runs now; None if none does."""

    def begun(self) -> frozenset[str]:
        """The stages that have begun, are about to, or have ended: nothing can be put before them any more."""

    def tell(self, what: str, stage: str, attempt: int, data: Mapping[str, Any]) -> None:
        """Write into the journal what a running stage asked for; see `model.journal`."""

    def grow(self, added: Added, stage: str) -> None:
        """Take stages into the job that `planning.extend` found good; `stage` asked for them."""

    def heartbeat(self, stage: str) -> None:
        """The stage says that it lives."""

    def lend(self, stage: str) -> None:
        """The stage only waits: let another one run in its place, until `take_back`. Calls are counted."""

    def take_back(self, stage: str) -> None:
        """The stage goes on."""


class _Task(Generic[T]):
    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._done = threading.Event()
        self._value: T
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._value = self._function()
        except BaseException as error:  # noqa: BLE001  raised again where it was asked for
            self._error = error
        self._done.set()

    def refuse(self, error: BaseException) -> None:
        self._error = error
        self._done.set()

    def result(self) -> T:
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self._value


class Desk:
    """`call` and `wait` are for other threads, `serve` and `close` for the loop; `wake` makes the loop come."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._tasks: deque[_Task[Any]] = deque()
        self._closed = False
        self._news = threading.Condition()
        self._version = 0

    def call(self, function: Callable[[], T]) -> T:
        """Have the loop run the function; its result or its exception. Raises Closed after the loop's end."""
        task = _Task(function)
        self._tasks.append(task)
        if self._closed:
            self._refuse_all()
        self._wake()
        return task.result()

    def serve(self) -> None:
        """Run what was asked for."""
        while self._tasks:
            self._tasks.popleft().run()

    def close(self) -> None:
        """Refuse what was not run yet, and whatever comes later; let those go who wait for news."""
        self._closed = True
        self._refuse_all()
        self.announce()

    def announce(self) -> None:
        """Say that something of the job has changed."""
        with self._news:
            self._version += 1
            self._news.notify_all()

    @property
    def version(self) -> int:
        """Grows with every `announce`: take it before looking at the job, and give it to `wait`."""
        return self._version

    def wait(self, version: int, seconds: float) -> None:
        """Sleep until something has changed since `version`, the loop has ended, or `seconds` are over."""
        with self._news:
            self._news.wait_for(lambda: self._version != version or self._closed, seconds)

    def _refuse_all(self) -> None:
        with suppress(IndexError):
            while True:
                self._tasks.popleft().refuse(Closed("the job's agent has ended; ask again"))


class Chores:
    """Long work beside the loop (a cache of gigabytes), in threads of its own; what follows it is done in the loop."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._ended: deque[Callable[[], None]] = deque()

    def begin(self, work: Callable[[], T], then: Callable[[T], None]) -> None:
        """Run `work` in a thread, and then `then` with its result in the loop. What `work` raises, `serve` does."""
        threading.Thread(target=self._run, args=(work, then), daemon=True).start()

    def serve(self) -> None:
        """Do what follows on those that ended."""
        while self._ended:
            self._ended.popleft()()

    def _run(self, work: Callable[[], T], then: Callable[[T], None]) -> None:
        task = _Task(work)
        task.run()
        self._ended.append(lambda: then(task.result()))
        self._wake()
