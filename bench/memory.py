"""The agent's memory while a stage logs 2 GB, and while the log is put away, beside that for a small log."""

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from common import Machine, Row, Table, settle, wait_until

SMALL = 20_000_000  # bytes
LARGE = 2_000_000_000
QUICK = 200_000_000
LINE = "a line of some output, as long as they usually are"
BUDGET = 16 << 20  # bytes more than for the small log


def tables(machine: Machine) -> Iterator[Table]:
    """One table."""
    large = QUICK if machine.quick else LARGE
    little = _peak(machine, SMALL)
    much = _peak(machine, large)
    rows = [
        Row(f"a stage that logs {SMALL // 10**6} MB", _mib(little)),
        Row(f"a stage that logs {large // 10**6} MB", _mib(much), f"{much / little:.2f}×", f"≤ {_mib(BUDGET)} more",
            much - little <= BUDGET),
    ]  # fmt: skip
    yield Table("the most memory that the agent had, from its start to its end", rows)


def _peak(machine: Machine, size: int) -> int:
    """The highest resident size of the agent, in bytes."""
    repo = machine.repository(f"memory-{size}", f"print:\n    yes '{LINE}' | head -c {size}\n")
    gzl = repo / ".git/gzl"
    job = machine.run("gzl", "run", "--detach", cwd=repo)
    journal = gzl / "jobs" / job / "journal"
    wait_until(lambda: journal.exists() and '"taken"' in journal.read_text(), "an agent takes the job")
    taken = next(line for line in journal.read_text().splitlines() if '"taken"' in line)
    peak = _highest(Path(f"/proc/{json.loads(taken)['pid']}/status"))
    settle(gzl)
    (attempt,) = json.loads(machine.run("gzl", "show", "HEAD", "--json", cwd=repo))["stages"]["print"]["attempts"]
    assert attempt["log"]["bytes"] == size, attempt
    return peak


def _highest(status: Path) -> int:
    """VmHWM, which only ever rises, as it was last seen before the process went."""
    peak = 0
    with suppress(FileNotFoundError, ProcessLookupError):
        while lines := [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]:
            peak = int(lines[0].split()[1]) * 1024
            time.sleep(0.002)
    return peak


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"
