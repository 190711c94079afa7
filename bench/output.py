"""A stage that prints 200 MB, beside the same command with `> file`.

Two commands: `cat`, which does nothing but write, and so shows every copy that somebody makes on the way; and one that
makes its lines, as a compiler or a test would.
"""

import json
import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from common import Machine, Row, Table, Timing, in_turns

SIZE = 200_000_000  # bytes
LINE = "a line of some output, as long as they usually are"
BUDGET = 1.1


def tables(machine: Machine) -> Iterator[Table]:
    """A table for each command."""
    rounds = machine.rounds(9)
    lines = machine.folder / "lines"
    lines.write_bytes((LINE.encode() + b"\n") * (SIZE // (len(LINE) + 1) + 1))
    os.truncate(lines, SIZE)
    commands = {
        "copied with cat": f"cat {shlex.quote(os.fspath(lines))}",
        "made by yes": f"yes '{LINE}' | head -c {SIZE}",
    }
    for number, (title, command) in enumerate(commands.items()):
        case = _Case(machine, f"output-{number}", command)
        timings = in_turns({"> file": case.plain, "gzl run": case.gzl}, rounds)
        base, run = timings.values()
        attempt, step = (Timing(tuple(column[1:])) for column in zip(*case.seen, strict=True))
        rows = [
            Row("the command with `> file`", str(base)),
            _over("in gzl, the command itself", step, base, None),
            _over("in gzl, the stage, from its start to its end as recorded", attempt, base, BUDGET),
            _over("`gzl run`, which shows all of it too", run, base, None),
        ]
        yield Table(f"200 MB, {title}, {rounds} rounds", rows)


def _over(what: str, timing: Timing, base: Timing, budget: float | None) -> Row:
    ratio = timing.over(base)
    shown = "" if budget is None else f"≤ {budget}×"
    return Row(what, str(timing), f"{ratio:.2f}×", shown, None if budget is None else ratio <= budget)


class _Case:
    """One command, by itself and as a stage."""

    def __init__(self, machine: Machine, name: str, command: str) -> None:
        self._machine = machine
        self._command = command
        self._stamps = machine.folder / f"{name}.stamps"
        stamp = f"date +%s%N >>{shlex.quote(os.fspath(self._stamps))}"
        self._repo = machine.repository(name, f"print:\n    {stamp}\n    {command}\n    {stamp}\n")
        self._file = machine.folder / f"{name}.out"
        self.seen: list[tuple[float, float]] = []
        """Seconds of the attempt and of the command in it, a line for each round."""

    def plain(self) -> float:
        self._file.unlink(missing_ok=True)
        return self._machine.time("sh", "-c", f"{self._command} >{shlex.quote(os.fspath(self._file))}")

    def gzl(self) -> float:
        self._stamps.unlink(missing_ok=True)
        seconds = self._machine.time("gzl", "run", "--again", cwd=self._repo)
        (attempt,) = json.loads(self._machine.run("gzl", "show", "HEAD", "--json", cwd=self._repo))["stages"]["print"][
            "attempts"
        ]
        assert attempt["log"]["bytes"] == SIZE, attempt
        begun, ended = (int(line) / 1e9 for line in self._stamps.read_text().split())
        self.seen.append((attempt["finished"] - attempt["started"], ended - begun))
        _forget_logs(self._repo)
        return seconds


def _forget_logs(repo: Path) -> None:
    """Large logs are kept by content, so the next round would find its log there already."""
    for path in (repo / ".git/gzl/logs").glob("*/*"):
        path.unlink()
