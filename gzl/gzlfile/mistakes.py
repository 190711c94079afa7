"""Mistakes of a Gzlfile: where, what, and what to do; collected while parsing, all shown at once."""

import difflib
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice

from gzl.errors import UserError

_SHOWN = 50
"""How many mistakes a GzlfileError spells out; a file that is no Gzlfile at all has one in every line."""
_WINDOW = 100
"""Characters of a source line that are shown on either side of the caret."""


class Severity(StrEnum):
    """An error keeps a Gzlfile from running; a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A place in a file; both count from 1, columns in characters."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong at one place."""

    path: str
    line: int
    column: int
    text: str
    """What is wrong."""
    hint: str
    """What to do."""
    source: str
    """The whole line as the file has it."""
    severity: Severity = Severity.ERROR


class GzlfileError(UserError):
    """A Gzlfile that cannot be used; the text shows every mistake of it."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        shown = [render(mistake) for mistake in mistakes[:_SHOWN]]
        if len(mistakes) > _SHOWN:
            shown.append(f"… and {len(mistakes) - _SHOWN} more")
        super().__init__("\n".join(shown))
        self.mistakes = tuple(mistakes)


@dataclass(slots=True)
class Report:
    """Collects what is found wrong in one file."""

    path: str
    lines: Sequence[str]
    mistakes: list[Mistake] = field(default_factory=list)
    # difflib is quadratic in a name's length and linear in the number of names: a hostile file gets a few
    # suggestions, not one for each of its ten thousand unknown names.
    suggestions: int = 20

    def error(self, place: Place, text: str, hint: str) -> None:
        """Note what keeps the file from running."""
        self._add(place, text, hint, Severity.ERROR)

    def warn(self, place: Place, text: str, hint: str) -> None:
        """Note what its author should know."""
        self._add(place, text, hint, Severity.WARNING)

    def near(self, name: str, known: Iterable[str], otherwise: str) -> str:
        """A hint that names the known name nearest to `name`, or else `otherwise`."""
        if self.suggestions == 0 or len(name) > 64:
            return otherwise
        self.suggestions -= 1
        found = difflib.get_close_matches(name, islice((k for k in known if len(k) <= 64), 500), 1)
        return f"did you mean {found[0]!r}?" if found else otherwise

    def sorted(self) -> tuple[Mistake, ...]:
        """All mistakes in the order of the file."""
        return tuple(sorted(self.mistakes, key=lambda mistake: (mistake.line, mistake.column)))

    def _add(self, place: Place, text: str, hint: str, severity: Severity) -> None:
        source = self.lines[place.line - 1] if place.line <= len(self.lines) else ""
        self.mistakes.append(Mistake(self.path, place.line, place.column, text, hint, source, severity))


def render(mistake: Mistake, color: bool = False) -> str:
    """The mistake as people read it: its place, the line with a caret below, what to do."""
    bold, red, yellow, cyan, off = ("\x1b[1m", "\x1b[31m", "\x1b[33m", "\x1b[36m", "\x1b[0m") if color else ("",) * 5
    tint = red if mistake.severity is Severity.ERROR else yellow
    place = f"{printable(mistake.path)}:{mistake.line}:{mistake.column}:"
    first = f"{bold}{place}{off} {tint}{mistake.severity}:{off} {printable(mistake.text)}"
    source, before = _window(mistake.source, mistake.column - 1)
    shown = [first]
    if source:
        shown += [f"    {source}", f"    {_blank(before)}{tint}^{off}"]
    return "\n".join([*shown, f"    {cyan}{printable(mistake.hint)}{off}"])


def printable(text: str) -> str:
    """`text` with all that could act on a terminal (escapes, controls, direction marks) as one � a character."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\t\u200c\u200d" else "�" for c in text)


def _window(line: str, column: int) -> tuple[str, str]:
    """The part of a line around a column, and what of that part stands before the column."""
    start, end = max(0, column - _WINDOW), column + _WINDOW
    left, right = "…" if start else "", "…" if end < len(line) else ""
    before = left + printable(line[start:column])
    return (before + printable(line[column:end]) + right).rstrip(), before


def _blank(text: str) -> str:
    """White space as wide as `text` is on a terminal; tabs stay tabs, so that the caret stands right."""
    return "".join(c if c == "\t" else " " * _width(c) for c in text)


def _width(character: str) -> int:
    if unicodedata.combining(character) or character in "\u200c\u200d":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
