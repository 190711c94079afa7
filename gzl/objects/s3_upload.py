"""Uploads to S3 in parts: in constant memory, several at a time, and completed only if every byte is the right one.

boto3's own managed uploads cannot be stopped before they complete, when it turns out that a file was written to.
"""

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from gzl.errors import UserError
from gzl.objects.base import Blob
from gzl.objects.streams import changed

PART = 8 << 20  # bytes; in memory are as many parts as there are workers, and one more
WORKERS = 4
_MIB = 1 << 20
_MAX_PARTS = 10_000  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html


def part_size(size: int) -> int:
    """The bytes of each part of an object: so many that the number of parts is allowed."""
    each = -(-size // _MAX_PARTS)
    return max(PART, -(-each // _MIB) * _MIB)


def upload(client: Any, where: Mapping[str, str], pieces: Iterator[bytes], expected: Blob | None) -> Blob:
    """Store the pieces, each a part, at `where` (Bucket, Key). TransientError, and nothing stored, if they are not
    `expected`."""
    parts = {**where, "UploadId": client.create_multipart_upload(**where)["UploadId"]}
    try:
        hashed = _Hashed(pieces)
        sent = _send(client, parts, hashed)
        if expected is not None and hashed.blob() != expected:
            raise changed(where["Key"])
        client.complete_multipart_upload(**parts, MultipartUpload={"Parts": sent})
    except BaseException:
        abort(client, parts)
        raise
    return hashed.blob()


def abort(client: Any, parts: Mapping[str, str]) -> None:
    """Throw away what was sent of an upload."""
    # Called after a failure, which is the one to be told; what is left here, `sweep` finds later.
    with suppress(ClientError, BotoCoreError):
        client.abort_multipart_upload(**parts)


class _Hashed:
    """Pieces that pass by, and what they add up to."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._digest = hashlib.sha256()
        self._size = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self._digest.update(piece)
            self._size += len(piece)
            yield piece

    def blob(self) -> Blob:
        return Blob(self._digest.hexdigest(), self._size)


def _send(client: Any, parts: Mapping[str, str], pieces: _Hashed) -> list[dict[str, Any]]:
    waiting: deque[Future[dict[str, Any]]] = deque()
    sent = []
    with ThreadPoolExecutor(WORKERS) as pool:
        for number, piece in enumerate(pieces, 1):
            if number > _MAX_PARTS:
                raise UserError(
                    f"a stream of more than {_MAX_PARTS * PART >> 30} GiB; write it into a file, store that"
                )
            if len(waiting) == WORKERS:  # bounds what is in memory
                sent.append(waiting.popleft().result())
            waiting.append(pool.submit(_send_part, client, parts, number, piece))
        sent.extend(part.result() for part in waiting)
    return sent


def _send_part(client: Any, parts: Mapping[str, str], number: int, piece: bytes) -> dict[str, Any]:
    done = client.upload_part(**parts, PartNumber=number, Body=piece, ContentLength=len(piece))
    return {"PartNumber": number, "ETag": done["ETag"]}
