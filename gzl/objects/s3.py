"""Objects in a bucket of any server that speaks S3, through boto3.

    <prefix>sha256/<2>/<62>   an object
    <prefix>tmp/<random>      a stream whose digest is not known before its end: copied by the server, then deleted

Only what S3's documentation promises is used: signature 4, explicit lengths, parts of one size (R2 wants that),
listings by continuation token. `s3_upload` sends parts, `s3_errors` says what a failure means, `s3_url` what
the URL says.
"""

import io
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from email.utils import parsedate_to_datetime
from itertools import chain
from pathlib import Path
from secrets import token_hex
from typing import Any, BinaryIO

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

from gzl.kit.clock import Clock, system_clock
from gzl.objects import s3_upload
from gzl.objects.base import Blob, Stored, digest_of, key
from gzl.objects.s3_errors import answer, missing, no_bucket, refused, translated
from gzl.objects.s3_upload import PART, part_size
from gzl.objects.s3_url import Place, parse
from gzl.objects.streams import (
    CHUNK,
    appearing,
    blob_of,
    changed,
    check_file,
    chunks,
    open_file,
    read_full,
    stream,
    verified,
)

# Ranges of 8 MiB, as boto3 has them, by so many threads, and few pieces that wait for the disk.
_DOWNLOAD = TransferConfig(max_concurrency=4, max_io_queue=16)
_RESOLUTION = 2  # seconds
_COPY_LIMIT = 5 << 30  # bytes; CopyObject takes no more, a copy in parts does


def open_url(url: str, folder: Path, environ: Mapping[str, str], *, page: int = 1000) -> "S3Store":
    """The store of `s3://bucket/prefix?…`; credentials are found as boto3 finds them, in `environ` first. `page` is how
    many names a listing asks for at once."""
    place = parse(url)
    with translated(place.url, place.bucket):
        return S3Store(place, client(place, environ), page)


def client(place: Place, environ: Mapping[str, str]) -> Any:
    """boto3's client for the place."""
    session = boto3.session.Session(
        aws_access_key_id=environ.get("AWS_ACCESS_KEY_ID"),
        aws_secret_access_key=environ.get("AWS_SECRET_ACCESS_KEY"),
        aws_session_token=environ.get("AWS_SESSION_TOKEN"),
        region_name=place.region or environ.get("AWS_REGION"),
    )
    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": place.addressing},
        # Checksums in trailers are AWS's alone; digests are verified here in any case.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        connect_timeout=10,
        read_timeout=60,
        # Once more for a part that was lost; all else is tried again by `retrying`, which has the budget.
        retries={"mode": "standard", "total_max_attempts": 2},
        max_pool_connections=16,
    )
    # A region is part of every signature; servers that have none accept this one.
    region = session.region_name or "us-east-1"
    return session.client("s3", region_name=region, endpoint_url=place.endpoint, config=config)


