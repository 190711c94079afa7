"""Folders as objects: tars in one fixed form, compressed with zstd, so that equal folders are equal objects.

The form: GNU tar (which busybox reads too), members in the order of their names, links last; owners 0, modes 644 or
755, no times. What has no time gets that of unpacking, the same for all: no file is then older than what it was made
from, and make does not make it again. A cache keeps times (`times`), because tools compare them with their sources'.

Who unpacks takes an archive for hostile (see `members`). It is unpacked into a folder of its own beside the target,
where nobody else writes and links are made last, so that nothing is ever written through one; only a whole and
harmless archive is moved into place, without following links that are there (`placing`).
"""

import gzip
import io
import os
import stat
import tarfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import BinaryIO, cast

import zstandard

from gzl.errors import TransientError, UserError
from gzl.kit.mask import Finder, Masker
from gzl.kit.text import escaped
from gzl.objects import placing
from gzl.objects.headers import BLOCK, Kind, Member, header
from gzl.objects.members import (
    CHUNK,
    MAX_BYTES,
    Names,
    Source,
    checked_name,
    content,
    read,
)

LEVEL = 3
# One size of window and one way to work in parallel, however many processors there are: equal input, equal output.
_THREADS = min(4, os.cpu_count() or 1)
_DEEPEST = 200  # folders in folders; each holds a file descriptor while it is packed
_GZIP = b"\x1f\x8b"
_DAMAGED = (tarfile.TarError, zstandard.ZstdError, zlib.error, EOFError, ValueError, OverflowError)
_ZEROS = bytes(CHUNK)


def pack(root: Path, out: BinaryIO, *, times: bool = False) -> None:
    """Write the archive of what is in the folder `root`. UserError for a link that leads out of it, for what is no
    file, folder or link, and for a file that changes meanwhile: then `out` holds no archive."""
    _pack(root, None, out, times=times)


def pack_many(root: Path, names: Iterable[str], out: BinaryIO, *, times: bool = False) -> None:
    """The same for some files and folders in `root`, by their names there, which no link may be a part of."""
    _pack(root, sorted({checked_name(name, str(root)) for name in names}), out, times=times)


def unpack(source: BinaryIO, target: Path, *, replace: bool = True, max_bytes: int = MAX_BYTES) -> None:
    """Make the folder `target` what the archive holds, or merge it into that: files take the place of files, or
    without `replace` only fill gaps. If it raises (UserError for a member that is refused, by its name), `target` is as
    it was."""
    what = "archive"
    target.parent.mkdir(parents=True, exist_ok=True)
    with _fresh(target.parent) as fresh, _checking(what):
        decompressed = _decompressed(source)
        _extract(Source(decompressed, what, max_bytes), fresh, what, hard_links=False)
        _drain(decompressed, source, what)
        placing.place(fresh, target, replace=replace)


def repack(tar: BinaryIO, out: BinaryIO, tmp: Path, *, max_bytes: int = MAX_BYTES) -> None:
    """Write the archive of what a foreign tar (plain, gzip or zstd) holds, which may be anybody's. `tmp` is a folder
    for what must lie on disk meanwhile."""
    what = "archive"
    with _fresh(tmp) as fresh:
        with _checking(what):
            plain = _opened(tar)
            _extract(Source(plain, what, max_bytes), fresh, what, hard_links=True)
        pack(fresh, out)


def to_plain_tar(source: BinaryIO, out: BinaryIO, *, max_bytes: int = MAX_BYTES) -> None:
    """Write the archive as a plain tar for a `tar -x` somewhere else, each member checked, links last. `out` must not
    be used if it raises."""
    what = "archive"
    names = Names(what)
    links = []
    with _checking(what):
        decompressed = _decompressed(source)
        plain = Source(decompressed, what, max_bytes)
        for member, tar, found in read(plain, what, hard_links=False):
            names.add(member)
            if member.kind is Kind.LINK:
                links.append(member)
            else:
                out.write(header(member))
                _copy(content(plain, tar, found), out.write, member.size)
        _drain(decompressed, source, what)
    names.check_links()
    out.write(b"".join(map(header, links)) + bytes(2 * BLOCK))


