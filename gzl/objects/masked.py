"""A store that never sees a secret: everything put passes a masker, and is named by what is left then."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from gzl.objects.base import Blob, ObjectStore, Wrapper
from gzl.objects.streams import CHUNK, open_file, stream


class Stream(Protocol):
    """Masks one run of bytes, given piece by piece; it may hold some back."""

    def feed(self, data: bytes, /) -> bytes: ...

    def finish(self) -> bytes: ...


class Masker(Protocol):
    """What `gzl.kit.mask.Masker` has of use here."""

    @property
    def active(self) -> bool:
        """Whether there is anything to be masked."""

    def stream(self) -> Stream: ...


def masked(store: ObjectStore, masker: Masker) -> ObjectStore:
    """`store` behind the masker; the store itself where there are no secrets, so that files can still be linked."""
    return Masked(store, masker) if masker.active else store


class Masked(Wrapper):
    """See the module."""

    def __init__(self, inner: ObjectStore, masker: Masker) -> None:
        super().__init__(inner)
        self._masker = masker

    def put(self, source: BinaryIO) -> Blob:
        return self.inner.put(stream(self._through(source)))

    def put_file(self, path: Path, *, take: bool = False) -> Blob:
        """What is stored is not the file any more, so there is nothing to take."""
        with open_file(path) as source:
            return self.put(source)

    def _through(self, source: BinaryIO) -> Iterator[bytes]:
        masking = self._masker.stream()
        while piece := source.read(CHUNK):
            yield masking.feed(piece)
        yield masking.finish()