class S3Store:
    """See `base.ObjectStore`."""

    def __init__(self, place: Place, client: Any, page: int, clock: Clock = system_clock) -> None:
        self._place = place
        self._clock = clock
        self._client = client
        self._page = page
        self._bucket_seen = False

    @property
    def url(self) -> str:
        return self._place.url

    def put(self, source: BinaryIO) -> Blob:
        """A source that can be rewound is read twice, and goes straight under its name; so does one that is small
        enough for memory. Any other goes to a temporary name first."""
        if source.seekable():
            return self._put_known(source)
        head = read_full(source, PART)
        if len(head) < PART:
            return self._put_known(io.BytesIO(head))
        return self._put_unknown(chain([head], chunks(source, PART)))

    def put_file(self, path: Path, *, take: bool = False) -> Blob:
        with open_file(path) as source:
            return self._put_known(source)

    def get(self, digest: str) -> BinaryIO:
        where = self._where(digest)
        with self._translated(digest):
            body = self._client.get_object(**where)["Body"]
        return stream(verified(self._pieces(body, digest), digest, self.url), body.close)

    def get_file(self, digest: str, target: Path, mode: int) -> None:
        """Large objects come in ranges, several at a time."""
        where = self._where(digest)
        with appearing(target, mode) as aside:
            with self._translated(digest):
                self._client.download_file(where["Bucket"], where["Key"], str(aside), Config=_DOWNLOAD)
            check_file(aside, digest, self.url)

    def has(self, digest: str) -> int | None:
        found = self._head(digest)
        return None if found is None else int(found["ContentLength"])

    def delete(self, digest: str, *, unless_after: float | None = None) -> bool:
        """Between the question how old it is and the deletion somebody may put it: S3 has no way to prevent that."""
        if unless_after is not None:
            # Not by HEAD: rclone's server answers that with the time of the question.
            found = self._names(key(digest))
            if any(name["LastModified"].timestamp() > unless_after for name in found):
                return False
        with self._translated():
            self._client.delete_object(**self._where(digest))
        return True

    def list(self) -> Iterator[Stored]:
        for found in self._names("sha256/"):
            digest = digest_of(found["Key"].removeprefix(self._place.prefix))
            if digest is not None:
                yield Stored(digest, int(found["Size"]), found["LastModified"].timestamp())

    def sweep(self, before: float) -> None:
        for found in self._names("tmp/"):
            if found["LastModified"].timestamp() < before:
                with self._translated():
                    self._client.delete_object(Bucket=self._place.bucket, Key=found["Key"])
        for upload in self._uploads():
            if upload["Initiated"].timestamp() < before:
                named = {"Bucket": self._place.bucket, "Key": upload["Key"], "UploadId": upload["UploadId"]}
                s3_upload.abort(self._client, named)

    def _put_known(self, source: BinaryIO) -> Blob:
        start = source.tell()
        blob = blob_of(source)
        source.seek(start)
        where = self._where(blob.digest)
        if self._renewed(blob):
            return blob
        with self._translated():
            if blob.size > PART:
                s3_upload.upload(self._client, where, chunks(source, part_size(blob.size)), blob)
            else:
                data = read_full(source, PART)
                if blob_of(io.BytesIO(data)) != blob:
                    raise changed(self.url)
                self._client.put_object(**where, Body=data, ContentLength=len(data))
        return blob

    def _renewed(self, blob: Blob) -> bool:
        """Whether the object is there, and is new now. Some servers do not date anew what is copied onto itself: there
        it has to be sent once more."""
        before = self._head(blob.digest)
        if before is None or before["ContentLength"] != blob.size:
            return False
        self._copy(self._where(blob.digest)["Key"], blob.digest)
        after = self._head(blob.digest)
        return after is not None and (after["LastModified"] > before["LastModified"] or _just_now(after))

    def _put_unknown(self, pieces: Iterator[bytes]) -> Blob:
        aside = {"Bucket": self._place.bucket, "Key": f"{self._place.prefix}tmp/{token_hex(16)}"}
        with self._translated():
            blob = s3_upload.upload(self._client, aside, pieces, None)
            try:
                self._copy(aside["Key"], blob.digest)
            finally:
                self._client.delete_object(**aside)
        return blob

    def _copy(self, source: str, digest: str) -> None:
        """Copy on the server to the object's name. A copy onto itself makes it new; S3 demands REPLACE for that, and
        rclone's server takes the time from the metadata `mtime`."""
        target = self._where(digest)
        renewed = {"MetadataDirective": "REPLACE", "Metadata": {"mtime": f"{self._clock():.0f}"}}
        with self._translated():
            self._client.copy(
                {"Bucket": self._place.bucket, "Key": source},
                **target,
                ExtraArgs=renewed if source == target["Key"] else {},
                Config=TransferConfig(multipart_threshold=_COPY_LIMIT, multipart_chunksize=1 << 30),
            )

    def _head(self, digest: str) -> dict[str, Any] | None:
        where = self._where(digest)
        with self._translated(digest):
            try:
                found: dict[str, Any] = self._client.head_object(**where)
            except ClientError as error:
                if not missing(error) and not refused(error):
                    raise
                self._look_closer(where, error)
                return None
        return found

    def _look_closer(self, where: Mapping[str, str], error: ClientError) -> None:
        """An answer to HEAD has no text: raise if it is not the object that is missing."""
        if refused(error):
            self._see_credentials(where)
        elif not self._bucket_seen:
            self._see_bucket()

    def _see_credentials(self, where: Mapping[str, str]) -> None:
        """To those who may read but not list, what is not there is AccessDenied; wrong credentials are said to be."""
        try:
            self._client.get_object(**where, Range="bytes=0-0")["Body"].close()
        except ClientError as error:
            if answer(error).code != "AccessDenied" and not missing(error):
                raise

    def _see_bucket(self) -> None:
        try:
            self._client.head_bucket(Bucket=self._place.bucket)
        except ClientError as error:
            if missing(error):
                raise no_bucket(self.url, self._place.bucket) from error
            if not refused(error):  # it may be there without being listed to everybody
                raise
        self._bucket_seen = True

    def _names(self, folder: str) -> Iterator[dict[str, Any]]:
        wanted = {"Bucket": self._place.bucket, "Prefix": self._place.prefix + folder}
        pages = self._client.get_paginator("list_objects_v2").paginate(
            **wanted, PaginationConfig={"PageSize": self._page}
        )
        with self._translated():
            for page in pages:
                yield from page.get("Contents", [])

    def _uploads(self) -> Iterator[dict[str, Any]]:
        wanted = {"Bucket": self._place.bucket, "Prefix": self._place.prefix}
        own = (f"{self._place.prefix}sha256/", f"{self._place.prefix}tmp/")
        with self._translated():
            try:
                for page in self._client.get_paginator("list_multipart_uploads").paginate(**wanted):
                    yield from (upload for upload in page.get("Uploads", []) if upload["Key"].startswith(own))
            except ClientError as error:
                # rclone's server says so if there is none; a server that cannot tell them ends them itself.
                if answer(error).code not in ("NoSuchUpload", "NotImplemented"):
                    raise

    def _pieces(self, body: Any, digest: str) -> Iterator[bytes]:
        with self._translated(digest):
            while piece := body.read(CHUNK):
                yield piece

    def _translated(self, digest: str | None = None) -> AbstractContextManager[None]:
        return translated(self._place.url, self._place.bucket, digest)

    def _where(self, digest: str) -> dict[str, str]:
        return {"Bucket": self._place.bucket, "Key": self._place.prefix + key(digest)}


def _just_now(found: Mapping[str, Any]) -> bool:
    """Whether an object is as new as the answer that tells of it: within a second, times do not show a change."""
    said = found["ResponseMetadata"]["HTTPHeaders"].get("date")
    return said is not None and (parsedate_to_datetime(said) - found["LastModified"]).total_seconds() < _RESOLUTION
