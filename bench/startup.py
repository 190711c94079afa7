"""`gzl --version`, the least that gzl can do, beside a Python that imports the command line library."""

import sys
from collections.abc import Iterator

from common import Machine, Table, compare, in_turns

GZL = "gzl --version"
BASE = "python3 -c 'import click'"
BUDGET = 1.3


def tables(machine: Machine) -> Iterator[Table]:
    """One table."""
    rounds = machine.rounds(40, 10)
    contestants = {
        BASE: lambda: machine.time(sys.executable, "-c", "import click"),
        GZL: lambda: machine.time("gzl", "--version"),
        "python3 -c pass": lambda: machine.time(sys.executable, "-c", "pass"),
        "gzl --help": lambda: machine.time("gzl", "--help"),
        "git --version": lambda: machine.time("git", "--version"),
    }
    timings = in_turns(contestants, rounds)
    yield Table(f"starting, {rounds} rounds", list(compare(timings, BASE, {GZL: BUDGET})))
