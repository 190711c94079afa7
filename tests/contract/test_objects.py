"""What every object store does, whatever is behind it."""

import hashlib
import io
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import servers
import stores
from botocore.exceptions import ClientError
from servers import Server
from stores import Backend

from gzl.errors import TransientError, UserError
from gzl.objects import s3
from gzl.objects.base import Blob, ObjectDamaged, ObjectNotFound, ObjectStore
from gzl.objects.retrying import Retrying

NONE = "0" * 64
MIB = 1 << 20
HOSTILE = [
    "../x",
    "",
    "a" * 63,
    "A" * 64,
    "a" * 64 + "\n",
    "sha256/" + "a" * 57,
    "/" + "a" * 63,
    "é" * 64,
    "a/../" + "b" * 59,
]


class Pipe(io.BytesIO):
    """A stream that cannot be rewound, and gives what it has in odd pieces."""

    def seekable(self) -> bool:
        return False

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(size if size is None or size < 0 else min(size, 70_001))


def blob(data: bytes) -> Blob:
    return Blob(hashlib.sha256(data).hexdigest(), len(data))


def put(store: ObjectStore, data: bytes) -> Blob:
    stored = store.put(io.BytesIO(data))
    assert stored == blob(data)
    return stored


def read(store: ObjectStore, digest: str) -> bytes:
    with store.get(digest) as stream:
        return stream.read()


