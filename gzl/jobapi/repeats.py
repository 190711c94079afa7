"""Calls that are made twice are carried out once.

The `gzl` in a stage repeats a call when the connection broke, and cannot know whether the first one was carried out. It
names each call; the answer to a name is kept for a while and given again, and a repeated call whose first one is still
at work waits for that one's answer.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class Repeats(Generic[T]):
    """Answers by name; the newest `kept` of them."""

    def __init__(self, kept: int = 1000) -> None:
        self._kept = kept
        self._lock = threading.Lock()
        self._answers: OrderedDict[tuple[str, ...], Future[T]] = OrderedDict()

    def once(self, name: tuple[str, ...], act: Callable[[], T]) -> T:
        """What `act` gives, or gave when it was called for this name before; what it raises is not kept."""
        with self._lock:
            known = self._answers.get(name)
            if known is None:
                mine = self._answers[name] = Future()
                self._forget()
        if known is not None:
            return known.result()
        try:
            answer = act()
        except BaseException as error:
            with self._lock:
                self._answers.pop(name, None)
            mine.set_exception(error)
            raise
        mine.set_result(answer)
        return answer

    def _forget(self) -> None:
        while len(self._answers) > self._kept:
            self._answers.popitem(last=False)
