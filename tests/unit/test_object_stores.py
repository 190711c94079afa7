"""URLs of object stores, the folder store's own promises, and the wrappers, around a store that fails as told."""

import hashlib
import io
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from gzl.errors import TransientError, UserError
from gzl.kit.mask import Masker
from gzl.objects import artifactory_url, s3_errors, s3_url, streams
from gzl.objects.artifactory_list import folders, objects, storage_api
from gzl.objects.base import Blob, ObjectDamaged, ObjectNotFound, ObjectStore, Wrapper, open_store
from gzl.objects.cached import Cached
from gzl.objects.fs import FsStore
from gzl.objects.masked import masked
from gzl.objects.retrying import Budget, Retrying
from gzl.objects.s3_upload import part_size

NONE = "0" * 64


class Flaky(Wrapper):
    """A store of which so many of the next calls fail, and so many reads of streams break in the middle."""

    def __init__(self, inner: ObjectStore) -> None:
        super().__init__(inner)
        self.failing = 0
        self.breaking = 0
        self.calls = 0

    def put(self, source: BinaryIO) -> Blob:
        self._fail(lambda: source.read(3))
        return super().put(source)

    def put_file(self, path: Path, *, take: bool = False) -> Blob:
        self._fail()
        return super().put_file(path, take=take)

    def get(self, digest: str) -> BinaryIO:
        self._fail()
        stream = super().get(digest)
        if not self.breaking:
            return stream
        self.breaking -= 1
        return streams.stream(self._half(stream), stream.close)

    def has(self, digest: str) -> int | None:
        self._fail()
        return super().has(digest)

    def _half(self, stream: BinaryIO) -> Iterator[bytes]:
        yield stream.read(streams.CHUNK)
        raise TransientError("the network is gone")

    def _fail(self, first: object = None) -> None:
        self.calls += 1
        if self.failing:
            self.failing -= 1
            if callable(first):
                first()
            raise TransientError("the network is gone")


@pytest.fixture
def flaky(tmp_path: Path) -> Flaky:
    return Flaky(FsStore(tmp_path / "inner"))


class Slept:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.delays: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.delays.append(seconds)
        self.now += seconds


def retrying(flaky: Flaky, tmp_path: Path, slept: Slept, **budget: float) -> Retrying:
    tries = int(budget.pop("tries", 5))
    return Retrying(
        flaky,
        spool=tmp_path / "spool",
        budget=Budget(tries=tries, **budget),
        sleep=slept.sleep,
        clock=lambda: slept.now,
        jitter=lambda: 1.0,
    )


class Pipe(io.BytesIO):
    def seekable(self) -> bool:
        return False


def blob(data: bytes) -> Blob:
    return Blob(hashlib.sha256(data).hexdigest(), len(data))


def read(store: ObjectStore, digest: str) -> bytes:
    with store.get(digest) as stream:
        return stream.read()


def test_tried_again_with_growing_delays(flaky: Flaky, tmp_path: Path) -> None:
    slept = Slept()
    store = retrying(flaky, tmp_path, slept, first=1, most=5)
    flaky.failing = 4
    assert store.has(NONE) is None
    assert slept.delays == [2, 4, 5, 5]


def test_a_budget_of_tries(flaky: Flaky, tmp_path: Path) -> None:
    flaky.failing = 100
    with pytest.raises(TransientError):
        retrying(flaky, tmp_path, Slept(), tries=3).has(NONE)
    assert flaky.calls == 3


def test_a_budget_of_seconds(flaky: Flaky, tmp_path: Path) -> None:
    flaky.failing = 100
    slept = Slept()
    with pytest.raises(TransientError):
        retrying(flaky, tmp_path, slept, tries=100, seconds=10, first=1, most=4).has(NONE)
    assert slept.now <= 10
    assert flaky.calls == 4


def test_only_what_may_pass_is_tried_again(flaky: Flaky, tmp_path: Path) -> None:
    with pytest.raises(ObjectNotFound):
        retrying(flaky, tmp_path, Slept()).get(NONE)
    assert flaky.calls == 1


@pytest.mark.parametrize("make", [Pipe, io.BytesIO])
def test_a_stream_is_put_again_from_its_start(flaky: Flaky, tmp_path: Path, make: type[io.BytesIO]) -> None:
    store = retrying(flaky, tmp_path, Slept())
    flaky.failing = 2
    source = make(b"skipped, stored")
    source.read(9)
    assert store.put(source) == blob(b"stored")


