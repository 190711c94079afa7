"""What every object store does, whatever is behind it."""

import hashlib
import io
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from stores import Backend

from gzl.errors import UserError
from gzl.objects.base import Blob, ObjectDamaged, ObjectNotFound, ObjectStore

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


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_refused(store: ObjectStore, tmp_path: Path, name: str) -> None:
    for action in (store.get, store.has, store.delete, lambda name: store.get_file(name, tmp_path / "got", 0o644)):
        with pytest.raises(UserError, match="no object has such a name"):
            action(name)


def test_eight_at_once(store: ObjectStore) -> None:
    data = os.urandom(300_000)
    with ThreadPoolExecutor(8) as pool:
        stored = set(pool.map(lambda _: store.put(Pipe(data)), range(8)))
        assert stored == {blob(data)}
        assert set(pool.map(lambda _: read(store, blob(data).digest), range(8))) == {data}
    assert len(list(store.list())) == 1


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
import os, resource, shutil, sys
from pathlib import Path
import stores

stores.answer_local_names()
url, folder, what, *size = sys.argv[1:]
store = stores.Backend(url, os.environ, Path(folder), print).open()

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

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10

if what == "half":
    store.put(Half(int(size[0])))
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
    for _ in range(128):
        process.stdin.write(bytes(MIB))
    printed, _ = process.communicate()
    size, grown = map(int, printed.split())
    assert size == 128 * MIB
    assert grown < 80, "MiB of memory: parts on their way, but not the object"
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


def test_four_processes_at_once(backend: Backend) -> None:
    data = os.urandom(2 * MIB)
    processes = [child(backend, "stream") for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        printed = pool.map(lambda process: process.communicate(data)[0], processes)
    assert [int(line.split()[0]) for line in printed] == [len(data)] * 4
    assert read(backend.open(), blob(data).digest) == data
    assert len(list(backend.open().list())) == 1
