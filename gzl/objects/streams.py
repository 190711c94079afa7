"""Streams and files that the stores share: hashing, verifying what is read, and files that appear whole."""

import errno
import hashlib
import io
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from gzl.errors import GzlError, TransientError, UserError
from gzl.objects.base import Blob, ObjectDamaged

CHUNK = 1 << 20  # bytes
_FULL = (errno.ENOSPC, errno.EDQUOT)
_DENIED = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOENT,
)  # fmt: skip


def chunks(source: BinaryIO, size: int = CHUNK) -> Iterator[bytes]:
    """What `source` gives until its end, in pieces of `size` bytes, the last one shorter: a pipe or a socket may give
    less than it was asked for, and a part of an upload must be full."""
    while piece := read_full(source, size):
        yield piece
        if len(piece) < size:
            return


def read_full(source: BinaryIO, size: int) -> bytes:
    """`size` bytes, or less where `source` ends before."""
    piece = source.read(size)
    if len(piece) in (0, size):
        return piece
    parts, length = [piece], len(piece)
    while length < size and (piece := source.read(size - length)):
        parts.append(piece)
        length += len(piece)
    return b"".join(parts)


def blob_of(source: BinaryIO) -> Blob:
    """What `source` gives from where it is to its end."""
    digest, size, buffer = hashlib.sha256(), 0, memoryview(bytearray(CHUNK))
    into: Callable[[memoryview], int] | None = getattr(source, "readinto", None)
    if into is None:
        for piece in chunks(source):
            digest.update(piece)
            size += len(piece)
        return Blob(digest.hexdigest(), size)
    while length := into(buffer):  # without a new megabyte of memory for every piece
        digest.update(buffer[:length])
        size += length
    return Blob(digest.hexdigest(), size)


class _Stream(io.RawIOBase):
    """A file over an iterator of pieces."""

    def __init__(self, pieces: Iterator[bytes], close: Callable[[], object]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")
        self._close = close

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # the buffer's type has no name in 3.11
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        length = min(len(buffer), len(self._rest))
        buffer[:length] = self._rest[:length]
        self._rest = self._rest[length:]
        return length

    def close(self) -> None:
        if not self.closed:
            self._close()
        super().close()


def stream(pieces: Iterator[bytes], close: Callable[[], object] = lambda: None) -> BinaryIO:
    """A file that gives the pieces one after the other; `close` is called when it is closed."""
    return io.BufferedReader(_Stream(pieces, close), CHUNK)


def verified(pieces: Iterable[bytes], digest: str, url: str) -> Iterator[bytes]:
    """The same pieces, but the last one only if all together have this digest; ObjectDamaged otherwise."""
    seen, held = hashlib.sha256(), b""
    for piece in pieces:
        if held:
            yield held
        seen.update(piece)
        held = piece
    if seen.hexdigest() != digest:
        raise damaged(digest, url)
    if held:
        yield held


def damaged(digest: str, url: str) -> ObjectDamaged:
    """The error for an object that is not what its name says."""
    return ObjectDamaged(f"{url}: object {digest} is damaged: delete it, and run again the job that stored it")


def changed(url: str) -> TransientError:
    """The error for a source that gives other bytes than when it was read first."""
    return TransientError(
        f"{url}: what is to be stored changed while it was sent; store it when nothing writes to it any more"
    )


def check_file(path: Path, digest: str, url: str) -> None:
    """Raise ObjectDamaged if the file is not the object with this digest."""
    with path.open("rb", buffering=0) as file:
        if blob_of(file).digest != digest:
            raise damaged(digest, url)


@contextmanager
def open_file(path: Path) -> Iterator[BinaryIO]:
    """A file that is to be stored, open for reading. UserError if it is none: a pipe or a device might never end."""
    with file_errors(path):
        # O_NONBLOCK: opening a FIFO that nobody writes to would wait.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise UserError(f"{path}: not a file; only files and folders can be stored")
        with open(fd, "rb", buffering=0) as file:
            yield file


@contextmanager
def appearing(target: Path, mode: int) -> Iterator[Path]:
    """A name beside `target` for a new file, which after the block gets its permissions and becomes `target`."""
    aside = target.with_name(f".{target.name[:100]}.{os.urandom(8).hex()}")
    with file_errors(target):
        try:
            yield aside
            os.chmod(aside, mode)
            os.replace(aside, target)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(aside)


def write_new(path: Path, pieces: Iterable[bytes]) -> None:
    """Make the file `path`, which must not exist, from pieces."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with open(fd, "wb", buffering=0) as file:
        for piece in pieces:
            left = memoryview(piece)
            while left:
                left = left[file.write(left) :]


@contextmanager
def file_errors(path: Path) -> Iterator[None]:
    """Errors of files as gzl's own, with the place and what to do."""
    try:
        yield
    except OSError as error:
        where = f"{error.filename or path}: {error.strerror or error}"
        if error.errno in _FULL:
            raise TransientError(f"{where}; make room there (`gzl gc`), or keep objects elsewhere") from error
        if error.errno in _DENIED:
            raise UserError(f"{where}; check that it can be read and written") from error
        raise GzlError(f"{where}; check the disk") from error
