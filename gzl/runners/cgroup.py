"""Control groups, version 2, where this process may make some: no process leaves one by itself, whatever it does, and
one write kills all that are in it, faster than they fork (kernel documentation, admin-guide/cgroup-v2).

Only what needs no controller is used: membership, `cgroup.kill` (Linux 5.14) and the processor time of `cpu.stat`. The
controllers of memory and I/O would have to be switched on for the group that the agent is in, which the kernel forbids
as long as it is in there ("no internal processes"), and their figures count the page cache.
"""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gzl.errors import TransientError, UserError
from gzl.kit.fs import read_or_none, read_regular, write_atomic

_PREFIX = "gzl-"
_FILE = "cgroup"  # in an attempt directory: the path of its group
_OLD = 60.0  # seconds
_REMOVED_WITHIN = 1.0  # seconds that the kernel may need to let go of processes that are dead


class NoCgroup(TransientError):
    """There is no control group to be had here; the text says why."""


@dataclass(frozen=True, slots=True)
class Cgroup:
    """One group and those below it."""

    path: Path

    def add(self, pid: int) -> None:
        """Move a process in; one that is gone meanwhile needs no group. NoCgroup if the kernel will not."""
        try:
            _write(self.path / "cgroup.procs", str(pid))
        except ProcessLookupError:
            return
        except OSError as error:
            raise NoCgroup(f"{self.path}: cannot take process {pid}: {error.strerror}") from error

    def members(self) -> set[int]:
        """The pids of the processes in it."""
        return {int(pid) for path in self._folders() for pid in (read_or_none(path / "cgroup.procs") or b"").split()}

    def populated(self) -> bool:
        """Whether any process is in it that is not dead."""
        return b"populated 1" in (read_or_none(self.path / "cgroup.events") or b"")

    def kill(self) -> None:
        """SIGKILL to all in it, those that are being forked too."""
        with suppress(FileNotFoundError):
            _write(self.path / "cgroup.kill", "1")

    def cpu(self) -> float:
        """Processor seconds that were used in it, also by processes that are gone."""
        first = (read_or_none(self.path / "cpu.stat") or b"").partition(b"\n")[0].split()
        return int(first[1]) / 1e6 if first[:1] == [b"usage_usec"] else 0.0

    def remove(self) -> None:
        """Remove it. What is not empty within a second stays, for processes that cannot die."""
        until = time.monotonic() + _REMOVED_WITHIN
        for folder in list(self._folders()):
            while True:
                try:
                    folder.rmdir()
                except FileNotFoundError:
                    break
                except OSError:
                    if time.monotonic() > until:
                        return
                    time.sleep(0.001)
                else:
                    break

    def _folders(self) -> Iterator[Path]:
        """The folders of the groups in it (a workload may make some), the deepest first."""
        for folder, _, _ in os.walk(self.path, topdown=False):
            yield Path(folder)


def make(directory: Path) -> Cgroup:
    """A group for the attempt in `directory`, below the one that this process is in. NoCgroup if that cannot be."""
    made = _make()
    # Before any process is moved: a later agent must find them all.
    write_atomic(directory / _FILE, os.fsencode(made.path))
    return made


def why_none() -> str:
    """Why this process cannot make groups, for people; empty if it can."""
    try:
        _make().remove()
    except NoCgroup as error:
        return str(error)
    return ""


def remove_old() -> None:
    """Remove the empty groups that agents left which were killed together with all that could have gone on for them."""
    with suppress(NoCgroup):
        for path in _own().glob(f"{_PREFIX}*"):
            # A new one is empty, too, until its agent puts somebody in.
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _OLD:
                    path.rmdir()


def find(directory: Path) -> Cgroup | None:
    """The group that an earlier agent made for the attempt, if it is still there."""
    # The workload can write there, too: what is no group of gzl's is not believed.
    path = Path()
    with suppress(UserError):
        path = Path(os.fsdecode(read_regular(directory / _FILE, 4096) or b""))
    return Cgroup(path) if path.name.startswith(_PREFIX) and (path / "cgroup.kill").exists() else None


def _make() -> Cgroup:
    parent = _own()
    # Never the name of another one, not even of an agent that is gone and had this pid: its attempts may still run.
    path = parent / f"{_PREFIX}{os.getpid()}-{time.monotonic_ns():x}"
    try:
        path.mkdir()
    except OSError as error:
        raise NoCgroup(f"{parent}: no group can be made there: {error.strerror}") from error
    if not (path / "cgroup.kill").exists():
        path.rmdir()
        raise NoCgroup("this kernel is older than Linux 5.14: its control groups have no cgroup.kill")
    return Cgroup(path)


def _own() -> Path:
    """The folder of the group that this process is in. Asked each time: somebody may have moved it."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    path = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), None)
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        root, mounted = before.split()[3:5]
        if after.startswith("cgroup2 ") and path is not None and Path(path).is_relative_to(root):
            return Path(mounted) / Path(path).relative_to(root)
    raise NoCgroup("no cgroup2 file system is mounted that shows this process's group")


def _write(path: Path, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
