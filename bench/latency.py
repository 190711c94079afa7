"""From a push to its first step, with an idle repo manager and with none.

A push is accepted when git has moved the branch: the time stamp of the ref's file says when, to the kernel's tick
(up to 4 ms). The first step writes down when it runs.
"""

import os
import time
from collections.abc import Iterator

from common import Machine, Row, Table, Timing, in_turns, limit, settle, stop_manager, wait_until

IDLE, NONE = "manager idle", "no manager running"
BUDGETS = {IDLE: 0.150, NONE: 0.500}
SINCE = ("push accepted", "`git push` returned", "`git push` started")


def tables(machine: Machine) -> Iterator[Table]:
    """One table: both cases, from three moments on."""
    rounds = machine.rounds(20)
    cases = {name: _Case(machine, name) for name in BUDGETS}
    machine.manager(cases[IDLE].server)
    in_turns({name: case.measure for name, case in cases.items()}, rounds)
    rows = []
    for name, case in cases.items():
        accepted, returned, started = (Timing(tuple(column[1:])) for column in zip(*case.seen, strict=True))
        rows.append(limit(f"{name}: from {SINCE[0]} to its first step", accepted, BUDGETS[name]))
        rows += [
            Row(f"{name}: from {what}", str(timing)) for what, timing in ((SINCE[1], returned), (SINCE[2], started))
        ]
    yield Table(f"from a push to its first step, {rounds} rounds", rows)


class _Case:
    """A server and a clone that pushes to it."""

    def __init__(self, machine: Machine, name: str) -> None:
        self._machine = machine
        self._without = name == NONE
        folder = f"latency {name}"
        (machine.folder / folder).mkdir()
        self._stamp = machine.folder / folder / "stamp"
        self.server = machine.server(f"{folder}/server.git", gzl=True)
        self._work = machine.clone(self.server, f"{folder}/work")
        (self._work / "Gzlfile").write_text(f"on push: first\nfirst:\n    date +%s%N >'{self._stamp}'\n")
        machine.git(self._work, "add", "Gzlfile")
        self.seen: list[tuple[float, float, float]] = []
        """Seconds from each of SINCE to the first step, a line for each round."""

    def measure(self) -> float:
        """Push, and wait for the first step; gives the whole of it."""
        if self._without:
            stop_manager(self.server / "gzl")
        self._stamp.unlink(missing_ok=True)
        # A change, or the job of the commit before would be found by its tree.
        (self._work / "change").write_text(str(time.time_ns()))
        self._machine.git(self._work, "add", "change")
        self._machine.git(self._work, "commit", "--quiet", "--message", "change")
        started = time.time()
        self._machine.time("git", "push", "--quiet", "origin", "HEAD:main", cwd=self._work)
        returned = time.time()
        wait_until(self._stamped, "the first step runs")
        ran = int(self._stamp.read_text()) / 1e9
        accepted = os.stat(self.server / "refs/heads/main").st_mtime
        settle(self.server / "gzl")
        self.seen.append((ran - accepted, ran - returned, ran - started))
        return ran - started

    def _stamped(self) -> bool:
        return self._stamp.exists() and self._stamp.read_text().endswith("\n")
