"""Archives: equal folders are equal bytes, and nothing that an archive holds can reach anywhere but where it is put."""

import gzip
import io
import os
import socket
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from gzl.errors import GzlError, UserError
from gzl.objects import archive
from gzl.objects.members import Source, checked_name, leads_inside

Make = Callable[[tarfile.TarFile], None]


def _tree(root: Path) -> Path:
    (root / "deep/er").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "deep/er/tool").write_bytes(b"#!/bin/sh\n")
    (root / "deep/er/tool").chmod(0o4775)
    (root / "a").write_bytes(b"1" * 512)
    (root / "b").write_bytes(b"")
    (root / ("n" * 120)).write_text("a name that no header has room for")
    (root / "größe \udcff.txt").write_text("a name that is no UTF-8")
    (root / "deep/up").symlink_to("../a")
    (root / "deep/dir").symlink_to("er")
    (root / "dangling").symlink_to("nowhere")
    return root


def _packed(root: Path, *, times: bool = False) -> bytes:
    out = io.BytesIO()
    archive.pack(root, out, times=times)
    return out.getvalue()


def _listing(root: Path) -> dict[str, tuple[str, object]]:
    found: dict[str, tuple[str, object]] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = ("link", os.readlink(path))
        elif path.is_dir():
            found[name] = ("folder", None)
        else:
            found[name] = (oct(path.stat().st_mode & 0o7777), path.read_bytes())
    return found


def _foreign(make: Make) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        make(tar)
    return out.getvalue()


def _add(tar: tarfile.TarFile, name: str, kind: bytes = tarfile.REGTYPE, link: str = "", data: bytes = b"") -> None:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size = kind, link, len(data)
    tar.addfile(member, io.BytesIO(data))


def _unpack(data: bytes, target: Path, **limits: int) -> None:
    archive.unpack(io.BytesIO(data), target, **limits)


def test_what_is_unpacked_is_what_was_packed(tmp_path: Path) -> None:
    root = _tree(tmp_path / "root")
    before = time.time()
    _unpack(_packed(root), tmp_path / "out")
    expected = _listing(root)
    expected["deep/er/tool"] = ("0o755", b"#!/bin/sh\n")
    assert _listing(tmp_path / "out") == expected
    times = {path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert len({*times}) == 1, "no file is older than another"
    assert before - 1 < times.pop() / 1e9 < time.time() + 1
    assert sorted(os.listdir(tmp_path)) == ["out", "root"], "nothing is left beside them"


def test_equal_folders_are_equal_bytes(tmp_path: Path) -> None:
    one, two = _tree(tmp_path / "one"), tmp_path / "two"
    subprocess.run(["cp", "-R", one, two], check=True)
    for path in two.rglob("*"):
        os.utime(path, (1, 1), follow_symlinks=False)
    (two / "a").chmod(0o600)
    assert _packed(one) == _packed(two)


def test_as_many_threads_as_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "large").write_bytes(os.urandom(1 << 20) * 12)
    found = set()
    for threads in (1, 2, 4):
        monkeypatch.setattr(archive, "_THREADS", threads)
        found.add(_packed(tmp_path))
    assert len(found) == 1


def test_tarfile_would_write_the_same(tmp_path: Path) -> None:
    root = _tree(tmp_path / "root")
    plain = io.BytesIO()
    archive.to_plain_tar(io.BytesIO(_packed(root)), plain)
    plain.seek(0)
    again = io.BytesIO()
    with tarfile.open(fileobj=plain) as tar, tarfile.open(fileobj=again, mode="w", format=tarfile.GNU_FORMAT) as copy:
        for member in tar:
            copy.addfile(member, tar.extractfile(member) if member.isreg() else None)
    length = plain.getbuffer().nbytes
    assert again.getvalue()[:length] == plain.getvalue()


