"""Objects as files of a folder: the store that needs nothing, and what `cached` keeps its copies in.

    <root>/sha256/<2>/<62>   an object, mode 0444, never written to
    <root>/tmp/<random>      one that is being made: renamed when it is whole, swept when it is a day old
    <root>/lock              held while a name appears or goes, so that no put loses its object to a deletion

An object is copied (or linked, or its blocks shared) first and hashed then: its name is that of the bytes kept, whoever
still writes to their source. It always replaces one of the same name, which makes that new, and whole again.

Nothing is fsynced (docs/decisions/007): an object that a power failure took away is found out when it is read.
"""

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from gzl.errors import UserError
from gzl.kit.clock import Clock, system_clock
from gzl.kit.fs import locked
from gzl.objects.base import DAY, Blob, ObjectNotFound, Stored, digest_of, key
from gzl.objects.streams import (
    appearing,
    blob_of,
    check_file,
    chunks,
    file_errors,
    open_file,
    stream,
    verified,
    write_new,
)

_FICLONE = 0x40049409  # ioctl_ficlone(2): the copy shares its blocks with the original until one of them is written to


def open_url(url: str, folder: Path, environ: Mapping[str, str]) -> "FsStore":
    """The store of `fs:/path`, or the one in `folder` if the URL is empty."""
    if not url:
        return FsStore(folder)
    parts = urlsplit(url)
    if parts.netloc or parts.query or parts.fragment or not parts.path.startswith("/"):
        raise UserError(f"{url}: not a folder; write fs: and an absolute path, as in fs:/srv/objects")
    return FsStore(Path(unquote(parts.path)))


class FsStore:
    """See `base.ObjectStore`. The folder is made when the first object is put."""

    def __init__(self, root: Path, clock: Clock = system_clock) -> None:
        self.root = root
        self._clock = clock
        self._ready = False

    @property
    def url(self) -> str:
        return f"fs:{self.root}"

    def path(self, digest: str) -> Path:
        """Where the object is, if it is there."""
        return self.root / key(digest)

    def put(self, source: BinaryIO) -> Blob:
        return self._put(lambda aside: write_new(aside, chunks(source)))

    def put_file(self, path: Path, *, take: bool = False) -> Blob:
        with open_file(path) as source:
            return self._put(lambda aside: _link(path, source, aside) if take else _copy(source, aside))

    def get(self, digest: str) -> BinaryIO:
        file = self._open(digest)
        return stream(verified(chunks(file), digest, self.url), file.close)

    def get_file(self, digest: str, target: Path, mode: int) -> None:
        with self._open(digest) as source, appearing(target, mode) as aside:
            _copy(source, aside)
            check_file(aside, digest, self.url)

    def has(self, digest: str) -> int | None:
        with file_errors(self.root):
            try:
                return self.path(digest).stat().st_size
            except (FileNotFoundError, NotADirectoryError):
                return None

    def delete(self, digest: str, *, unless_after: float | None = None) -> bool:
        path = self.path(digest)
        with file_errors(self.root), suppress(FileNotFoundError), self._locked():
            if unless_after is not None and path.stat().st_mtime > unless_after:
                return False
            path.unlink()
        return True

    def list(self) -> Iterator[Stored]:
        for folder in sorted(_entries(self.root / "sha256"), key=lambda entry: entry.name):
            for entry in _entries(Path(folder.path)):
                digest = digest_of(f"sha256/{folder.name}/{entry.name}")
                with suppress(FileNotFoundError):  # deleted meanwhile
                    if digest is not None and entry.is_file(follow_symlinks=False):
                        found = entry.stat(follow_symlinks=False)
                        yield Stored(digest, found.st_size, found.st_mtime)

    def sweep(self, before: float) -> None:
        for entry in _entries(self.root / "tmp"):
            with file_errors(self.root), suppress(FileNotFoundError):
                # The time of the last change of anything about it: a link to an old file is as new as the link.
                if entry.stat(follow_symlinks=False).st_ctime < before:
                    os.unlink(entry.path)

    def touch(self, digest: str) -> bool:
        """Make the object new, as if it were put again; False if it is not there."""
        with file_errors(self.root), suppress(FileNotFoundError), self._locked():
            os.utime(self.path(digest))
            return True
        return False

    def verify(self, digest: str) -> bool:
        """Whether the object is there and whole. It is read to its end."""
        try:
            with self._open(digest) as file:
                return blob_of(file).digest == digest
        except ObjectNotFound:
            return False

    def _put(self, write: Callable[[Path], None]) -> Blob:
        with file_errors(self.root):
            self._prepare()
            aside = self.root / "tmp" / os.urandom(16).hex()
            try:
                write(aside)
                with aside.open("rb", buffering=0) as file:
                    blob = blob_of(file)
                aside.chmod(0o444)
                self._appear(aside, blob)
            finally:
                # Where it was renamed there is none; but rename(2) does nothing if both are links to one file.
                aside.unlink(missing_ok=True)
        return blob

    def _appear(self, aside: Path, blob: Blob) -> None:
        target = self.path(blob.digest)
        with suppress(FileExistsError):
            target.parent.mkdir()
        with self._locked():
            os.utime(aside)
            os.replace(aside, target)

    def _prepare(self) -> None:
        if self._ready and (self.root / "tmp").is_dir():
            return
        (self.root / "tmp").mkdir(parents=True, exist_ok=True)
        (self.root / "sha256").mkdir(exist_ok=True)
        self.sweep(self._clock() - DAY)
        self._ready = True

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with locked(self.root / "lock"):
            yield

    def _open(self, digest: str) -> BinaryIO:
        path = self.path(digest)
        with file_errors(path):
            try:
                return path.open("rb", buffering=0)
            except (FileNotFoundError, NotADirectoryError) as error:
                raise ObjectNotFound(f"{self.url}: has no object {digest}") from error


def _link(path: Path, source: BinaryIO, target: Path) -> None:
    """Make the file itself `target` too, if it is still the one that was opened; else a copy."""
    try:
        os.link(path, target, follow_symlinks=False)
        if os.path.samestat(os.fstat(source.fileno()), target.lstat()):
            return
    except OSError:  # another device, a file system without links, too many links: a copy fails where it is more
        pass
    target.unlink(missing_ok=True)
    _copy(source, target)


def _copy(source: BinaryIO, target: Path) -> None:
    """A copy that shares the blocks where the file system can (btrfs, XFS, bcachefs), else one by the kernel."""
    with target.open("xb", buffering=0) as writer:
        try:
            fcntl.ioctl(writer.fileno(), _FICLONE, source.fileno())
        except OSError:
            while os.sendfile(writer.fileno(), source.fileno(), None, 1 << 30):
                pass


def _entries(folder: Path) -> Iterator["os.DirEntry[str]"]:
    with file_errors(folder):
        try:
            with os.scandir(folder) as found:
                yield from found
        except (FileNotFoundError, NotADirectoryError):
            return
