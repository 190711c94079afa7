"""Objects of 1 GiB stored and fetched, beside `cp` and `aws s3 cp`; 10,000 small files packed, beside `tar | zstd`; and
how fast secrets are masked.

gzl's side is a Python process that does with a store, an archive or a masker what `gzl obj-store` and `obj-get` do, its
start included. The S3 server is rclone's, on the same machine and in the same folder.
"""

import os
import random
import shlex
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from common import BIN, ROOT, Machine, Row, Table, Timing, compare, in_turns, python_packages, timed, wait_until

from gzl.kit.mask import Masker

MIB = 1 << 20
FILES = 10_000
MASKING = 200e6  # bytes a second
KEY, SECRET, BUCKET = "bench", "bench-secret", "bench"
PUT = "store.put_file(Path(argv[0]))"
TAKE = "store.put_file(Path(argv[0]), take=True)"
DELETE = "store.delete(argv[0])"
GET = "store.get_file(argv[0], Path(argv[1]), 0o644)"
PACK = "with open(argv[1], 'wb') as out: pack(Path(argv[0]), out)"
UNPACK = "with open(argv[0], 'rb') as source: unpack(source, Path(argv[1]))"
_STORE = """\
import os
from pathlib import Path
from sys import argv
from gzl.objects.base import open_store
url, argv = argv[1], argv[2:]
store = open_store(url, folder=Path("waiting"), cache=None, environ=os.environ)
"""
_ARCHIVE = """\
from pathlib import Path
from sys import argv
from gzl.objects.archive import pack, unpack
argv = argv[1:]
"""


def tables(machine: Machine) -> Iterator[Table]:
    """Large objects in a folder and on S3, small files, masking."""
    size = (64 if machine.quick else 1024) * MIB
    large = _Large(machine, size)
    yield large.folder()
    yield large.s3()
    large.remove()
    yield _small(machine)
    yield _masking(machine)


