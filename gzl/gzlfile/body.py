"""Reads a stage's body: takes its indentation away and splits it into steps, or keeps it whole for an interpreter."""

from dataclasses import dataclass

from gzl.gzlfile.mistakes import Place, Report
from gzl.gzlfile.source import is_blank
from gzl.gzlfile.steps import split
from gzl.model.pipeline import Step


@dataclass(frozen=True, slots=True)
class Body:
    """What a stage does."""

    steps: tuple[Step, ...] = ()
    interpreter: str | None = None


def read_body(lines: list[str], first: int, last: int, shell: str, report: Report) -> Body:
    """The body in the lines `[first, last)` of the file, counted from 0."""
    body = [_without_own_comment(line) for line in lines[first:last]]
    indent = _indentation(body, first, report)
    if indent is None:
        return Body()
    text = [line.removeprefix(indent) if line.startswith(indent) else "" for line in body]
    begin = next((index for index, line in enumerate(text) if line), 0)
    if text and text[begin].lstrip(" \t").startswith("#!"):
        script = [text[begin].lstrip(" \t"), *text[begin + 1 :]]
        return _script(script, Place(first + begin + 1, len(indent) + 1), report)
    return Body(_steps(text, Place(first + 1, len(indent) + 1), shell, report))


def _without_own_comment(line: str) -> str:
    """A comment in the first column is the Gzlfile's, and no line of the body; a blank one keeps the lines' count."""
    return "" if line.startswith("#") or not line.strip(" \t") else line


def _indentation(body: list[str], first: int, report: Report) -> str | None:
    """The white space that all lines of the body begin with; None where tabs and spaces are mixed up."""
    common, common_line = None, 0
    for number, line in enumerate(body, first + 1):
        if not line:
            continue
        indent = line[: len(line) - len(line.lstrip(" \t"))]
        if common is None or (common.startswith(indent) and len(indent) < len(common)):
            common, common_line = indent, number
        elif not indent.startswith(common):
            report.error(
                Place(number, len(indent) + 1),
                f"tabs and spaces are mixed: this line is indented by {_say(indent)}, "
                f"line {common_line} by {_say(common)}",
                "indent the lines of a body alike",
            )
            return None
    return common or ""


def _say(indent: str) -> str:
    runs: list[str] = []
    for character in ("\t", " "):
        if amount := indent.count(character):
            runs.append(f"{amount} {'tab' if character == chr(9) else 'space'}{'s' if amount > 1 else ''}")
    return " and ".join(runs)


def _script(text: list[str], place: Place, report: Report) -> Body:
    interpreter = text[0].removeprefix("#!").strip()
    if not interpreter:
        report.error(place, "`#!` names no program", "write it like `#!/usr/bin/env python3`")
        return Body()
    return Body((Step("\n".join(text), place.line),), interpreter)


def _steps(text: list[str], place: Place, shell: str, report: Report) -> tuple[Step, ...]:
    found = split(text, shell)
    for line, column, file in found.truncating:
        report.warn(
            Place(place.line + line, place.column + column),
            f"`>{file}` truncates the log where that is a file, as it is here",
            f"write `>&{'2' if file.endswith('err') else '1'}`",
        )
    if wrong := found.unclosed:
        report.error(Place(place.line + wrong.line, place.column + wrong.column), wrong.text, wrong.hint)
    return tuple(
        Step("\n".join(text[span.first : span.last + 1]), place.line + span.first)
        for span in found.spans
        if not all(is_blank(line) for line in text[span.first : span.last + 1])
    )
