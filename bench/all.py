"""Every core budget of gzl beside its peers, in one run: `python bench/all.py [--quick] [--only NAME]… [--in DIR]`.

docs/benchmarks.md says what each row is. Everything happens in a temporary folder, which is removed at the end, under
a home folder of its own; peers come from their registries into that folder.
"""

import argparse
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path

from common import ROOT, Machine, Row, Table, duration, in_turns

SECTIONS = {
    "stages": "graphs of no-op stages",
    "hooks": "pushes and commits with and without hooks",
    "ssh": "pushes over SSH",
    "latency": "from a push to its first step",
    "output": "a stage that prints 200 MB",
    "memory": "the agent's memory while a stage logs 2 GB",
    "notes": "results written and read, gzl list, at up to 100,000 jobs",
    "startup": "gzl --version",
    "checkout": "the second checkout of 4,000 files",
    "changed": "what changed, last-run, keys of inputs, on 75,000 commits",
    "objects": "objects of 1 GiB, 10,000 small files, masking",
    "idle": "an idle repo manager",
    "jobapi": "calls of the gzl in a stage",
    "hostile": "100,000 hostile Gzlfiles",
}


def main() -> int:
    """Run the sections that were asked for; 1 if a budget was missed."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # a benchmark that is ended cleans up, too
    with tempfile.TemporaryDirectory(prefix="gzl-bench-", dir=options.folder, ignore_cleanup_errors=True) as folder:
        machine = Machine(Path(folder), options.quick)
        # gzl's own modules, called in process, must not see this machine's configuration either.
        os.environ.clear()
        os.environ.update(machine.env)
        try:
            print(_about(machine), flush=True)
            rows = [row for name in options.only or SECTIONS for row in _section(machine, name)]
        finally:
            machine.close()
    missed = [row for row in rows if row.met is False]
    print(f"\n{sum(row.met is True for row in rows)} budgets met, {len(missed)} missed")
    for row in missed:
        print(f"- {row.what}: {row.ratio or row.measured}, budget {row.budget}")
    return 1 if missed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rounds: to see that it works, not to judge by")
    parser.add_argument("--only", action="append", choices=SECTIONS, help="this section (several)")
    parser.add_argument("--in", dest="folder", metavar="DIR", help="work in a temporary folder in DIR")
    return parser.parse_args()


def _section(machine: Machine, name: str) -> Iterator[Row]:
    begun = time.monotonic()
    tables: Callable[[Machine], Iterator[Table]] = import_module(name).tables
    for table in tables(machine):
        _show(table)
        yield from table.rows
    print(f"\n({name}: {time.monotonic() - begun:.0f} s)", flush=True)


def _show(table: Table) -> None:
    """Print a table that is Markdown too."""
    lines = [("", "median (min–max)", "ratio", "budget", "")]
    lines += [(row.what, row.measured, row.ratio, row.budget, row.verdict) for row in table.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    print(f"\n### {table.title}\n")
    print(_line(lines[0], widths))
    print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    for line in lines[1:]:
        print(_line(line, widths))
    sys.stdout.flush()


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"


def _about(machine: Machine) -> str:
    """The machine, with what its kernel and file system take for what CI tools do most."""
    folder = machine.folder / "about"
    commit = machine.git(ROOT, "describe", "--always", "--dirty")
    costs = in_turns(
        {
            "true": lambda: machine.time("true"),
            "files": lambda: _files(folder),
        },
        20,
    )
    return "\n".join(
        [
            f"gzl {machine.run('gzl', '--version').split()[-1]} at {commit}, Python {platform.python_version()},"
            f" {machine.run('git', '--version')}, {len(os.sched_getaffinity(0))} processors,"
            f" load {os.getloadavg()[0]:.1f}",
            f"starting a process from Python and waiting for it: {costs['true']}",
            f"making and removing a file in {machine.folder.parent}"
            f" ({machine.run('stat', '-f', '-c', '%T', machine.folder)}): "
            f"{duration(costs['files'].median / 100)}",
        ]
    )


def _files(folder: Path) -> float:
    folder.mkdir()
    begun = time.perf_counter()
    for number in range(100):
        (folder / str(number)).write_bytes(b"")
    shutil.rmtree(folder)
    return time.perf_counter() - begun


if __name__ == "__main__":
    sys.exit(main())