class _Large:
    """One large file, stored and fetched by everybody."""

    def __init__(self, machine: Machine, size: int) -> None:
        self._machine = machine
        self._rounds = machine.rounds(5, 1)
        self._title = f"{size // MIB} MiB"
        self._root = machine.folder / "objects"
        self._root.mkdir()
        self._file = self._root / "file"
        self._got = self._root / "got"
        with self._file.open("wb") as file:
            for _ in range(size // MIB):
                file.write(os.urandom(MIB))
        self._digest = machine.run("sha256sum", self._file).split()[0]

    def folder(self) -> Table:
        store = self._root / "store"
        url = f"fs:{store}"

        def fresh(code: str) -> Callable[[], float]:
            def measured() -> float:
                shutil.rmtree(store, ignore_errors=True)
                return self._gzl(code, url, self._file)

            return measured

        timings = in_turns(
            {
                "cp": lambda: self._to(self._got, "cp", self._file, self._got),
                "sha256sum, which everything below has to do once": lambda: self._machine.time("sha256sum", self._file),
                "stored, given away (a hard link)": fresh(TAKE),
                "stored, copied": fresh(PUT),
                "fetched": lambda: self._to(self._got, *self._argv(GET, url), self._digest, self._got),
            },
            self._rounds,
        )
        shutil.rmtree(store)
        return Table(f"{self._title} in a folder, {self._rounds} rounds", list(compare(timings, "cp")))

    def s3(self) -> Table:
        endpoint = self._serve()
        bin_folder, missing = python_packages(self._machine, "awscli")
        env = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1"}
        url = f"s3://{BUCKET}/gzl?endpoint={endpoint}"
        aws = [bin_folder / "aws", "s3", "cp", "--endpoint-url", endpoint, "--quiet"]

        def stored(*argv: str | Path) -> float:
            return self._machine.time(*argv, cwd=self._root, **env)

        def stored_anew() -> float:
            stored(*self._argv(DELETE, url), self._digest)
            return stored(*self._argv(PUT, url), self._file)

        def fetched(*argv: str | Path) -> float:
            return self._to(self._got, *argv, **env)

        storing, fetching = ("aws s3 cp, to S3", "aws s3 cp, from S3")
        uploads = {"gzl, to S3": stored_anew}
        downloads = {"gzl, from S3": lambda: fetched(*self._argv(GET, url), self._digest, self._got)}
        if not missing:
            uploads = {storing: lambda: stored(*aws, self._file, f"s3://{BUCKET}/aws/file"), **uploads}
            downloads = {fetching: lambda: fetched(*aws, f"s3://{BUCKET}/aws/file", self._got), **downloads}
        up = in_turns(uploads, self._rounds)
        if not missing:
            self._machine.time(*aws, self._file, f"s3://{BUCKET}/aws/file", cwd=self._root, **env)
        down = in_turns(downloads, self._rounds)
        rows = [*compare(up, next(iter(up)), missing=missing), *compare(down, next(iter(down)))]
        return Table(f"{self._title} on rclone's S3 server, {self._rounds} rounds", rows)

    def remove(self) -> None:
        shutil.rmtree(self._root)

    def _serve(self) -> str:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        (self._root / "s3" / BUCKET).mkdir(parents=True)
        serve = ["serve", "s3", "--config", "/dev/null", "--addr", address, "--auth-key", f"{KEY},{SECRET}"]
        self._machine.start(BIN / "rclone", *serve, self._root / "s3", log=self._root / "rclone.log")
        host, _, port = address.partition(":")
        wait_until(lambda: _listens(host, int(port)), "rclone listens")
        return f"http://{address}"

    def _argv(self, code: str, url: str) -> list[str | Path]:
        return [sys.executable, "-c", _STORE + code, url]

    def _gzl(self, code: str, url: str, *args: str | Path) -> float:
        return self._machine.time(*self._argv(code, url), *args, cwd=self._root, PYTHONPATH=os.fspath(ROOT))

    def _to(self, target: Path, *argv: str | Path, **env: str) -> float:
        target.unlink(missing_ok=True)
        return self._machine.time(*argv, cwd=self._root, PYTHONPATH=os.fspath(ROOT), **env)


def _small(machine: Machine) -> Table:
    rounds = machine.rounds(7, 2)
    root = machine.folder / "small"
    tree, packed, unpacked = root / "tree", root / "packed", root / "unpacked"
    _fill(tree)
    quoted = {
        name: shlex.quote(os.fspath(path)) for name, path in (("tree", tree), ("packed", packed), ("to", unpacked))
    }

    def shell(line: str) -> float:
        return machine.time("sh", "-c", line.format(**quoted))

    def gzl(code: str, *args: Path) -> float:
        return machine.time(sys.executable, "-c", _ARCHIVE + code, *args, cwd=root, PYTHONPATH=os.fspath(ROOT))

    def emptied(measured: Callable[[], float]) -> Callable[[], float]:
        def contestant() -> float:
            shutil.rmtree(unpacked, ignore_errors=True)
            return measured()

        return contestant

    packing = in_turns(
        {
            "tar | zstd": lambda: shell("tar -C {tree} -cf - . | zstd -q > {packed}.tar.zst"),
            "gzl packs": lambda: gzl(PACK, tree, packed),
        },
        rounds,
    )
    unpacking = in_turns(
        {
            "zstd | tar": emptied(lambda: shell("mkdir {to} && zstd -qdc {packed}.tar.zst | tar -C {to} -xf -")),
            "gzl unpacks": emptied(lambda: gzl(UNPACK, packed, unpacked)),
        },
        rounds,
    )
    shutil.rmtree(root)
    rows = [*compare(packing, "tar | zstd"), *compare(unpacking, "zstd | tar")]
    return Table(f"{FILES} small files, {rounds} rounds", rows)


def _fill(tree: Path) -> None:
    """A tree like that of sources: a hundred files to a folder, of 1 KiB or so."""
    chance = random.Random(1)
    words = [chance.randbytes(3).hex() for _ in range(500)]
    for number in range(FILES):
        folder = tree / f"package-{number // 100}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"file-{number}.txt").write_text(" ".join(chance.choices(words, k=chance.randrange(20, 300))))


def _masking(machine: Machine) -> Table:
    rounds = machine.rounds(5, 2)
    chance = random.Random(2)
    lines = [
        f"{chance.randbytes(4).hex()} compiling module_{n}.c: {n} warnings, see /build/{n}/log\n" for n in range(5000)
    ]
    text = "".join(lines).encode()
    pieces = [text[at : at + MIB] for at in range(0, len(text), MIB)] * (100 * MIB // len(text))
    secrets = [chance.randbytes(12).hex().encode() for _ in range(50)]
    size = sum(map(len, pieces))
    rows = []
    for count in (1, 10, 50):
        masker = Masker(secrets[:count])
        timing = in_turns({"masked": lambda masker=masker: timed(lambda: _mask(masker, pieces))}, rounds)["masked"]
        rate = size / timing.median
        shown = f"{rate / 1e6:.0f} MB/s ({_rates(size, timing)})"
        rows.append(Row(f"{count} secrets", shown, "", f"≥ {MASKING / 1e6:.0f} MB/s", rate >= MASKING))
    return Table(f"{size / 1e6:.0f} MB of a log, masked, {rounds} rounds", rows)


def _mask(masker: Masker, pieces: list[bytes]) -> None:
    stream = masker.stream()
    for piece in pieces:
        stream.feed(piece)
    stream.finish()


def _rates(size: int, timing: Timing) -> str:
    return f"{size / max(timing.seconds) / 1e6:.0f}–{size / min(timing.seconds) / 1e6:.0f}"


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 1).close()
    except ConnectionRefusedError:
        return False
    return True
