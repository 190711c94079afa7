"""Files that appear whole or not at all, and locks that the kernel frees when their holder dies."""

import errno
import fcntl
import itertools
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gzl.errors import TransientError, UserError

_serial = itertools.count()


class NotPlain(UserError):
    """What should be a plain file, and is in a folder that a workload can write to, is something else."""


def write_atomic(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write `data` beside `path` and rename it into place; readers see the old bytes or the new, never a part."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.{next(_serial)}")
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with open(fd, "wb") as file:
            file.write(data)
        os.replace(aside, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(aside)
        raise


def read_or_none(path: Path) -> bytes | None:
    """The bytes of `path`, or None where there is no such file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    with open(fd, "rb") as file:
        return file.read()


def open_regular(path: Path) -> int:
    """A descriptor for reading a file in a folder that a workload can write to.

    NotPlain if it is anything but a plain file: a symbolic link would show the workload's owner a file that only gzl
    may read, a FIFO would never end (CVE-2026-6959). FileNotFoundError if there is none.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a symbolic link; a socket
            raise _replaced(path) from error
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise _replaced(path)
    return fd


def read_regular(path: Path, limit: int) -> bytes | None:
    """The first `limit` bytes of a file as `open_regular` opens it, or None where there is no such file."""
    try:
        fd = open_regular(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    with open(fd, "rb") as file:
        return file.read(limit)


def _replaced(path: Path) -> NotPlain:
    return NotPlain(
        f"{path}: was replaced by something that is no plain file, and is not read; look at what the stage did"
    )


def regular_size(path: Path) -> int:
    """How long a file is that `open_regular` would open. Raises as it does."""
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise _replaced(path)
    return found.st_size


def append(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Append `data` with one write(2), so that lines of several writers do not mix. Raises NotPlain, because the folder
    may be a workload's: a link must not lead the data elsewhere, a FIFO not stop who writes."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        fd = os.open(path, flags, mode)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise _replaced(path) from error
        raise
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise _replaced(path)
        os.write(fd, data)
    finally:
        os.close(fd)


class Lock:
    """An exclusive flock(2) on a file, held until `release` or the end of the process."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self.fd = fd

    def release(self) -> None:
        os.close(self.fd)


def try_lock(path: Path) -> Lock | None:
    """Take the lock at once, or give None if another process holds it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return None
        raise TransientError(f"{path}: cannot lock: {error.strerror}") from error
    return Lock(path, fd)


def is_locked(path: Path) -> bool:
    """Whether some process holds the lock now; a file that is not there is not locked."""
    if not path.exists():
        return False
    lock = try_lock(path)
    if lock is None:
        return True
    lock.release()
    return False


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock during the block, waiting for it as long as it takes (the kernel queues the waiters)."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
