"""A stage that prints 200 MB, beside the same command with `> file`.

Two commands: `cat`, which does nothing but write, and so shows every copy that somebody makes on the way; and one that
makes its lines, as a compiler or a test would.
"""

import json
import os
import shlex
from collections.abc import Iterator

from common import Machine, Row, Table, Timing, in_turns, settle

SIZE = 200_000_000  # bytes
LINE = "a line of some output, as long as they usually are"
BUDGET = 1.1


def tables(machine: Machine) -> Iterator[Table]:
    """A table for each command."""
    rounds = machine.rounds(5, 2)
    lines = machine.folder / "lines"
    lines.write_bytes((LINE.encode() + b"\n") * (SIZE // (len(LINE) + 1) + 1))
    os.truncate(lines, SIZE)
    commands = {
        "copied with cat": f"cat {shlex.quote(os.fspath(lines))}",
        "made by yes": f"yes '{LINE}' | head -c {SIZE}",
    }
    for number, (title, command) in enumerate(commands.items()):
        case = _Case(machine, f"output-{number}", command)
        timings = in_turns({"> file": case.plain, "detached": case.detached, "watched": case.watched}, rounds)
        base, watched = timings["> file"], timings["watched"]
        attempt, step, watched_attempt, _ = (Timing(tuple(column[1:])) for column in zip(*case.seen(), strict=True))
        rows = [
            Row("the command with `> file`", str(base)),
            _over("in gzl, the command itself", step, base, None),
            _over("in gzl, the stage, from its start to its end as recorded", attempt, base, BUDGET),
            _over("the same stage while `gzl run` shows it", watched_attempt, base, None),
            _over("all of `gzl run`, which prints the 200 MB too", watched, base, None),
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
        self._detached: list[tuple[float, float]] = []
        self._watched: list[tuple[float, float]] = []

    def seen(self) -> Iterator[tuple[float, ...]]:
        """For each round the seconds of the stage and of the command in it, of a job that nobody watched and of one
        that somebody did."""
        for detached, watched in zip(self._detached, self._watched, strict=True):
            yield *detached, *watched

    def plain(self) -> float:
        self._file.unlink(missing_ok=True)
        return self._machine.time("sh", "-c", f"{self._command} >{shlex.quote(os.fspath(self._file))}")

    def detached(self) -> float:
        seconds = self._run("--detach")
        settle(self._repo / ".git/gzl")
        self._detached.append(self._times())
        return seconds

    def watched(self) -> float:
        seconds = self._run()
        self._watched.append(self._times())
        return seconds

    def _run(self, *options: str) -> float:
        self._stamps.unlink(missing_ok=True)
        # Large logs are kept by content: the next round would find its log there already.
        for path in (self._repo / ".git/gzl/logs").glob("*/*"):
            path.unlink()
        return self._machine.time("gzl", "run", "--again", *options, cwd=self._repo)

    def _times(self) -> tuple[float, float]:
        shown = json.loads(self._machine.run("gzl", "show", "HEAD", "--json", cwd=self._repo))
        (attempt,) = shown["stages"]["print"]["attempts"]
        assert attempt["log"]["bytes"] == SIZE, attempt
        begun, ended = (int(line) / 1e9 for line in self._stamps.read_text().split())
        return attempt["finished"] - attempt["started"], ended - begun
