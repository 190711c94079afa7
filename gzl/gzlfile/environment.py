"""Reads the body of an `env:` block: `NAME = value` lines."""

import re

from gzl.gzlfile.mistakes import Place, Report
from gzl.gzlfile.source import is_blank, logical

_ASSIGNMENT = re.compile(r"(?P<indent>\s*)(?P<name>[^\s=:+?]+)[ \t]*=[ \t]*(?P<value>.*)", re.DOTALL)
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def read_environment(
    lines: list[str], first: int, last: int, env: dict[str, str], places: dict[str, Place], report: Report
) -> None:
    """Add the assignments of the lines `[first, last)` to `env`, and to `places` where each stands."""
    at = first
    while at < last:
        if is_blank(lines[at]):
            at += 1
            continue
        start = at
        text, at = logical(lines, at, report, brackets=False)
        match = _ASSIGNMENT.fullmatch(text.text)
        if match is None:
            _report_no_assignment(text.text, start + 1, report)
            continue
        place = text.place(match.start("name"))
        name, value = match["name"], match["value"]
        if not _is_name(name, place, places, report):
            continue
        places[name] = place
        env[name] = _value(value, text.place(match.start("value")), report)


def _report_no_assignment(text: str, line: int, report: Report) -> None:
    place = Place(line, len(text) - len(text.lstrip()) + 1)
    if re.match(r"\s*\w+\s*[:+?]=", text):
        report.error(place, "not an assignment", "`=` alone assigns here")
    elif text.split()[0] in ("export", "set", "setenv"):
        report.error(place, "not an assignment", "leave out the first word: every stage gets these variables")
    else:
        report.error(place, "not an assignment", "write `NAME = value`")


def _is_name(name: str, place: Place, places: dict[str, Place], report: Report) -> bool:
    if not _IDENTIFIER.fullmatch(name):
        report.error(place, f"{name!r} is no name of a variable", "letters of a to z, digits and _, no digit first")
    elif name.startswith("GZL_"):
        report.error(
            place, f"{name!r} is one of gzl's own variables", "call it something that does not begin with GZL_"
        )
    elif name in places:
        report.error(place, f"{name!r} is set twice", f"keep one; the other is in line {places[name].line}")
    else:
        return True
    return False


def _value(value: str, place: Place, report: Report) -> str:
    quote = value[:1]
    if quote in ("'", '"'):
        if len(value) < 2 or value.find(quote, 1) < 0:
            report.error(place, "this quote is not closed", "close it on the same line")
        elif value.find(quote, 1) == len(value) - 1:
            value = value[1:-1]
    for command in ("$(", "`"):
        if (offset := value.find(command)) >= 0:
            report.error(
                Place(place.line, place.column + offset),
                f"`{command}` in a variable: a Gzlfile runs no commands outside of stages",
                "compute the value in a step",
            )
            break
    return value
