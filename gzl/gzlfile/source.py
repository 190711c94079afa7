"""A Gzlfile's bytes as lines, and its lines as blocks: an unindented header and the indented lines below it.

A header may go on over several lines: after a backslash at the end of a line, and inside `[ ]`, where every further
line is indented or begins with `]`. So an unclosed bracket ends where the next header begins, and spoils no more.
"""

import re
from bisect import bisect_right
from dataclasses import dataclass

from gzl.gzlfile.mistakes import Place, Report

_BOM = b"\xef\xbb\xbf"
_SPECIAL = re.compile(r"""["'#\[\]]""")


@dataclass(frozen=True, slots=True)
class Logical:
    """A header without its comments, its lines joined; `place` leads back to the file."""

    text: str
    starts: tuple[int, ...]
    """Offsets in `text` at which another line of the file begins."""
    places: tuple[Place, ...]
    """Where each of them begins in the file."""
    broken: bool = False
    """A quote or bracket is not closed (which was reported): only the beginning can be relied on."""

    def place(self, offset: int) -> Place:
        """Where the character at `offset` stands in the file."""
        index = bisect_right(self.starts, offset) - 1
        at = self.places[index]
        return Place(at.line, at.column + offset - self.starts[index])


@dataclass(frozen=True, slots=True)
class Block:
    """A header and its body: lines `[first, last)` of the file, counted from 0."""

    header: Logical
    first: int
    last: int


def decode(data: bytes, path: str) -> tuple[list[str], Report]:
    """The lines of a file, and a report that has its encoding mistakes, one a line.

    Only `\\n` and `\\r\\n` end a line: what else Unicode calls a line separator may stand in a quoted text.
    """
    raw = data.removeprefix(_BOM).split(b"\n")
    if not raw[-1]:
        raw.pop()
    lines = [line.removesuffix(b"\r").decode("utf-8", "replace") for line in raw]
    report = Report(path, lines)
    for number, line in enumerate(raw, 1):
        _check_text(line, number, report)
    return [line.replace("\0", "\ufffd") for line in lines], report


def _check_text(line: bytes, number: int, report: Report) -> None:
    nul = line.find(b"\0")
    if nul >= 0:
        column = len(line[:nul].decode("utf-8", "replace")) + 1
        report.error(Place(number, column), "a NUL character", "a Gzlfile is text in UTF-8: remove the character")
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as error:
        column = len(line[: error.start].decode("utf-8")) + 1
        report.error(
            Place(number, column),
            f"not UTF-8: the byte 0x{line[error.start]:02x}",
            "save the file in UTF-8",
        )


def blocks(lines: list[str], report: Report) -> list[Block]:
    """The file as blocks; reports indented lines that belong to no header."""
    found, at = [], 0
    while at < len(lines):
        if is_blank(lines[at]):
            at += 1
        elif lines[at][0] in " \t":
            report.error(
                Place(at + 1, _indent(lines[at]) + 1),
                "an indented line that belongs to no stage",
                "put it below a stage's `name:` line, or remove its indentation",
            )
            at = _body_end(lines, at)
        else:
            header, first = logical(lines, at, report)
            at = _body_end(lines, first)
            found.append(Block(header, first, at))
    return found


def is_blank(line: str) -> bool:
    """Whether a line outside of a body says nothing: empty, or a comment."""
    text = line.lstrip(" \t")
    return not text or text[0] == "#"


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" \t"))


def _body_end(lines: list[str], at: int) -> int:
    """The end of the indented lines from `at` on; blank lines and comments in the first column do not end them."""
    end = at
    while at < len(lines) and (not lines[at] or lines[at][0] in " \t#"):
        if lines[at].strip(" \t") and lines[at][0] in " \t":
            end = at + 1
        at += 1
    return end


def logical(lines: list[str], at: int, report: Report, brackets: bool = True) -> tuple[Logical, int]:
    """The header that begins at line `at`, and the index of the first line after it.

    Without `brackets` only a backslash continues it, and a quote that has no partner is an ordinary character.
    """
    parts, starts, places = [], [], []
    length, broken, skip = 0, False, 0
    opened: list[Place] = []
    while True:
        kept, lone = _without_comment(lines[at], at + 1, opened if brackets else [])
        if lone is not None and brackets:
            report.error(Place(at + 1, lone + 1), "this quote is not closed", "close it on the same line")
            kept, broken = kept[:lone], True
        continued = kept.endswith("\\") and len(kept) == len(lines[at].rstrip(" \t")) and at + 1 < len(lines)
        kept = kept.removesuffix("\\").rstrip(" \t") if continued else kept
        starts.append(length)
        places.append(Place(at + 1, skip + 1))
        parts.append(kept[skip:])
        at += 1
        if broken or not (continued or opened) or at == len(lines):
            break
        if opened and not continued and not (is_blank(lines[at]) or lines[at][0] in " \t]"):
            break
        parts.append(" " if continued else "\n")
        length += len(kept[skip:]) + 1
        # As in make, a backslash, the line end and the white space around them are one space.
        skip = _indent(lines[at]) if continued else 0
    if opened and not broken:
        broken = True
        report.error(opened[0], "this bracket is not closed", "close it with `]` and go on with `:`")
    return Logical("".join(parts), tuple(starts), tuple(places), broken), at


def _without_comment(line: str, number: int, opened: list[Place]) -> tuple[str, int | None]:
    """The line up to its comment, and the offset of a quote without partner; keeps account of brackets in `opened`."""
    at, lone = 0, None
    while match := _SPECIAL.search(line, at):
        at = match.end()
        character = match[0]
        if character == "#":
            if match.start() == 0 or line[match.start() - 1] in " \t":
                return line[: match.start()].rstrip(" \t"), lone
        elif character == "[":
            opened.append(Place(number, at))
        elif character == "]":
            if opened:
                opened.pop()
        elif lone is None or line[lone] != character:
            end = line.find(character, at)
            if end < 0:
                lone = match.start() if lone is None else lone
            else:
                at = end + 1
    return line.rstrip(" \t"), lone