class _Packer:
    """Writes members to a compressor, and those that are links in the end."""

    def __init__(self, root: Path, out: BinaryIO, *, times: bool) -> None:
        self._root = root
        self._out = out
        self._times = times
        self._compressor = zstandard.ZstdCompressor(level=LEVEL, threads=_THREADS).compressobj()
        self._names = Names(str(root))

    def add(self, folder: int, name: str, path: str) -> None:
        """The file, folder or link `name` in the open folder, and all that is in it; `path` is its whole name."""
        checked_name(path, str(self._root))
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISREG(found.st_mode):
            self._file(folder, name, path)
        elif stat.S_ISDIR(found.st_mode):
            self._folder(folder, name, path)
        elif stat.S_ISLNK(found.st_mode):
            self._names.add(Member(path, Kind.LINK, target=os.readlink(name, dir_fd=folder)))
        else:
            raise UserError(f"{self._shown(path)}: is neither file, folder nor link (a socket, a FIFO, a device); "
                            "remove it, or leave its folder out")  # fmt: skip

    def inside(self, folder: int, path: str) -> None:
        """All that is in the open folder."""
        for name in sorted(os.listdir(folder)):
            self.add(folder, name, f"{path}/{name}" if path else name)

    def finish(self) -> None:
        self._names.check_links()
        for name, target in sorted(self._names.links.items()):
            self._write(header(Member(name, Kind.LINK, target=target)))
        self._write(bytes(2 * BLOCK))
        self._out.write(self._compressor.flush())

    def _folder(self, folder: int, name: str, path: str) -> None:
        if path.count("/") >= _DEEPEST:
            raise UserError(f"{self._shown(path)}: is more than {_DEEPEST} folders deep")
        with placing.opened(name, folder) as opened:
            self._write(header(Member(path, Kind.FOLDER)))
            self.inside(opened, path)

    def _file(self, folder: int, name: str, path: str) -> None:
        # O_NOFOLLOW and O_NONBLOCK: it may have become a link or a FIFO since it was looked at.
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        try:
            before = os.fstat(fd)
            if not stat.S_ISREG(before.st_mode):
                raise self._changed(path)
            executable = bool(before.st_mode & stat.S_IXUSR)
            modified = max(0, int(before.st_mtime)) if self._times else 0
            self._write(header(Member(path, Kind.FILE, before.st_size, executable, modified)))
            if _copy(_read(fd, before.st_size), self._write, before.st_size) != before.st_size:
                raise self._changed(path)
            after = os.fstat(fd)
            if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
                raise self._changed(path)
        finally:
            os.close(fd)

    def _write(self, data: bytes) -> None:
        if compressed := self._compressor.compress(data):
            self._out.write(compressed)

    def _changed(self, path: str) -> UserError:
        return UserError(f"{self._shown(path)}: changed while it was packed; wait for what writes to it")

    def _shown(self, path: str) -> str:
        return escaped(str(self._root / path))


def _pack(root: Path, names: list[str] | None, out: BinaryIO, *, times: bool) -> None:
    packer = _Packer(root, out, times=times)
    try:
        with placing.opened(root) as folder:
            if names is None or "" in names:
                packer.inside(folder, "")
            else:
                for name in names:
                    if not any(name.startswith(f"{other}/") for other in names):  # then it is packed with that
                        *parents, last = name.split("/")
                        with placing.descended(folder, parents) as parent:
                            packer.add(parent, last, name)
        packer.finish()
    except OSError as error:
        place = escaped(os.fsdecode(error.filename)) if error.filename is not None else "it"
        message = f"{escaped(str(root))}: {place} cannot be packed: {error.strerror}"
        if placing.is_full(error):
            raise TransientError(f"{message}; make room on the disk") from error
        raise UserError(message) from error


def _read(fd: int, size: int) -> Iterator[bytes]:
    while size > 0 and (piece := os.read(fd, min(size, CHUNK))):
        size -= len(piece)
        yield piece


def _copy(pieces: Iterable[bytes], write: Callable[[bytes], object], size: int) -> int:
    """Write the pieces and what fills the last block; the number of bytes that there were."""
    length = 0
    for piece in pieces:
        length += len(piece)
        write(piece + bytes(-length % BLOCK) if length == size else piece)
    return length


