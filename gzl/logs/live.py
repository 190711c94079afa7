"""The log of an attempt that may still run, as people may see it: masked, byte by byte, as soon as it is decided.

The workload writes its log itself, so on disk it is raw; whoever shows it reads it here. Once open, the file is the one
that was opened, whatever the workload puts in its place.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from gzl.kit.fs import open_regular
from gzl.kit.mask import Masker
from gzl.logs import times
from gzl.logs.times import Piece

_CHUNK = 1 << 16
_TAIL = 1 << 16  # bytes


class LiveLog:
    """See the module. Open until `close`."""

    def __init__(self, directory: Path, masker: Masker, *, timed: bool = False) -> None:
        """Raises FileNotFoundError as long as there is no log, and NotPlain. `timed`: pieces of what is there already
        have times."""
        self._fd = open_regular(directory / "log")
        self._stream = masker.stream()
        self._marks = times.noted(directory) if timed else []
        self._read = 0
        self.told = 0
        """So many masked bytes were given out: where to go on in the log once it is kept."""

    def news(self) -> Iterator[Piece]:
        """What was written since the last call, as far as it is decided that it is no secret."""
        while True:
            while self._marks and self._marks[0][0] <= self._read:
                self._marks.pop(0)
            until, when = self._marks[0] if self._marks else (self._read + _CHUNK, None)
            data = os.pread(self._fd, min(_CHUNK, until - self._read), self._read)
            if not data:
                return
            self._read += len(data)
            yield from self._piece(self._stream.feed(data), when)

    def finish(self) -> Iterator[Piece]:
        """What was held back, now that nothing follows."""
        yield from self._piece(self._stream.finish(), None)

    def close(self) -> None:
        os.close(self._fd)

    def _piece(self, data: bytes, when: float | None) -> Iterator[Piece]:
        self.told += len(data)
        if data:
            yield Piece(data, when)


def tail(directory: Path, lines: int, masker: Masker) -> list[bytes]:
    """The last lines of an attempt's log, of its last 64 KiB at most; none if there is no log. Raises NotPlain."""
    try:
        fd = open_regular(directory / "log")
    except FileNotFoundError:
        return []
    with open(fd, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        # As much again is read before it: what was cut there may be the rest of a secret, and is not shown.
        file.seek(max(0, size - 2 * _TAIL))
        return masker.mask(file.read(2 * _TAIL))[-_TAIL:].splitlines()[-lines:]
