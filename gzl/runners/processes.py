"""What /proc tells about processes, in as few reads as there can be.

psutil tells it too, for 37 ms of import and ten times as long a process; the agent looks once a second, and while it
kills a tree as often as it can, since a process that forks has to be found before it forks again.
"""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

TICK = 1 / os.sysconf("SC_CLK_TCK")  # seconds
_GONE = (FileNotFoundError, ProcessLookupError)
_HIDDEN = (*_GONE, PermissionError)


@dataclass(frozen=True, slots=True)
class Process:
    """A line of proc_pid_stat(5)."""

    pid: int
    parent: int
    group: int
    session: int
    start: int
    """Clock ticks since boot; with the pid it names a process for good."""
    cpu: int
    """Clock ticks, of its own and of all children that it has waited for."""
    dead: bool
    """A zombie: nothing that could do anything."""


def process(pid: int) -> Process | None:
    """The process, or None if there is none."""
    stat = _read(f"/proc/{pid}/stat")
    if not stat:
        return None
    # The name is in parentheses and may hold any character, `)` too.
    f = stat[stat.rindex(b")") + 2 :].split(None, 20)
    cpu = int(f[11]) + int(f[12]) + int(f[13]) + int(f[14])
    return Process(pid, int(f[1]), int(f[2]), int(f[3]), int(f[19]), cpu, f[0] in (b"Z", b"X"))


def everyone() -> dict[int, Process]:
    """All processes that this one can see, by pid."""
    pids = (int(name) for name in os.listdir("/proc") if name.isdigit())
    return {found.pid: found for pid in pids if (found := process(pid)) is not None}


def newest() -> int:
    """The pid (or thread id) that was given last."""
    return int(_read("/proc/loadavg").split()[4])


def between(after: int, last: int) -> Iterator[Process]:
    """The processes, and threads, that were given the pids after `after` up to `last`, the newest first."""
    found = (process(pid) for pid in range(last, after, -1))
    return (one for one in found if one is not None)


def descendants(pid: int) -> Iterator[int]:
    """The children of a process, and theirs, and so on: nothing of what lost its parent."""
    found = children(pid)
    for child in found:
        yield child
        found += children(child)


def children(pid: int) -> list[int]:
    """The children of a process, those of all its threads; empty where the kernel does not tell."""
    found: list[int] = []
    with suppress(*_HIDDEN):
        for thread in os.listdir(f"/proc/{pid}/task"):
            found += map(int, _read(f"/proc/{pid}/task/{thread}/children").split())
    return found


def environment(pid: int) -> list[bytes]:
    """The environment that its program was started with, `NAME=value` each; empty if it is hidden."""
    return _read(f"/proc/{pid}/environ").split(b"\0")


def touches(pid: int, folders: Iterable[Path]) -> bool:
    """Whether it works in one of the folders, or has a file in one of them open."""
    places = [_link(f"/proc/{pid}/cwd"), *(place for _, place in _files(pid))]
    return any(Path(place).is_relative_to(folder) for place in places if place for folder in folders)


def written(pid: int, files: Sequence[Path]) -> Path | None:
    """The first of the files that it has open for writing: to have one open for reading says nothing."""
    for fd, place in _files(pid):
        if Path(place) in files:
            flags = dict(line.split(b":\t") for line in _read(f"/proc/{pid}/fdinfo/{fd}").splitlines()).get(
                b"flags", b"0"
            )
            if int(flags, 8) & os.O_ACCMODE != os.O_RDONLY:
                return Path(place)
    return None


def _files(pid: int) -> Iterator[tuple[str, str]]:
    """Its file descriptors, and what is open there."""
    with suppress(*_HIDDEN):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            if (place := _link(f"/proc/{pid}/fd/{fd}")).startswith("/"):
                yield fd, place


def _link(path: str) -> str:
    with suppress(*_HIDDEN):
        return os.readlink(path)
    return ""


def resident(pid: int) -> int:
    """Bytes of its memory that are in RAM."""
    fields = _read(f"/proc/{pid}/statm").split(None, 2)
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") if fields else 0


def storage(pid: int) -> tuple[int, int]:
    """Bytes that it and the children that it has waited for read from and wrote to storage (proc_pid_io(5))."""
    lines = dict(line.split(b": ") for line in _read(f"/proc/{pid}/io").splitlines())
    return int(lines.get(b"read_bytes", 0)), int(lines.get(b"write_bytes", 0))


def uptime() -> float:
    """Seconds since boot, on the clock of `Process.start`: no one can set it, and all processes agree on it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _read(path: str) -> bytes:
    """The file's bytes; none if the process is gone or not for us to see."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except _HIDDEN:
        return b""
    try:
        data = os.read(fd, 1 << 16)
        # Only an environment can be longer than that.
        while len(data) >= 1 << 16 and (more := os.read(fd, 1 << 20)):
            data += more
        return data
    except _HIDDEN:
        return b""
    finally:
        os.close(fd)
