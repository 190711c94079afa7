"""The lines of a log that somebody wants to see: since when, matching what, with a time and a stage's name before them.

Used by `gzl logs`, for logs that are complete and for those that are still written.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from gzl.errors import UserError
from gzl.gzlfile import values
from gzl.kit.clock import Clock
from gzl.logs.times import Piece

LONGEST = 1 << 20  # bytes of a line; a longer one is searched and printed in parts of this length


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines, and how they are shown."""

    grep: re.Pattern[str] | None = None
    since: float | None = None
    """Seconds since the epoch: lines whose end was there before are left out."""
    stamped: bool = False

    @property
    def all(self) -> bool:
        """Whether a log is wanted as it is, byte by byte."""
        return self.grep is None and self.since is None and not self.stamped


class Lines:
    """Turns the pieces of one stage's log into the lines that are wanted, as they are printed."""

    def __init__(self, wanted: Wanted, prefix: str, clock: Clock) -> None:
        """`prefix` is printed before each line; what has no time of its own was there by the time of `clock`."""
        self._wanted = wanted
        self._prefix = prefix.encode(errors="replace")
        self._clock = clock
        self._part = b""

    def feed(self, piece: Piece) -> Iterator[bytes]:
        """The lines that are whole now."""
        *whole, part = (self._part + piece.data).split(b"\n")
        when = self._clock() if piece.time is None else piece.time
        *parts, self._part = _parts(part)
        for line in [*whole, *parts]:
            for shown in [line] if len(line) <= LONGEST else _parts(line):
                yield from self._shown(shown, when)

    def finish(self, when: float | None = None) -> Iterator[bytes]:
        """What stands at the end without an end of line."""
        line, self._part = self._part, b""
        if line:
            yield from self._shown(line, self._clock() if when is None else when)

    def _shown(self, line: bytes, when: float) -> Iterator[bytes]:
        wanted = self._wanted
        if wanted.since is not None and when < wanted.since:
            return
        if wanted.grep is not None and not wanted.grep.search(
            line.removesuffix(b"\r").decode(errors="surrogateescape")
        ):
            return
        stamp = f"{_iso(when)} ".encode() if wanted.stamped else b""
        yield b"%b%b%b\n" % (self._prefix, stamp, line)


def _parts(line: bytes) -> list[bytes]:
    return [line[start : start + LONGEST] for start in range(0, max(1, len(line)), LONGEST)]


def pattern(text: str) -> re.Pattern[str]:
    """The regular expression of `--grep`."""
    try:
        return re.compile(text)
    except re.error as error:
        at = f", character {error.pos + 1}" if error.pos is not None else ""
        raise UserError(
            f"--grep {text!r}{at}: {error.msg}; it is a Python regular expression, in which \\ takes a character's"
            " meaning away"
        ) from error


def moment(text: str, now: float) -> float:
    """The time of `--since`: `10m` ago, or a date and time in ISO 8601 (local time unless it says otherwise)."""
    try:
        days = re.fullmatch(r"(\d{1,4})d", text)
        return now - (int(days[1]) * 86400 if days else values.seconds(text))
    except ValueError:
        pass  # no duration
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError) as error:
        raise UserError(
            f"--since {text!r}: no time; write how long ago, as in 90s, 10m, 2h or 3d, or when, as in 2026-03-01T14:30"
        ) from error


def _iso(when: float) -> str:
    return datetime.fromtimestamp(when).astimezone().isoformat(timespec="milliseconds")