@pytest.mark.parametrize("data", [b"", b"x", b"\x00\xff\r\n" * 1000, bytes(MIB), bytes(MIB + 1)], ids=len)
def test_what_is_put_is_got(store: ObjectStore, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    digest = blob(data).digest
    assert store.has(digest) is None
    assert store.put(Pipe(data)) == blob(data)
    assert store.put_file(tmp_path / "file") == blob(data)
    assert store.has(digest) == len(data)
    assert read(store, digest) == data
    store.get_file(digest, tmp_path / "got", 0o750)
    assert (tmp_path / "got").read_bytes() == data
    assert (tmp_path / "got").stat().st_mode & 0o7777 == 0o750
    assert [(found.digest, found.size) for found in store.list()] == [(digest, len(data))]


def test_a_file_that_is_given_away(store: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"given away")
    for _ in range(2):  # the second time it is the store's own file where that keeps it
        stored = store.put_file(tmp_path / "file", take=True)
    assert read(store, stored.digest) == b"given away"


def test_a_file_that_is_kept_may_be_written_to(store: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"before")
    stored = store.put_file(tmp_path / "file")
    with (tmp_path / "file").open("r+b") as file:
        file.write(b"after!")
    store.get_file(stored.digest, tmp_path / "got", 0o644)
    with (tmp_path / "got").open("r+b") as file:
        file.write(b"after!")
    assert read(store, stored.digest) == b"before"


def test_many_are_listed(store: ObjectStore) -> None:
    stored = {put(store, f"object {number}".encode()) for number in range(12)}
    now = time.time()
    listed = list(store.list())
    assert {Blob(found.digest, found.size) for found in listed} == stored
    assert len(listed) == 12
    assert all(abs(found.modified - now) < 60 for found in listed)


def test_an_empty_store_lists_nothing(store: ObjectStore) -> None:
    assert list(store.list()) == []


def test_deleted_is_gone(store: ObjectStore, tmp_path: Path) -> None:
    stored = put(store, b"to be deleted")
    assert store.delete(stored.digest)
    assert store.delete(stored.digest), "a second time, too"
    assert store.has(stored.digest) is None
    with pytest.raises(ObjectNotFound, match=stored.digest):
        store.get(stored.digest)
    with pytest.raises(ObjectNotFound):
        store.get_file(stored.digest, tmp_path / "got", 0o644)
    assert not (tmp_path / "got").exists()


def test_a_new_object_is_not_deleted(store: ObjectStore) -> None:
    stored = put(store, b"new")
    assert not store.delete(stored.digest, unless_after=time.time() - 60)
    assert store.has(stored.digest) == 3
    assert store.delete(stored.digest, unless_after=time.time() + 60)
    assert store.has(stored.digest) is None
    assert store.delete(NONE, unless_after=0)


def test_put_again_is_new(backend: Backend, tmp_path: Path) -> None:
    """Retention deletes old objects: one that is stored again must not be among them."""
    store = backend.open()
    put(store, b"stored twice")
    (first,) = store.list()
    time.sleep(1.05)  # the resolution of most servers
    put(store, b"stored twice")
    (second,) = store.list()
    assert second.modified > first.modified


def test_put_again_heals_what_was_cut(backend: Backend) -> None:
    store = backend.open()
    stored = put(store, b"cut short")
    backend.damage(stored.digest, b"cut")
    put(store, b"cut short")
    assert read(store, stored.digest) == b"cut short"


@pytest.mark.parametrize("data", [b"other bytes", b"cut", b"", b"longer than before"])
def test_damage_is_found_out(backend: Backend, tmp_path: Path, data: bytes) -> None:
    store = backend.open()
    stored = put(store, b"right bytes")
    backend.damage(stored.digest, data)
    with store.get(stored.digest) as stream, pytest.raises(ObjectDamaged, match=stored.digest):
        stream.read()
    with pytest.raises(ObjectDamaged):
        store.get_file(stored.digest, tmp_path / "got", 0o644)
    assert [path.name for path in tmp_path.iterdir() if "got" in path.name] == []


def test_the_end_of_damaged_bytes_is_not_given(backend: Backend) -> None:
    """So that nobody who reads piece by piece takes them for whole."""
    store = backend.open()
    data = os.urandom(3 * MIB)
    stored = put(store, data)
    backend.damage(stored.digest, data[:-1] + bytes([data[-1] ^ 1]))
    given = 0
    with store.get(stored.digest) as stream, pytest.raises(ObjectDamaged):
        while piece := stream.read(1000):
            given += len(piece)
    assert given < len(data)


def test_hostile_names_are_refused(store: ObjectStore, tmp_path: Path) -> None:
    for name in HOSTILE:
        for action in (store.get, store.has, store.delete, lambda name: store.get_file(name, tmp_path / "got", 0o644)):
            with pytest.raises(UserError, match="no object has such a name"):
                action(name)


def test_eight_at_once(backend: Backend) -> None:
    """With retries: moto answers 500 to some of what is stored under one name at once."""
    store = Retrying(backend.open(), spool=backend.folder)
    data = os.urandom(300_000)
    with ThreadPoolExecutor(8) as pool:
        stored = set(pool.map(lambda _: store.put(Pipe(data)), range(8)))
        assert stored == {blob(data)}
        assert set(pool.map(lambda _: read(store, blob(data).digest), range(8))) == {data}
    assert {found.digest for found in store.list()} == {blob(data).digest}


def test_what_is_no_file(store: ObjectStore, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, tmp_path / "missing", Path("/dev/zero")):
        with pytest.raises(UserError, match=path.name):
            store.put_file(path)


def test_a_target_that_cannot_be(store: ObjectStore, tmp_path: Path) -> None:
    stored = put(store, b"somewhere")
    for target in (tmp_path / "missing/file", tmp_path):
        with pytest.raises(UserError):
            store.get_file(stored.digest, target, 0o644)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    store.get_file(stored.digest, tmp_path / "link", 0o644)
    assert not (tmp_path / "link").is_symlink()
    assert not (tmp_path / "elsewhere").exists()


CHILD = """\
import os, shutil, sys
from pathlib import Path
import stores
from gzl.objects.base import open_store

stores.answer_local_names()
url, folder, what, *size = sys.argv[1:]
backend = stores.Backend(url, os.environ, Path(folder), print)
store = backend.open() if what != "wrapped" else open_store(url, folder=Path(folder), cache=None, environ=os.environ)

class Half:
    "A file that can be read as a whole, and the second time to its middle only."
    def __init__(self, size):
        self.size, self.at, self.limit = size, 0, size
    def seekable(self): return True
    def tell(self): return self.at
    def seek(self, at): self.at, self.limit = at, self.size // 2
    def read(self, size):
        size = min(size, self.limit - self.at)
        if size == 0 and self.limit < self.size:
            print("half", flush=True)
            sys.stdin.buffer.read()
        self.at += size
        return bytes(size)

def peak():  # not getrusage: its maximum is that of the process that forked this one, too
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) >> 10

if what == "half":
    half = Half(int(size[0]))
    half.limit //= url.startswith("fs:") + 1  # it reads once
    store.put(half)
else:
    before = peak()
    blob = store.put(sys.stdin.buffer)
    with store.get(blob.digest) as stream:
        shutil.copyfileobj(stream, open(os.devnull, "wb"), 1 << 20)
    store.get_file(blob.digest, Path(folder) / "got", 0o644)
    print(blob.size, peak() - before)
"""


def child(backend: Backend, *args: str) -> "subprocess.Popen[bytes]":
    """A process of its own that puts what it is given."""
    argv = [sys.executable, "-c", CHILD, backend.url, os.fspath(backend.folder), *args]
    tests = os.fspath(Path(__file__).parent.parent)
    environ = {**os.environ, **backend.environ, "PYTHONPATH": tests}
    return subprocess.Popen(argv, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_a_big_stream_in_constant_memory(backend: Backend) -> None:
    process = child(backend, "stream")
    assert process.stdin is not None
    for _ in range(80):
        process.stdin.write(bytes(MIB))
    printed, _ = process.communicate()
    size, grown = map(int, printed.split())
    assert size == 80 * MIB
    assert grown < 68, "MiB of memory: parts on their way, but not the object"
    assert (backend.folder / "got").stat().st_size == size


def test_killed_in_the_middle_of_a_stream(backend: Backend) -> None:
    process = child(backend, "stream")
    assert process.stdin is not None
    for _ in range(24):
        process.stdin.write(bytes(MIB))
    process.stdin.flush()
    nothing_remains_of(process, backend, bytes(24 * MIB))


@pytest.mark.parametrize("size", [2 * MIB, 40 * MIB])
def test_killed_in_the_middle_of_what_is_known(backend: Backend, size: int) -> None:
    process = child(backend, "half", str(size))
    assert process.stdout is not None
    assert process.stdout.readline() == b"half\n"
    nothing_remains_of(process, backend, bytes(size))


def nothing_remains_of(process: "subprocess.Popen[bytes]", backend: Backend, data: bytes) -> None:
    process.kill()
    process.communicate()
    store = backend.open()
    assert list(store.list()) == []
    assert store.has(blob(data).digest) is None
    put(store, data)
    assert read(store, blob(data).digest) == data
    store.sweep(time.time() + 60)
    assert read(store, blob(data).digest) == data


def test_three_processes_at_once(backend: Backend) -> None:
    data = os.urandom(2 * MIB)
    processes = [child(backend, "wrapped") for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        printed = pool.map(lambda process: process.communicate(data)[0], processes)
    assert [int(line.split()[0]) for line in printed] == [len(data)] * 3
    assert read(backend.open(), blob(data).digest) == data
    assert {found.digest for found in backend.open().list()} == {blob(data).digest}


def test_strangers_in_a_bucket_are_passed_over(bucket: Backend) -> None:
    store = bucket.open()
    put(store, b"an object")
    place, client = stores.raw(bucket.url, bucket.environ)
    for name in (
        "sha256/ab/short",
        f"sha256/ab/{'A' * 62}",
        f"sha256/ab/cd/{'a' * 62}",
        "tmp/x",
        "readme",
        "sha256/a b+c%41",
    ):
        client.put_object(Bucket=place.bucket, Key=place.prefix + name, Body=b"")
    assert [found.digest for found in store.list()] == [blob(b"an object").digest]


def test_a_listing_in_pages(bucket: Backend) -> None:
    store = s3.open_url(bucket.url, bucket.folder, bucket.environ, page=3)
    stored = {put(store, f"object {number}".encode()).digest for number in range(8)}
    assert {found.digest for found in store.list()} == stored


def test_what_killed_uploads_left_is_swept(bucket: Backend) -> None:
    store = bucket.open()
    place, client = stores.raw(bucket.url, bucket.environ)
    aside = {"Bucket": place.bucket, "Key": f"{place.prefix}tmp/killed"}
    client.create_multipart_upload(**aside)
    client.put_object(**aside, Body=b"left behind")
    stored = put(store, b"an object")
    store.sweep(time.time() - 3600)
    assert client.head_object(**aside)["ContentLength"] == 11
    store.sweep(time.time() + 3600)
    with pytest.raises(ClientError):
        client.head_object(**aside)
    assert client.list_multipart_uploads(Bucket=place.bucket, Prefix=place.prefix).get("Uploads", []) == []
    assert store.has(stored.digest) == 9


@pytest.mark.parametrize("size", [MIB, 20 * MIB])
def test_a_file_that_changes_is_not_stored(backend: Backend, size: int) -> None:
    """Nothing appears under the name of what the file was before."""

    class Changing(io.BytesIO):
        def seek(self, at: int, whence: int = 0, /) -> int:
            super().seek(size - 1)
            self.write(b"!")
            return super().seek(at, whence)

    store, data = backend.open(), os.urandom(size - 1) + b"."
    if backend.url.startswith("fs:"):  # which reads once
        assert store.put(Changing(data)) == blob(data)
        return
    with pytest.raises(TransientError, match="changed"):
        store.put(Changing(data))
    assert store.has(blob(data).digest) is None
    assert list(store.list()) == []


@pytest.mark.parametrize("action", ["has", "put", "list"])
def test_a_bucket_that_is_not_there(bucket: Backend, action: str) -> None:
    missing = replace(bucket, url=re.sub("//[^/]*/", "//no-such-bucket-of-gzl/", bucket.url, count=1))
    with pytest.raises(UserError, match="no bucket 'no-such-bucket-of-gzl'; make it"):
        attempt(missing.open(), action)


@pytest.mark.parametrize("wrong", [{"AWS_ACCESS_KEY_ID": "wrong"}, {"AWS_SECRET_ACCESS_KEY": "wrong"}], ids=str)
@pytest.mark.parametrize("action", ["put", "list"])
@pytest.mark.parametrize("row", ["rclone", *stores.third_rows()])  # moto lets everybody in
def test_credentials_that_are_wrong(
    request: pytest.FixtureRequest, tmp_path: Path, local_names: None, row: str, action: str, wrong: dict[str, str]
) -> None:
    backend = stores.made(request, row, tmp_path)
    with pytest.raises(UserError, match="check AWS_ACCESS_KEY_ID"):
        attempt(backend.open(**{"AWS_SECRET_ACCESS_KEY": "unknown", **wrong}), action)


@pytest.mark.parametrize(
    "url", ["s3://bucket?endpoint=http://127.0.0.1:{}", "artifactory+http://127.0.0.1:{}/repository"]
)
def test_nobody_listens(tmp_path: Path, url: str) -> None:
    backend = Backend(url.format(servers.free_port()), stores.ENVIRON, tmp_path, print)
    with pytest.raises(TransientError, match="check the"):
        attempt(backend.open(), "put")


def attempt(store: ObjectStore, action: str) -> object:
    actions = {
        "has": lambda: store.has(NONE),
        "put": lambda: put(store, b"somewhere"),
        "list": lambda: list(store.list()),
    }
    return actions[action]()


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("private/", "set GZL_ARTIFACTORY_TOKEN"),
        ("readonly/", "dav_methods PUT DELETE"),
        ("small/", "client_max_body_size 0"),
    ],
)
def test_a_web_server_that_refuses(nginx_server: Server, tmp_path: Path, place: str, said: str) -> None:
    store = Backend(f"artifactory+{nginx_server.url}/{place}", {}, tmp_path, print).open()
    with pytest.raises(UserError, match=said):
        store.put(io.BytesIO(bytes(5000)))


def test_user_and_password(nginx_server: Server, tmp_path: Path) -> None:
    address = f"{nginx_server.url.removeprefix('http://')}/private"
    named = Backend(f"artifactory+http://{address}", {}, tmp_path, print)
    inside = Backend(f"artifactory+http://user:password@{address}", {}, tmp_path, print).open()
    wrong = Backend(f"artifactory+http://user:passw0rd@{address}", {}, tmp_path, print).open()
    put(named.open(GZL_ARTIFACTORY_USER="user", GZL_ARTIFACTORY_PASSWORD="password"), b"private")
    assert read(inside, blob(b"private").digest) == b"private"
    with pytest.raises(UserError) as raised:
        put(wrong, b"private")
    assert "passw0rd" not in f"{raised.value}{wrong.url}{inside.url}"


def test_a_web_server_that_lists_for_people(nginx_server: Server, tmp_path: Path) -> None:
    store = Backend(f"artifactory+{nginx_server.url}/html", {}, tmp_path, print).open()
    put(store, b"an object")
    with pytest.raises(UserError, match="autoindex_format json"):
        list(store.list())


def test_artifactory_is_not_sent_what_it_has(artifactory_server: Server, tmp_path: Path) -> None:
    """Deployed by its checksum into another folder."""
    data = os.urandom(1000)
    url = f"artifactory+{artifactory_server.url}/artifactory/repository"
    first, second = (Backend(f"{url}/{name}", stores.ENVIRON, tmp_path, print).open() for name in ("one", "two"))
    put(first, data)
    before = artifactory_server.received()
    put(second, data)
    assert artifactory_server.received() == before
    assert read(second, blob(data).digest) == data
