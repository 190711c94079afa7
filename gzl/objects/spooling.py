"""Streams that have to be read twice: for their digest, and for each try. Only remote stores need that."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

from gzl.objects.streams import chunks, file_errors

_IN_MEMORY = 8 << 20  # bytes of a stream that are not worth a file


@contextmanager
def rewindable(source: BinaryIO, folder: Path) -> Iterator[BinaryIO]:
    """`source`, or if that cannot be rewound, its content in memory or, if it is long, in a file without a name in
    `folder` (which is made if need be)."""
    if source.seekable():
        yield source
        return
    with file_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with SpooledTemporaryFile(_IN_MEMORY, dir=str(folder)) as spooled:
        with file_errors(folder):
            for piece in chunks(source):
                spooled.write(piece)
            spooled.seek(0)
        yield cast(BinaryIO, spooled)
