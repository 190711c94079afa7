"""What an object store is, the registry of those there are, and `open_store`, which makes one from its URL.

An object is a run of bytes named by its SHA-256. Names come from ledgers and from listings of stores, both of which
others write, so they are checked on the way in and on the way out. Nobody may take damaged bytes for whole ones, and
no part of an object is ever visible under its name.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from gzl.errors import GzlError, UserError
from gzl.kit.text import escaped

REGISTRY = {
    "fs": "gzl.objects.fs:open_url",
    "s3": "gzl.objects.s3:open_url",
    "artifactory": "gzl.objects.artifactory:open_url",
}
FORMS = (
    "fs:/folder, s3://bucket/prefix[?endpoint=URL&region=NAME&addressing=path|virtual|auto],"
    " artifactory+https://host/repository/path"
)
CACHE_BYTES = 10 << 30
DAY = 86400.0  # seconds; what a put left behind and is older belongs to a process that was killed
_DIGEST = re.compile(r"[0-9a-f]{64}")
_KEY = re.compile(r"sha256/([0-9a-f]{2})/([0-9a-f]{62})")


class ObjectNotFound(GzlError):
    """The store has no object of this name."""


class ObjectDamaged(GzlError):
    """What the store has under this name is something else; what was read of it must not be used."""


@dataclass(frozen=True, slots=True)
class Blob:
    """An object's name and its length in bytes."""

    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Stored:
    """An object as a listing tells of it; `modified` (seconds since the epoch) is when it was last put."""

    digest: str
    size: int
    modified: float


class ObjectStore(Protocol):
    """Keeps objects. Threads may share one.

    All methods raise UserError where a person must act (a name that is no digest, credentials, a bucket that is not
    there) and TransientError where trying again later may help (network, timeouts, a full disk).
    """

    @property
    def url(self) -> str:
        """Which store this is, for messages: without credentials."""

    def put(self, source: BinaryIO) -> Blob:
        """Store what `source` gives until its end, in constant memory. An object that is there already counts as
        modified now: retention deletes old ones."""

    def put_file(self, path: Path, *, take: bool = False) -> Blob:
        """Store a file, as `put`. With `take` the file is given away: the store may keep it itself, and nobody writes
        to it any more."""

    def get(self, digest: str) -> BinaryIO:
        """The object as a stream. It is verified while it is read: the last bytes are given only if all are right.
        Raises ObjectNotFound, or on reading ObjectDamaged."""

    def get_file(self, digest: str, target: Path, mode: int) -> None:
        """Make the object the file `target` with these permissions, which appears whole and verified or not at all.
        Its folder must exist. Raises ObjectNotFound, ObjectDamaged."""

    def has(self, digest: str) -> int | None:
        """The object's length in bytes, or None if it is not there."""

    def delete(self, digest: str, *, unless_after: float | None = None) -> bool:
        """Delete the object, but not if it was put after `unless_after` (seconds since the epoch). Whether it is gone,
        which it also is if it never was there."""

    def list(self) -> Iterator[Stored]:
        """All objects, in any order; one that is being put may come twice (rclone's server does that). What is in the
        store and is no object of gzl's is passed over."""

    def sweep(self, before: float) -> None:
        """Remove what puts that were killed left behind, if it is older than `before` (seconds since the epoch)."""


class Wrapper:
    """A store around another one; it changes what its subclasses override."""

    def __init__(self, inner: ObjectStore) -> None:
        self.inner = inner

    @property
    def url(self) -> str:
        return self.inner.url

    def put(self, source: BinaryIO) -> Blob:
        return self.inner.put(source)

    def put_file(self, path: Path, *, take: bool = False) -> Blob:
        return self.inner.put_file(path, take=take)

    def get(self, digest: str) -> BinaryIO:
        return self.inner.get(digest)

    def get_file(self, digest: str, target: Path, mode: int) -> None:
        self.inner.get_file(digest, target, mode)

    def has(self, digest: str) -> int | None:
        return self.inner.has(digest)

    def delete(self, digest: str, *, unless_after: float | None = None) -> bool:
        return self.inner.delete(digest, unless_after=unless_after)

    def list(self) -> Iterator[Stored]:
        return self.inner.list()

    def sweep(self, before: float) -> None:
        self.inner.sweep(before)


def checked(digest: str) -> str:
    """`digest`, if it is one: UserError otherwise."""
    if _DIGEST.fullmatch(digest) is None:
        raise UserError(f"'{escaped(digest, 80)}': no object has such a name: a SHA-256 in lower-case hex is expected")
    return digest


def key(digest: str) -> str:
    """The object's path in a store."""
    checked(digest)
    return f"sha256/{digest[:2]}/{digest[2:]}"


def digest_of(path: str) -> str | None:
    """The digest of the object with this path in a store, or None if no object of gzl's has such a path."""
    found = _KEY.fullmatch(path)
    return None if found is None else found[1] + found[2]


def open_store(
    url: str, *, folder: Path, cache: Path | None, environ: Mapping[str, str], cache_bytes: int = CACHE_BYTES
) -> ObjectStore:
    """The store that `url` names; where it is empty, the one in `folder`, which also holds what must wait on disk.

    Remote stores are tried again for a minute, and what was read lies in `cache` (up to `cache_bytes`) where that is
    given. Credentials are taken from `environ`. Raises UserError with what is wrong with the URL.
    """
    scheme = _scheme(url) if url else "fs"
    store: ObjectStore = _load(REGISTRY[scheme])(url, folder, environ)
    if scheme == "fs":
        return store  # a disk that is full does not empty within seconds
    retrying: ObjectStore = _load("gzl.objects.retrying:Retrying")(store, spool=folder / "tmp")
    if cache is None:
        return retrying
    cached: ObjectStore = _load("gzl.objects.cached:Cached")(retrying, cache, cache_bytes)
    return cached


def _load(name: str) -> Any:
    """What `module:attribute` names; imported only now, because most commands need no store, and few a remote one."""
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)


def _scheme(url: str) -> str:
    written = url.partition(":")[0] if ":" in url else ""
    scheme = written.partition("+")[0]
    if scheme in REGISTRY:
        return scheme
    shown = escaped(without_password(url), 200)
    if url.startswith(("/", "./", "~")):
        advice = f"a folder is written as fs:{shown}"
    elif scheme in ("http", "https"):
        advice = f"a server that takes PUT and GET is written as artifactory+{shown}"
    else:
        near = difflib.get_close_matches(scheme, REGISTRY, 1, cutoff=0.5)
        advice = f"did you mean {near[0]}:? Stores are" if near else "stores are"
        advice = f"{advice} {FORMS}"
    raise UserError(f"{shown}: no object store has such a URL; {advice}")


def without_password(url: str) -> str:
    """`url` without user and password, also where it is too broken to be taken apart."""
    return re.sub(r"//[^/?#]*@", "//", url)