def test_a_stream_that_breaks_goes_on(flaky: Flaky, tmp_path: Path) -> None:
    store = retrying(flaky, tmp_path, Slept())
    data = os.urandom(5 * streams.CHUNK + 5)
    stored = store.put(io.BytesIO(data))
    flaky.breaking = 3
    flaky.failing = 1
    assert read(store, stored.digest) == data


def test_a_copy_serves_what_was_read(flaky: Flaky, tmp_path: Path) -> None:
    store = Cached(flaky, tmp_path / "cache", 1 << 20)
    stored = flaky.inner.put(io.BytesIO(b"remote"))
    assert read(store, stored.digest) == b"remote"
    flaky.failing = 100
    assert read(store, stored.digest) == b"remote"
    store.get_file(stored.digest, tmp_path / "got", 0o600)
    assert (tmp_path / "got").read_bytes() == b"remote"
    with pytest.raises(TransientError):
        store.has(stored.digest)


def test_a_copy_serves_what_was_put(flaky: Flaky, tmp_path: Path) -> None:
    store = Cached(flaky, tmp_path / "cache", 1 << 20)
    (tmp_path / "file").write_bytes(b"a file")
    first, second = store.put_file(tmp_path / "file"), store.put(Pipe(b"a stream"))
    flaky.failing = 100
    assert read(store, first.digest) + read(store, second.digest) == b"a filea stream"


def test_a_damaged_copy_is_fetched_again(flaky: Flaky, tmp_path: Path) -> None:
    store = Cached(flaky, tmp_path / "cache", 1 << 20)
    stored = store.put(io.BytesIO(b"right"))
    path = FsStore(tmp_path / "cache").path(stored.digest)
    for _ in range(2):
        path.chmod(0o644)
        path.write_bytes(b"wrong")
        assert read(store, stored.digest) == b"right"
        path.chmod(0o644)
        path.write_bytes(b"wrong")
        store.get_file(stored.digest, tmp_path / "got", 0o600)
        assert (tmp_path / "got").read_bytes() == b"right"
    flaky.failing = 100
    assert read(store, stored.digest) == b"right"


def test_the_least_recently_used_copies_go(flaky: Flaky, tmp_path: Path) -> None:
    store, copies = Cached(flaky, tmp_path / "cache", 3000), FsStore(tmp_path / "cache")
    stored = []
    for number in range(3):
        stored.append(store.put(io.BytesIO(bytes([number]) * 1000)))
        os.utime(copies.path(stored[-1].digest), (number, number))
    read(store, stored[0].digest)
    store.put(io.BytesIO(bytes([9]) * 1000))
    kept = {copy.digest for copy in copies.list()}
    assert stored[0].digest in kept
    assert stored[1].digest not in kept
    assert sum(copy.size for copy in copies.list()) <= 3000


def test_what_is_larger_than_the_cache_passes_by(flaky: Flaky, tmp_path: Path) -> None:
    store = Cached(flaky, tmp_path / "cache", 100)
    data = bytes(1000)
    (tmp_path / "file").write_bytes(data)
    assert store.put(Pipe(data)) == store.put_file(tmp_path / "file") == blob(data)
    assert read(store, blob(data).digest) == data
    store.get_file(blob(data).digest, tmp_path / "got", 0o600)
    assert list(FsStore(tmp_path / "cache").list()) == []


def test_deleted_is_deleted_here_too(flaky: Flaky, tmp_path: Path) -> None:
    store = Cached(flaky, tmp_path / "cache", 1000)
    stored = store.put(io.BytesIO(b"gone"))
    assert store.delete(stored.digest)
    with pytest.raises(ObjectNotFound):
        store.get(stored.digest)


def test_secrets_are_never_stored(tmp_path: Path) -> None:
    inner = FsStore(tmp_path / "inner")
    store = masked(inner, Masker([b"hunter2-hunter2"]))
    text = b"the password is hunter2-hunter2, do not tell\n"
    stored = store.put(Pipe(text))
    assert read(inner, stored.digest) == b"the password is ***, do not tell\n"
    (tmp_path / "file").write_bytes(b"." * (streams.CHUNK - 20) + text)
    stored = store.put_file(tmp_path / "file", take=True)
    assert b"hunter2" not in read(inner, stored.digest)
    assert (tmp_path / "file").read_bytes().endswith(text)