def _extract(source: Source, folder: Path, what: str, *, hard_links: bool) -> None:
    """Make what the tar holds in the empty `folder`."""
    names = Names(what)
    place = f"{folder}/"
    now = time.time_ns()
    made = {""}
    for member, tar, found in read(source, what, hard_links=hard_links):
        names.add(member)
        try:
            parent = member.name.rpartition("/")[0] if member.kind is not Kind.FOLDER else member.name
            if parent not in made:
                os.makedirs(place + parent, exist_ok=True)
                made.add(parent)
            if member.kind is Kind.FILE:
                _write_file(place + member.name, member, content(source, tar, found), now)
            elif member.kind is Kind.SAME:
                os.link(place + member.target, place + member.name, follow_symlinks=False)
        except OSError as error:
            raise _refused(what, member.name, error) from error
    names.check_links()
    for name, target in names.links.items():
        try:
            os.symlink(target, place + name)
        except OSError as error:
            raise _refused(what, name, error) from error


def _write_file(path: str, member: Member, pieces: Iterable[bytes], now: int) -> None:
    mode = 0o755 if member.executable else 0o644
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        for piece in pieces:
            if piece == _ZEROS:
                os.ftruncate(fd, os.lseek(fd, CHUNK, os.SEEK_CUR))  # a hole, as it probably was one
            else:
                placing.write_all(fd, piece)
        when = member.modified * 10**9 or now
        os.utime(fd, ns=(when, when))
    finally:
        os.close(fd)


def _refused(what: str, name: str, error: OSError) -> Exception:
    shown = f"{what}: {escaped(name, 200)!r}: {error.strerror}"
    if placing.is_full(error):
        return TransientError(f"{shown}; make room on the disk")
    return UserError(f"{shown}; it cannot be unpacked here")


def _opened(tar: BinaryIO) -> BinaryIO:
    """The plain tar in a stream that may be compressed."""
    buffered = tar if isinstance(tar, io.BufferedReader) else io.BufferedReader(cast(io.RawIOBase, tar), CHUNK)
    magic = buffered.peek(4)[:4]
    if magic.startswith(_GZIP):
        return cast(BinaryIO, gzip.GzipFile(fileobj=buffered))
    return _decompressed(buffered) if magic == zstandard.FRAME_HEADER else buffered


def _decompressed(source: BinaryIO) -> BinaryIO:
    return cast(BinaryIO, zstandard.ZstdDecompressor().stream_reader(source, read_size=CHUNK, closefd=False))


def _drain(decompressed: BinaryIO, source: BinaryIO, what: str) -> None:
    """Read both to their ends: a store verifies an object with its last bytes."""
    while piece := decompressed.read(CHUNK):
        if piece.strip(b"\0"):
            raise UserError(f"{what}: something follows its end; it is refused")
    if source.read(1):
        raise UserError(f"{what}: something follows its end; it is refused")


@contextmanager
def _fresh(parent: Path) -> Iterator[Path]:
    """A new folder that nobody else may enter, removed afterwards if it is still there."""
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(mkdtemp(prefix=".gzl-unpack-", dir=parent))
    try:
        yield folder
    finally:
        rmtree(folder, ignore_errors=True)


@contextmanager
def _checking(what: str) -> Iterator[None]:
    try:
        yield
    except _DAMAGED as error:
        raise UserError(f"{what}: is damaged, or no archive at all: {error}; store it again") from error


def holds_secret(packed: Path, masker: Masker) -> bool:
    """Whether anything in the archive would be masked."""
    if not masker.active:
        return False
    sink = _Sink(masker)
    with packed.open("rb") as source:
        to_plain_tar(source, cast(BinaryIO, sink))
    return sink.found


class _Sink(io.RawIOBase):
    """Takes bytes to look for secrets in them."""

    def __init__(self, masker: Masker) -> None:
        self._finder = Finder(masker)
        self.found = False

    def writable(self) -> bool:
        return True

    def write(self, data: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]
        self.found = self._finder.feed(bytes(data))
        return len(data)
