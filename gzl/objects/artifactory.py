"""Objects on a server that takes plain HTTP PUT, GET, HEAD and DELETE: Artifactory, Nexus's raw repositories, nginx
with DAV.

    <base>/sha256/<2>/<62>   an object

A request says how long it is and what its SHA-256 is, so that such servers make a file whole or not at all, and nothing
has to be moved into place. Streams, whose digest is known at their end only, wait in a file for it.

Artifactory is known by its headers (any other server would make an empty file of a deployment by checksum), and told
the digest first: if it has these bytes anywhere, they are not sent. Elsewhere an object that is there already is sent
again, for nothing else makes a file newer over HTTP.
"""

from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from json import JSONDecodeError
from pathlib import Path
from typing import Any, BinaryIO

import httpx

from gzl.errors import UserError
from gzl.objects import artifactory_list
from gzl.objects.artifactory_url import Place, parse
from gzl.objects.base import Blob, ObjectDamaged, ObjectNotFound, Stored, key
from gzl.objects.http_errors import reaching, refusal
from gzl.objects.spooling import rewindable
from gzl.objects.streams import (
    CHUNK,
    appearing,
    blob_of,
    changed,
    chunks,
    open_file,
    stream,
    verified,
    write_new,
)

_TIMEOUT = httpx.Timeout(60, connect=10)  # seconds, without a byte
# https://jfrog.com/help/r/jfrog-rest-apis: in every answer of Artifactory's is at least one of these.
_ARTIFACTORY = ("x-artifactory-id", "x-artifactory-node-id", "x-jfrog-version")
_NO_LIST = (400, 403, 404, 405, 501)  # 400: this Artifactory has not paid for its file list


def open_url(url: str, folder: Path, environ: Mapping[str, str]) -> "ArtifactoryStore":
    """The store of `artifactory+https://host/repository/path`; who asks is said by GZL_ARTIFACTORY_TOKEN, or by
    GZL_ARTIFACTORY_USER and GZL_ARTIFACTORY_PASSWORD, in `environ`, or by user:password in the URL."""
    return ArtifactoryStore(parse(url, environ), spool=folder / "tmp")


class ArtifactoryStore:
    """See `base.ObjectStore`."""

    def __init__(self, place: Place, *, spool: Path) -> None:
        """`spool` is the folder for streams that wait; it is made if need be."""
        self._place = place
        self._spool = spool
        headers = {"Accept-Encoding": "identity", **place.headers}  # lengths are those of objects, not of gzip's output
        self._client = httpx.Client(timeout=_TIMEOUT, headers=headers, follow_redirects=False)
        self._by_checksum: bool | None = None

    @property
    def url(self) -> str:
        return self._place.url

    def put(self, source: BinaryIO) -> Blob:
        with rewindable(source, self._spool) as known:
            return self._put_known(known)

    def put_file(self, path: Path, *, take: bool = False) -> Blob:
        with open_file(path) as source:
            return self._put_known(source)

    def get(self, digest: str) -> BinaryIO:
        request = self._client.build_request("GET", self._object(digest))
        with reaching(self.url):
            # Artifactory in a cloud sends readers on to where the bytes are; httpx keeps the credentials to itself.
            answer = self._client.send(request, stream=True, follow_redirects=True)
            if answer.status_code == httpx.codes.OK:
                return stream(verified(self._pieces(answer), digest, self.url), answer.close)
            answer.read()
        if answer.status_code == httpx.codes.NOT_FOUND:
            raise ObjectNotFound(f"{self.url}: has no object {digest}")
        raise refusal(self.url, answer)

    def get_file(self, digest: str, target: Path, mode: int) -> None:
        with self.get(digest) as source, appearing(target, mode) as aside:
            write_new(aside, chunks(source))

    def has(self, digest: str) -> int | None:
        answer = self._head(digest)
        return None if answer is None else int(answer.headers["content-length"])

    def delete(self, digest: str, *, unless_after: float | None = None) -> bool:
        """Between the question how old it is and the deletion somebody may put it: HTTP has no way to prevent that."""
        if unless_after is not None and self._modified(digest) > unless_after:
            return False
        answer = self._ask("DELETE", self._object(digest))
        if answer.status_code != httpx.codes.NOT_FOUND and not answer.is_success:
            raise refusal(self.url, answer)
        return True

    def list(self) -> Iterator[Stored]:
        answer = self._ask("GET", f"{self._place.listing}?list&deep=1&listFolders=0")
        if answer.is_success and "json" in answer.headers.get("content-type", ""):
            yield from artifactory_list.storage_api(self._json(answer))
            return
        if not answer.is_success and answer.status_code not in _NO_LIST:
            raise refusal(self.url, answer)
        for folder in artifactory_list.folders(self._index("sha256/")):
            yield from artifactory_list.objects(folder, self._index(f"sha256/{folder}/"))

    def sweep(self, before: float) -> None:
        """Nothing is left behind by a put that was killed: what the server had of it, it removes itself."""

    def _put_known(self, source: BinaryIO) -> Blob:
        start = source.tell()
        blob = blob_of(source)
        headers = {"X-Checksum-Sha256": blob.digest}
        if self._is_artifactory(blob.digest):
            answer = self._ask("PUT", self._object(blob.digest), {**headers, "X-Checksum-Deploy": "true"})
            if answer.is_success:
                return blob
            if answer.status_code != httpx.codes.NOT_FOUND:  # which says that it knows no such bytes
                raise refusal(self.url, answer)
        source.seek(start)
        try:
            # If it is not what was read before, its end is held back, and the server drops what it has.
            content = verified(chunks(source), blob.digest, self.url)
            answer = self._ask("PUT", self._object(blob.digest), {**headers, "Content-Length": str(blob.size)}, content)
        except ObjectDamaged as error:
            raise changed(self.url) from error
        if not answer.is_success:
            raise refusal(self.url, answer)
        return blob

    def _is_artifactory(self, digest: str) -> bool:
        if self._by_checksum is None:
            answer = self._ask("HEAD", self._object(digest))
            self._by_checksum = any(name in answer.headers for name in _ARTIFACTORY)
        return self._by_checksum

    def _modified(self, digest: str) -> float:
        answer = self._head(digest)
        return 0.0 if answer is None else parsedate_to_datetime(answer.headers["last-modified"]).timestamp()

    def _head(self, digest: str) -> httpx.Response | None:
        with reaching(self.url):
            answer = self._client.head(self._object(digest), follow_redirects=True)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        if not answer.is_success:
            raise refusal(self.url, answer)
        return answer

    def _index(self, folder: str) -> Any:
        answer = self._ask("GET", f"{self._place.files}/{folder}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return []
        if not answer.is_success:
            raise refusal(self.url, answer)
        return self._json(answer)

    def _json(self, answer: httpx.Response) -> Any:
        try:
            return answer.json()
        except (JSONDecodeError, UnicodeDecodeError) as error:
            raise UserError(
                f"{self.url}: it lists its files neither as Artifactory does nor as JSON; for nginx: autoindex on,"
                " autoindex_format json"
            ) from error

    def _ask(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, content: Iterator[bytes] | None = None
    ) -> httpx.Response:
        with reaching(self.url):
            return self._client.request(method, url, headers=headers, content=content)

    def _pieces(self, answer: httpx.Response) -> Iterator[bytes]:
        with reaching(self.url):
            yield from answer.iter_raw(CHUNK)

    def _object(self, digest: str) -> str:
        return f"{self._place.files}/{key(digest)}"