def test_without_secrets_nothing_is_wrapped(tmp_path: Path) -> None:
    inner = FsStore(tmp_path)
    assert masked(inner, Masker([])) is inner


def test_a_file_given_away_is_not_copied(tmp_path: Path) -> None:
    store = FsStore(tmp_path / "objects")
    (tmp_path / "file").write_bytes(b"given away")
    stored = store.put_file(tmp_path / "file", take=True)
    assert os.path.samefile(tmp_path / "file", store.path(stored.digest))
    assert store.put_file(tmp_path / "file", take=True) == stored
    assert list((tmp_path / "objects/tmp").iterdir()) == []


def test_a_file_that_is_kept_is_not_linked(tmp_path: Path) -> None:
    store = FsStore(tmp_path / "objects")
    (tmp_path / "file").write_bytes(b"kept")
    stored = store.put_file(tmp_path / "file")
    store.get_file(stored.digest, tmp_path / "got", 0o644)
    assert store.path(stored.digest).stat().st_nlink == 1
    assert store.path(stored.digest).stat().st_mode & 0o777 == 0o444


def test_a_link_that_is_given_away_is_followed(tmp_path: Path) -> None:
    store = FsStore(tmp_path / "objects")
    (tmp_path / "file").write_bytes(b"behind a link")
    (tmp_path / "link").symlink_to("file")
    stored = store.put_file(tmp_path / "link", take=True)
    assert read(store, stored.digest) == b"behind a link"
    assert not store.path(stored.digest).is_symlink()


def test_what_killed_puts_left_is_swept(tmp_path: Path) -> None:
    """After a day, by the next put of a process."""
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp/left").write_bytes(b"half an obj")
    FsStore(tmp_path).put(io.BytesIO(b"an object"))
    assert (tmp_path / "tmp/left").exists()
    FsStore(tmp_path, clock=lambda: time.time() + 90_000).put(io.BytesIO(b"an object"))
    assert not (tmp_path / "tmp/left").exists()


def test_a_full_disk_may_pass(tmp_path: Path) -> None:
    with (
        Path("/dev/full").open("wb", buffering=0) as full,
        pytest.raises(TransientError, match="make room"),
        streams.file_errors(tmp_path),
    ):
        full.write(b"x")


