"""A remote store with copies of what was read and written lately in a folder of this machine, up to a size.

Several processes may share the folder. The copies are an `fs` store of their own, in which an object's time is that of
its last use: the least recently used go first. A copy that is damaged is dropped and fetched again. Whether an object
exists, and what may be deleted, is always the remote store's to say.
"""

from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from gzl.errors import TransientError
from gzl.objects.base import Blob, ObjectDamaged, ObjectNotFound, ObjectStore, Wrapper
from gzl.objects.fs import FsStore


class Cached(Wrapper):
    """See the module. Nothing above `max_bytes` stays in `folder`."""

    def __init__(self, inner: ObjectStore, folder: Path, max_bytes: int) -> None:
        super().__init__(inner)
        self._copies = FsStore(folder)
        self._max_bytes = max_bytes

    def put(self, source: BinaryIO) -> Blob:
        """The copy comes first: it can be read again, should the remote store need more than one try."""
        blob = self._copies.put(source)
        try:
            return self.inner.put_file(self._copies.path(blob.digest))
        finally:
            self._evict()

    def put_file(self, path: Path, *, take: bool = False) -> Blob:
        blob = self.inner.put_file(path)
        self._keep(path, take=take)
        return blob

    def get(self, digest: str) -> BinaryIO:
        """A copy is read once before it is given: a stream that turns out damaged at its end cannot be taken back."""
        if self._copies.verify(digest) or self._fetch(digest):
            with suppress(ObjectNotFound):  # another process has just dropped it
                self._copies.touch(digest)
                return self._copies.get(digest)
        return self.inner.get(digest)

    def get_file(self, digest: str, target: Path, mode: int) -> None:
        try:
            self._copies.get_file(digest, target, mode)
            self._copies.touch(digest)
        except (ObjectNotFound, ObjectDamaged):
            self._copies.delete(digest)
            self.inner.get_file(digest, target, mode)
            self._keep(target)

    def delete(self, digest: str, *, unless_after: float | None = None) -> bool:
        gone = self.inner.delete(digest, unless_after=unless_after)
        if gone:
            self._copies.delete(digest)
        return gone

    def _fetch(self, digest: str) -> bool:
        """Copy the object from the remote store, in place of a damaged copy too; False if it is too large for that."""
        size = self.inner.has(digest)
        if size is None or size > self._max_bytes:
            return False
        with self.inner.get(digest) as source:
            self._copies.put(source)
        self._evict(but=digest)
        return True

    def _keep(self, path: Path, *, take: bool = False) -> None:
        # Its name is that of its content, whatever that is by now. The object itself is where it should be: no room
        # for a copy makes the next use slower, no more.
        with suppress(TransientError):
            if path.stat().st_size <= self._max_bytes:
                self._copies.put_file(path, take=take)
                self._evict()

    def _evict(self, but: str = "") -> None:
        copies = sorted(self._copies.list(), key=lambda copy: copy.modified)
        total = sum(copy.size for copy in copies)
        for copy in copies:
            if total <= self._max_bytes:
                return
            if copy.digest != but:
                self._copies.delete(copy.digest)
                total -= copy.size
