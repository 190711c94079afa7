"""A log on its way through the masker, and where its places are afterwards: masking changes lengths."""

import bisect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from gzl.kit.fs import read_or_none
from gzl.kit.mask import Masker
from gzl.model.layout import JobLayout

_CHUNK = 1 << 20


def masker(job: JobLayout) -> Masker:
    """Masks what must not be seen in the logs of an unfinished job: the values in its file `secrets`."""
    return Masker(value for value in (read_or_none(job.secrets) or b"").split(b"\0") if value)


@dataclass(frozen=True, slots=True)
class Moved:
    """Where marked places of a log are in the masked one; both lists ascend. Empty: where they were."""

    before: list[int]
    after: list[int]

    def at(self, offset: int) -> int:
        """The place of a marked offset. A secret that lies across it counts as behind it."""
        place = bisect.bisect_right(self.before, offset) - 1
        return self.after[place] if place >= 0 else offset if not self.before else 0


class Masking:
    """The first `size` bytes of a log, masked. `moved` is complete once all `pieces` were taken."""

    def __init__(self, file: BinaryIO, size: int, masker: Masker, marks: Iterable[int]) -> None:
        self._file = file
        self._size = size
        self._stream = masker.stream()
        self._marks = sorted({min(mark, size) for mark in marks}) if masker.active else []
        self.moved = Moved([], [])

    def pieces(self) -> Iterator[bytes]:
        """The masked bytes."""
        read = given = 0
        for mark in [*self._marks, self._size]:
            while read < mark and (data := self._file.read(min(_CHUNK, mark - read))):
                read += len(data)
                masked = self._stream.feed(data)
                given += len(masked)
                yield masked
            if self._marks:
                self.moved.before.append(mark)
                self.moved.after.append(given)
        yield self._stream.finish()