def test_a_stream_cut_into_any_pieces_is_verified() -> None:
    data = random.Random(1).randbytes(5000)
    for size in (1, 7, 4999, 5000, 5001):
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        assert b"".join(streams.verified(pieces, blob(data).digest, "x")) == data
        with pytest.raises(ObjectDamaged):
            list(streams.verified(pieces, NONE, "x"))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("/srv/objects", "a folder is written as fs:/srv/objects"),
        ("fs:objects", "write fs: and an absolute path"),
        ("fs://host/objects", "write fs: and an absolute path"),
        ("https://u:pw@host/repo", r"written as artifactory\+https://host/repo"),
        ("s4://bucket", "did you mean s3:"),
        ("objects", "stores are fs:/folder"),
        ("s3://", "is no name of a bucket"),
        ("s3:bucket", "is no name of a bucket"),
        ("s3://../x", "is no name of a bucket"),
        ("s3://key:secret@bucket", "set AWS_ACCESS_KEY_ID"),
        ("s3://bucket?regoin=x", "did you mean region"),
        ("s3://bucket?region=", "region= has no value"),
        ("s3://bucket?region=x&region=y", "twice"),
        ("s3://bucket?region=x/y", "is no name of a region"),
        ("s3://bucket?x", "is no list of settings"),
        ("s3://bucket?addressing=dns", "is none of path, virtual, auto"),
        ("s3://bucket?endpoint=localhost:9000", "the server's own URL"),
        ("s3://bucket?endpoint=http://host:x", "the server's own URL"),
        ("s3://bucket?endpoint=http://k:pw@host", "the server's own URL"),
        ("artifactory:host/repo", "the form is artifactory"),
        ("artifactory+ftp://host/repo", "the form is artifactory"),
        ("artifactory+https://host", "names no repository"),
        ("artifactory+https://host:x/repo", "the form is artifactory"),
        ("artifactory+https://u:pw@ho st/repo", "the form is artifactory"),
        ("artifactory+https://host/repo?x=y", "the form is artifactory"),
    ],
)
def test_urls_that_are_wrong(tmp_path: Path, url: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as raised:
        open_store(url, folder=tmp_path, cache=None, environ={})
    assert "pw" not in str(raised.value)
    assert "secret" not in str(raised.value)


def test_urls_that_are_right(tmp_path: Path) -> None:
    assert open_store("", folder=tmp_path, cache=None, environ={}).url == f"fs:{tmp_path}"
    assert open_store("fs:/a%20b", folder=tmp_path, cache=None, environ={}).url == "fs:/a b"
    place = s3_url.parse("s3://bucket/a/b%20c/?endpoint=https://[::1]:9000&region=eu-west-1&addressing=virtual")
    assert (place.bucket, place.prefix, place.endpoint) == ("bucket", "a/b c/", "https://[::1]:9000")
    assert (place.region, place.addressing) == ("eu-west-1", "virtual")
    artifactory = artifactory_url.parse("artifactory+https://user:p%40ss@[::1]:8443/artifactory/repo/a/", {})
    assert artifactory.url == "artifactory+https://[::1]:8443/artifactory/repo/a/"
    assert artifactory.files == "https://[::1]:8443/artifactory/repo/a"
    assert artifactory.listing == "https://[::1]:8443/artifactory/api/storage/repo/a"
    assert artifactory.headers == {"Authorization": "Basic dXNlcjpwQHNz"}
    assert "dXNlcjpwQHNz" not in repr(artifactory)


def test_credentials_in_halves_or_odd_are_refused() -> None:
    for environ in ({"GZL_ARTIFACTORY_USER": "u"}, {"GZL_ARTIFACTORY_TOKEN": "two\nlines"}):
        with pytest.raises(UserError, match="GZL_ARTIFACTORY"):
            artifactory_url.parse("artifactory+https://host/repo", environ)


def test_listings_that_are_hostile() -> None:
    digest = "ab" + "c" * 62
    time = {"lastModified": "2024-02-29T20:20:53.000+02:00"}
    files = [{"uri": f"/{name}", "size": 1, **time} for name in (f"sha256/ab/{'c' * 62}", "../x", "sha256/ab/../cd")]
    assert [found.digest for found in storage_api({"files": [*files, None, "x", {}]})] == [digest]
    assert [list(storage_api(answer)) for answer in (None, [], {"files": 1}, "x")] == [[], [], [], []]
    assert folders([{"name": "ab", "type": "directory"}, {"name": "..", "type": "directory"}, {"name": "cd"}]) == ["ab"]
    entry = {"name": "c" * 62, "type": "file", "size": 1, "mtime": "Thu, 29 Feb 2024 18:20:53 GMT"}
    (found,) = objects("ab", [entry, {**entry, "name": "../x"}, {**entry, "type": "directory"}])
    assert (found.digest, found.modified) == (digest, 1709230853)


def test_parts_are_as_many_as_are_allowed() -> None:
    for size in (1, 8 << 20, 80 << 30, (80 << 30) + 1, 5 << 40):
        assert part_size(size) * 10_000 >= size
        assert part_size(size) % (1 << 20) == 0


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("SlowDown", 503, TransientError),
        ("InternalError", 500, TransientError),
        ("TooManyRequests", 429, TransientError),
        ("RequestTimeout", 400, TransientError),
        ("NotImplemented", 501, UserError),
        ("PermanentRedirect", 301, UserError),
        ("SignatureDoesNotMatch", 403, UserError),
        ("NoSuchBucket", 404, UserError),
        ("NoSuchKey", 404, ObjectNotFound),
        ("AccessDenied", 403, ObjectNotFound),
        ("InvalidArgument", 400, UserError),
    ],
)
def test_what_s3_says(code: str, status: int, kind: type[Exception]) -> None:
    said = {"Error": {"Code": code, "Message": "\x1b[2J"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    with pytest.raises(kind) as raised, s3_errors.translated("s3://bucket", "bucket", NONE):
        raise s3_errors.failures.ClientError(said, "GetObject")  # type: ignore[arg-type]
    assert "\x1b" not in str(raised.value)