def test_tar_reads_it_and_writes_what_repack_reads(tmp_path: Path) -> None:
    root = _tree(tmp_path / "root")
    packed = _packed(root)
    plain = io.BytesIO()
    archive.to_plain_tar(io.BytesIO(packed), plain)
    (tmp_path / "tar").mkdir()
    subprocess.run(["tar", "-x", "-C", tmp_path / "tar"], input=plain.getvalue(), check=True)
    tar = ["tar", "-c", "-C", tmp_path / "tar"]
    for option in ("--format=gnu", "--format=posix", "--format=ustar", "--sparse", "-z"):
        if option == "--format=ustar":
            (tmp_path / "tar" / ("n" * 120)).unlink()
            (root / ("n" * 120)).unlink()
            packed = _packed(root)
        written = subprocess.run([*tar, option, "."], capture_output=True, check=True).stdout
        out = io.BytesIO()
        archive.repack(io.BytesIO(written), out, tmp_path / "tmp")
        assert out.getvalue() == packed, option
    assert os.listdir(tmp_path / "tmp") == []


def test_hard_links_of_a_foreign_tar_become_files(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a").write_text("x")
    os.link(tmp_path / "in/a", tmp_path / "in/b")
    written = subprocess.run(["tar", "-c", "-C", tmp_path / "in", "."], capture_output=True, check=True).stdout
    out = io.BytesIO()
    archive.repack(io.BytesIO(written), out, tmp_path)
    _unpack(out.getvalue(), tmp_path / "out")
    assert (tmp_path / "out/b").read_text() == "x"
    assert (tmp_path / "out/b").stat().st_nlink == 1


def test_times_are_kept_for_caches(tmp_path: Path) -> None:
    (tmp_path / "in/sub").mkdir(parents=True)
    (tmp_path / "in/sub/a").write_text("x")
    os.utime(tmp_path / "in/sub/a", (1_000_000_000, 1_000_000_000.5))
    out = io.BytesIO()
    archive.pack_many(tmp_path / "in", ["sub/a"], out, times=True)
    _unpack(out.getvalue(), tmp_path / "out")
    assert (tmp_path / "out/sub/a").stat().st_mtime == 1_000_000_000


def test_several_names(tmp_path: Path) -> None:
    root = _tree(tmp_path / "root")
    out = io.BytesIO()
    archive.pack_many(root, ["deep/er", "./a/", "deep/er/tool"], out)
    _unpack(out.getvalue(), tmp_path / "out")
    assert sorted(_listing(tmp_path / "out")) == ["a", "deep", "deep/er", "deep/er/tool"]
    for name in ("../x", "/etc", "deep/dir/tool", "not there"):
        with pytest.raises(UserError, match=name.split("/")[-1] if "dir" not in name else "dir"):
            archive.pack_many(root, [name], io.BytesIO())


def test_holes_stay_holes(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with (tmp_path / "in/sparse").open("wb") as file:
        file.truncate(64 << 20)
        file.seek(40 << 20)
        file.write(b"data")
    packed = _packed(tmp_path / "in")
    assert len(packed) < 64 << 10
    _unpack(packed, tmp_path / "out")
    status = (tmp_path / "out/sparse").stat()
    assert status.st_size == 64 << 20
    assert status.st_blocks * 512 <= 2 << 20
    with (tmp_path / "out/sparse").open("rb") as file:
        assert file.seek(40 << 20) and file.read(5) == b"data\0"


def test_what_cannot_be_packed_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for make in (
        lambda path: os.mkfifo(path),
        lambda path: socket.socket(socket.AF_UNIX).bind(str(path)),
        lambda path: path.symlink_to("/etc/passwd"),
        lambda path: path.symlink_to("../../outside"),
    ):
        make(tmp_path / "folder/odd one")
        with pytest.raises(UserError, match="odd one"):
            _packed(tmp_path)
        (tmp_path / "folder/odd one").unlink()
    (tmp_path / "folder/new\nline").touch()
    with pytest.raises(UserError, match=r"new\\\\nline|new\\nline"):
        _packed(tmp_path)


def test_links_that_lead_out_through_one_another(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/here").symlink_to(".")
    (tmp_path / "a/up").symlink_to("here/../..")
    with pytest.raises(UserError, match="up"):
        _packed(tmp_path)


def test_a_file_that_grows_while_it_is_packed(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(os.urandom(1 << 20) * 32)  # more than the compressor holds back

    class Growing(io.BytesIO):
        def write(self, data: bytes) -> int:  # type: ignore[override]
            with (tmp_path / "log").open("ab") as file:
                file.write(b"more")
            return super().write(data)

    with pytest.raises(UserError, match=r"log: changed while"):
        archive.pack(tmp_path, Growing())


HOSTILE: dict[str, tuple[str, Make]] = {
    "absolute": ("/etc/x", lambda tar: _add(tar, "/etc/x")),
    "dots": ("../x", lambda tar: _add(tar, "../x")),
    "dots inside (CVE-2007-4559)": ("a/../../x", lambda tar: _add(tar, "a/../../x")),
    "a link that leads out": ("evil", lambda tar: _add(tar, "evil", tarfile.SYMTYPE, "../../etc/passwd")),
    "an absolute link": ("evil", lambda tar: _add(tar, "evil", tarfile.SYMTYPE, "/etc/passwd")),
    "a file through a link (CVE-2025-62156)": (
        "dir/x",
        lambda tar: (_add(tar, "dir", tarfile.SYMTYPE, "."), _add(tar, "dir/x", data=b"x")),
    ),
    "a link inside of itself": (
        "d/d/x",
        lambda tar: (_add(tar, "d", tarfile.DIRTYPE), _add(tar, "d/d", tarfile.SYMTYPE, ".."), _add(tar, "d/d/x")),
    ),
    "a link in the place of a folder that was": (
        "dir",
        lambda tar: (_add(tar, "dir/x"), _add(tar, "dir", tarfile.SYMTYPE, "other")),
    ),
    "a file, then a link of its name": (
        "x",
        lambda tar: (_add(tar, "x", data=b"x"), _add(tar, "x", tarfile.SYMTYPE, "y")),
    ),
    "twice": ("x", lambda tar: (_add(tar, "x", data=b"1"), _add(tar, "./x", data=b"2"))),
    "in a file": ("x/y", lambda tar: (_add(tar, "x", data=b"1"), _add(tar, "x/y", data=b"2"))),
    "a hard link out": ("x", lambda tar: _add(tar, "x", tarfile.LNKTYPE, "../../etc/passwd")),
    "an absolute hard link": ("x", lambda tar: _add(tar, "x", tarfile.LNKTYPE, "/etc/passwd")),
    "a hard link to a link": (
        "x",
        lambda tar: (_add(tar, "l", tarfile.SYMTYPE, "etc"), _add(tar, "x", tarfile.LNKTYPE, "l")),
    ),
    "a hard link to a file to come": (
        "x",
        lambda tar: (_add(tar, "x", tarfile.LNKTYPE, "y"), _add(tar, "y", data=b"1")),
    ),
    "a device": ("dev", lambda tar: _add(tar, "dev", tarfile.CHRTYPE)),
    "a block device": ("dev", lambda tar: _add(tar, "dev", tarfile.BLKTYPE)),
    "a FIFO": ("fifo", lambda tar: _add(tar, "fifo", tarfile.FIFOTYPE)),
    "a line end": ("a", lambda tar: _add(tar, "a\nb")),
    "a file for the root": (r"\.", lambda tar: _add(tar, ".", data=b"x")),
    "a link for the root": (r"\.", lambda tar: _add(tar, "./", tarfile.SYMTYPE, "etc")),
    # CVE-2025-4517: links through folders with long names, so that realpath gives up before it meets the `..`.
    "a path too long for realpath": ("escape", lambda tar: _too_long(tar)),
    "links around": ("a", lambda tar: (_add(tar, "a", tarfile.SYMTYPE, "b"), _add(tar, "b", tarfile.SYMTYPE, "a"))),
    "a header of gigabytes": ("header", lambda tar: _huge_header(tar)),
    "a negative size (CVE-2025-8194)": ("header", lambda tar: _negative(tar)),
}


def _too_long(tar: tarfile.TarFile) -> None:
    part, path = "d" * 247, ""
    for letter in "abcdefghijklmnop":
        _add(tar, f"{path}{part}", tarfile.DIRTYPE)
        _add(tar, f"{path}{letter}", tarfile.SYMTYPE, part)
        path += f"{part}/"
    steps = "/".join("abcdefghijklmnop")
    _add(tar, "escape", tarfile.SYMTYPE, f"{steps}/{'../' * 17}etc")


def _huge_header(tar: tarfile.TarFile) -> None:
    member = tarfile.TarInfo("././@PaxHeader")
    member.type, member.size = tarfile.XHDTYPE, 8 << 30
    assert tar.fileobj is not None
    tar.fileobj.write(member.tobuf(tarfile.GNU_FORMAT))


def _negative(tar: tarfile.TarFile) -> None:
    member = tarfile.TarInfo("x")
    member.size = -512
    assert tar.fileobj is not None
    tar.fileobj.write(member.tobuf(tarfile.GNU_FORMAT))


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_archives_are_refused_by_name(tmp_path: Path, case: str) -> None:
    named, make = HOSTILE[case]
    data = _foreign(lambda tar: (_add(tar, "harmless", data=b"x"), make(tar))[0])
    target = tmp_path / "some/where/target"
    target.mkdir(parents=True)
    (target / "mine").write_text("mine")
    with pytest.raises(UserError, match=named):
        _unpack(zstandard.compress(data), target)
    with pytest.raises(UserError, match=named):
        archive.repack(io.BytesIO(data), io.BytesIO(), tmp_path / "tmp")
    if "hard link" not in case:
        with pytest.raises(UserError, match=named):
            archive.to_plain_tar(io.BytesIO(zstandard.compress(data)), io.BytesIO())
    assert _listing(target) == {"mine": ("0o644", b"mine")}
    assert {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")} == {
        "tmp", "some", "some/where", "some/where/target", "some/where/target/mine",
    }  # fmt: skip


def test_links_in_the_target_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("theirs")
    target = tmp_path / "target"
    (target / "kept").mkdir(parents=True)
    (target / "kept/file").write_text("kept")
    (target / "file").symlink_to(outside / "file")
    data = _foreign(lambda tar: (_add(tar, "file", data=b"new"), _add(tar, "kept/new", data=b"n"))[0])
    _unpack(zstandard.compress(data), target)
    assert (outside / "file").read_text() == "theirs"
    assert _listing(target) == {
        "file": ("0o644", b"new"), "kept": ("folder", None), "kept/file": ("0o644", b"kept"),
        "kept/new": ("0o644", b"n"),
    }  # fmt: skip

    (target / "link").symlink_to(outside)
    for name, wrong in (("link/file", "link"), ("kept/file/x", "kept/file"), ("kept", "kept")):
        with pytest.raises(UserError, match=f"{wrong}: is .*remove it"):
            _unpack(zstandard.compress(_foreign(lambda tar, name=name: _add(tar, name, data=b"x"))), target)
    (tmp_path / "to").symlink_to(outside)
    with pytest.raises(UserError, match="remove it"):
        _unpack(zstandard.compress(data), tmp_path / "to")
    assert _listing(outside) == {"file": ("0o644", b"theirs")}


def test_only_gaps_are_filled(tmp_path: Path) -> None:
    target = tmp_path / "target"
    (target / "both").mkdir(parents=True)
    (target / "both/file").write_text("mine")
    (target / "link").symlink_to("both")
    names = ("both/file", "both/new", "link/file", "new/file")
    data = zstandard.compress(_foreign(lambda tar: [_add(tar, name, data=b"theirs") for name in names] and None))
    archive.unpack(io.BytesIO(data), target, replace=False)
    assert {name: found[1] for name, found in _listing(target).items() if found[0] != "folder"} == {
        "both/file": b"mine", "both/new": b"theirs", "link": "both", "new/file": b"theirs",
    }  # fmt: skip


def test_bombs(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with (tmp_path / "in/zeros").open("wb") as file:
        file.truncate(20 << 20)
    with pytest.raises(UserError, match="holds more than 1048576 bytes"):
        _unpack(_packed(tmp_path / "in"), tmp_path / "out", max_bytes=1 << 20)
    sparse = subprocess.run(["tar", "-cS", "-C", tmp_path / "in", "."], capture_output=True, check=True).stdout
    with pytest.raises(UserError, match="holds more than"):
        archive.repack(io.BytesIO(sparse), io.BytesIO(), tmp_path, max_bytes=1 << 20)
    folders = _foreign(lambda tar: [_add(tar, str(n), tarfile.DIRTYPE) for n in range(100)] and None)
    with pytest.raises(UserError, match="holds more than"):
        _unpack(zstandard.compress(folders), tmp_path / "out", max_bytes=20_000)
    assert not (tmp_path / "out").exists()


def test_damaged_archives(tmp_path: Path) -> None:
    packed = _packed(_tree(tmp_path / "root"))
    plain = io.BytesIO()
    archive.to_plain_tar(io.BytesIO(packed), plain)
    whole = plain.getvalue()
    for data in (
        b"",
        b"no archive",
        packed[:-7],
        packed[: len(packed) // 2],
        packed + b"x",
        zstandard.compress(whole + b"x"),
        zstandard.compress(whole[:-1024]),
        zstandard.compress(whole[: len(whole) // 2]),
        zstandard.compress(whole.replace(b"1" * 512, b"1" * 511)),
    ):
        with pytest.raises(UserError):
            _unpack(data, tmp_path / "out")
        with pytest.raises(UserError):
            archive.to_plain_tar(io.BytesIO(data), io.BytesIO())
    for data in (b"", b"no archive", gzip.compress(whole)[:-20], whole[:700]):
        with pytest.raises(UserError):
            archive.repack(io.BytesIO(data), io.BytesIO(), tmp_path / "tmp")
    assert not (tmp_path / "out").exists()


@settings(max_examples=50)
@given(st.binary(max_size=200), st.integers(0, 2000), st.integers(1, 255))
def test_any_flipped_byte(tmp_path_factory: pytest.TempPathFactory, rest: bytes, place: int, flip: int) -> None:
    data = bytearray(_foreign(lambda tar: (_add(tar, "a", data=rest), _add(tar, "b/c", data=b"x"))[0]))
    data[place] ^= flip
    outer = tmp_path_factory.mktemp("flipped")
    try:
        archive.unpack(io.BytesIO(zstandard.compress(bytes(data))), outer / "target")
    except GzlError:
        assert os.listdir(outer) == []
    else:
        assert os.listdir(outer) == ["target"]


def test_names_and_links() -> None:
    assert checked_name("./a//b/./c/") == "a/b/c"
    assert checked_name("./") == ""
    assert checked_name("..a/b..") == "..a/b.."
    for name in ("a/..", "/a", "a\0b", "a\x7f", "a/\n"):
        with pytest.raises(UserError):
            checked_name(name)
    links = {"a/up": "..", "loop": "loop", "far": "a/up/../x", "ok": "a/up/b"}
    assert leads_inside("a/up", "..", links)
    assert leads_inside("ok", "a/up/b", links)
    assert not leads_inside("far", "a/up/../x", links)
    assert not leads_inside("loop", "loop", links)
    assert not leads_inside("empty", "", links)


def test_a_source_only_goes_forwards() -> None:
    source = Source(io.BytesIO(b"x" * 100), "archive", 100)
    source.read(50)
    with pytest.raises(UserError):
        source.seek(10)
