"""The right to run one job, and the journal that only its holder writes."""

import os
from dataclasses import dataclass

from gzl.errors import StaleLease, TransientError
from gzl.kit.fs import Lock, try_lock
from gzl.model.journal import Entry, to_line
from gzl.model.layout import JobLayout


@dataclass(frozen=True, slots=True)
class Lease:
    """Held as long as its process lives; `token` grows with every holder and fences out those before."""

    layout: JobLayout
    token: int
    lock: Lock

    def held(self) -> bool:
        """Whether no later holder has come since. (A network file system may lose the lock without telling.)"""
        return int(os.pread(self.lock.fd, 32, 0)) == self.token


def take(layout: JobLayout) -> Lease | None:
    """The lease of a job, or None if another agent holds it or the job's folder is gone."""
    try:
        lock = try_lock(layout.lease)
    except FileNotFoundError:
        return None
    if lock is None:
        return None
    token = int(layout.lease.read_text() or 0) + 1
    os.pwrite(lock.fd, f"{token}\n".encode(), 0)
    return Lease(layout, token, lock)


class Journal:
    """Appends to the journal under a lease."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        path = lease.layout.journal
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        # Part of a line, of an agent that was killed (or a full disk) in the middle of one, is taken off: it is no
        # entry, and the next one must begin a line.
        whole = path.read_bytes().rfind(b"\n") + 1
        os.ftruncate(self._fd, whole)

    def write(self, entry: Entry) -> None:
        """Append the entry. StaleLease if the job is no longer this agent's."""
        if not self._lease.held():
            raise StaleLease(f"{self._lease.layout.root.name}: another agent has taken this job over")
        line = to_line(entry)
        if os.write(self._fd, line) != len(line):
            raise TransientError(f"{self._lease.layout.journal}: the disk is full")
