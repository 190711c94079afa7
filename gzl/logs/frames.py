"""The form in which the object store has logs: zstd, and readable from the middle.

It is zstd's seekable format (contrib/seekable_format/zstd_seekable_compression_format.md in its repository, version
0.1.0): frames that stand for themselves, each of `FRAME` bytes of log but the last, and at the end a skippable frame
with the lengths of all. So `zstd -d` reads it as it is, and nobody has to decompress more than one frame before the
byte that is wanted.
"""

import io
import struct
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import zstandard

from gzl.errors import GzlError
from gzl.objects.streams import stream

FRAME = 4 << 20  # bytes of log: decompressed in some 5 ms
_LEVEL = 3
_WINDOW = 8 << 20  # bytes of memory that a frame may ask for when it is read
_PIECE = 1 << 18
_ENTRY = struct.Struct("<II")  # compressed length, decompressed length
_FOOTER = struct.Struct("<IBI")  # number of frames, descriptor (0: no checksums), magic number
_HEADER = struct.Struct("<II")  # of a skippable frame (RFC 8878, 3.1.2): magic number, length
_SKIPPABLE, _SEEKABLE = 0x184D2A5E, 0x8F92EAB1


class BadFrames(GzlError):
    """An object that should hold a log holds something else."""


def compress(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces of a log in this form, in constant memory."""
    compressor = zstandard.ZstdCompressor(level=_LEVEL, write_content_size=True, write_checksum=True)
    entries = bytearray()
    for frame in _frames(pieces):
        data = compressor.compress(frame)
        entries += _ENTRY.pack(len(data), len(frame))
        yield data
    count = len(entries) // _ENTRY.size
    yield _HEADER.pack(_SKIPPABLE, len(entries) + _FOOTER.size) + entries + _FOOTER.pack(count, 0, _SEEKABLE)


def decompressed(file: BinaryIO) -> BinaryIO:
    """The log that `file` holds from where it is, as a stream. Closing it closes `file`."""
    decompressor = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
    return stream(_decompressed(decompressor.stream_reader(file, read_across_frames=True)), file.close)


def decompressed_from(file: BinaryIO, offset: int) -> BinaryIO:
    """The log that the seekable `file` holds, from this byte of the log on. BadFrames if it is none in this form."""
    place = 0
    for compressed, length in _lengths(file):
        if offset < length:
            break
        place, offset = place + compressed, offset - length
    file.seek(place)
    log = decompressed(file)
    left = offset
    while left and (skipped := log.read(min(left, 1 << 20))):
        left -= len(skipped)
    return log


def _decompressed(reader: zstandard.ZstdDecompressionReader) -> Iterator[bytes]:
    try:
        while piece := reader.read(_PIECE):
            yield piece
    except zstandard.ZstdError as error:
        raise BadFrames(f"the log is not compressed as gzl does it: {error}; `gzl fsck` tells more") from error


def _frames(pieces: Iterable[bytes]) -> Iterator[bytes]:
    held = bytearray()
    for piece in pieces:
        held += piece
        while len(held) >= FRAME:
            yield bytes(held[:FRAME])
            del held[:FRAME]
    if held:
        yield bytes(held)


def _lengths(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Of each frame: compressed and decompressed length."""
    end = file.seek(0, io.SEEK_END)
    file.seek(max(0, end - _FOOTER.size))
    footer = file.read(_FOOTER.size)
    count, _, magic = _FOOTER.unpack(footer) if len(footer) == _FOOTER.size else (0, 0, 0)
    start = end - _FOOTER.size - count * _ENTRY.size
    if magic != _SEEKABLE or start < 0:
        raise BadFrames("the log has no table of its frames; `gzl fsck` tells more")
    file.seek(start)
    yield from _ENTRY.iter_unpack(file.read(count * _ENTRY.size))
