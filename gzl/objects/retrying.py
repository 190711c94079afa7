"""A store that is tried again while that may help: when the network fails, a server is overloaded, a disk is full.

The delay before each try is drawn between nothing and a limit that doubles ("full jitter",
https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter), so that many who failed at once do not come
back at once. Everything that a store does can be done twice. Streams cannot be read twice: one that is put and cannot
be rewound waits in a file, one that is got and breaks is opened again and read up to where it broke.
"""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

from gzl.errors import TransientError
from gzl.objects.base import Blob, ObjectStore, Stored, Wrapper
from gzl.objects.spooling import rewindable
from gzl.objects.streams import CHUNK, stream

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Budget:
    """How often, and for how many seconds, something is tried; `first` and `most` seconds limit the delays."""

    tries: int = 6
    seconds: float = 60.0
    first: float = 0.25
    most: float = 15.0


class Retrying(Wrapper):
    """See the module."""

    def __init__(
        self,
        inner: ObjectStore,
        *,
        spool: Path,
        budget: Budget = Budget(),
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`spool` is the folder for streams that wait (made if need be); `jitter` gives numbers from 0 to 1."""
        super().__init__(inner)
        self._spool = spool
        self._budget = budget
        self._sleep = sleep
        self._clock = clock
        self._jitter = jitter

    def put(self, source: BinaryIO) -> Blob:
        with rewindable(source, self._spool) as known:
            start = known.tell()

            def put() -> Blob:
                known.seek(start)
                return self.inner.put(known)

            return self._again(put)

    def put_file(self, path: Path, *, take: bool = False) -> Blob:
        return self._again(lambda: self.inner.put_file(path, take=take))

    def get(self, digest: str) -> BinaryIO:
        return _Resumed(lambda: self.inner.get(digest), self._again).stream()

    def get_file(self, digest: str, target: Path, mode: int) -> None:
        self._again(lambda: self.inner.get_file(digest, target, mode))

    def has(self, digest: str) -> int | None:
        return self._again(lambda: self.inner.has(digest))

    def delete(self, digest: str, *, unless_after: float | None = None) -> bool:
        return self._again(lambda: self.inner.delete(digest, unless_after=unless_after))

    def list(self) -> Iterator[Stored]:
        # Whole, because a listing that begins again would give names twice; 200 bytes an object.
        return iter(self._again(lambda: tuple(self.inner.list())))

    def sweep(self, before: float) -> None:
        self._again(lambda: self.inner.sweep(before))

    def _again(self, action: Callable[[], T]) -> T:
        budget, begun = self._budget, self._clock()
        for done in range(1, budget.tries + 1):
            try:
                return action()
            except TransientError:
                delay = self._jitter() * min(budget.most, budget.first * 2**done)
                if done == budget.tries or self._clock() + delay - begun > budget.seconds:
                    raise
            self._sleep(delay)
        raise AssertionError("a budget of no tries")


class _Resumed:
    """A stream that is opened again when it breaks."""

    def __init__(self, opener: Callable[[], BinaryIO], again: Callable[[Callable[[], bytes]], bytes]) -> None:
        self._opener = opener
        self._again = again
        self._source: BinaryIO | None = None
        self._given = 0

    def stream(self) -> BinaryIO:
        first = self._again(self._read)  # opened now, so that the caller learns now if there is no such object
        return stream(self._pieces(first), self._close)

    def _pieces(self, piece: bytes) -> Iterator[bytes]:
        while piece:
            self._given += len(piece)
            yield piece
            piece = self._again(self._read)

    def _read(self) -> bytes:
        try:
            if self._source is None:
                self._source = self._opener()
                self._skip(self._source)
            return self._source.read(CHUNK)
        except TransientError:
            self._close()
            raise

    def _skip(self, source: BinaryIO) -> None:
        """Read what was given already: the store verifies the whole object, so it must see all of it."""
        left = self._given
        while left and (piece := source.read(min(left, CHUNK))):
            left -= len(piece)

    def _close(self) -> None:
        if self._source is not None:
            self._source.close()
        self._source = None
