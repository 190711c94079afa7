"""What a repo manager costs while nothing happens: memory, and how often it wakes up."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from common import Machine, Row, Table, settle

SECONDS = 10
MEMORY = 60 * 2**20  # bytes
_TICKS = os.sysconf("SC_CLK_TCK")


def tables(machine: Machine) -> Iterator[Table]:
    """One table: a manager that has run a job, and now has nothing to do."""
    server = machine.server("idle.git", gzl=True)
    work = machine.clone(server, "idle work")
    (work / "Gzlfile").write_text("on push: t\nt:\n    true\n")
    machine.git(work, "add", "Gzlfile")
    machine.git(work, "commit", "--quiet", "--message", "first")
    pid = machine.manager(server).pid
    machine.git(work, "push", "--quiet", "origin", "HEAD:main")
    settle(server / "gzl")
    time.sleep(1)
    before = _wakeups(pid), _cpu(pid)
    time.sleep(SECONDS)
    wakeups, cpu = _wakeups(pid) - before[0], _cpu(pid) - before[1]
    memory = _memory(pid)
    rows = [
        Row("resident memory (RSS)", _size(memory["Rss"]), "", f"≤ {_size(MEMORY)}", memory["Rss"] <= MEMORY),
        Row("its own share of it (PSS)", _size(memory["Pss"])),
        Row(f"wake-ups in {SECONDS} s (context switches)", str(wakeups), "", "0: no polling", wakeups == 0),
        Row(f"processor time in {SECONDS} s", f"{cpu * 1000:.0f} ms"),
    ]
    yield Table("an idle repo manager, after its first job", rows)


def _wakeups(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in status if "ctxt_switches" in line)


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _memory(pid: int) -> dict[str, int]:
    """Bytes by name; smaps_rollup has them in kB (proc(5))."""
    lines = (line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines}


def _size(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
