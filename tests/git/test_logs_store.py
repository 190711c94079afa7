"""Logs go in and come out again, byte for byte, wherever they are kept."""

import hashlib
import itertools
import os
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard
from store_world import git, isolate, job, repository, set_up, with_log

from gzl.errors import UserError
from gzl.git.repo import Repo
from gzl.kit.mask import Masker
from gzl.logs import check, gather
from gzl.logs import store as log_store
from gzl.logs.frames import FRAME
from gzl.model.record import JobRecord, LogRef
from gzl.notes import store, sync
from gzl.objects import opening
from gzl.objects.base import ObjectStore
from gzl.records import retired

NOTHING = Masker([])


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    isolate(monkeypatch, tmp_path)
    return repository(tmp_path / "repo", name="me")


def objects(repo: Repo) -> ObjectStore:
    return opening.of(repo, {})


def keep(
    repo: Repo, path: Path, data: bytes, masker: Masker = NOTHING, number: int = 1
) -> tuple[JobRecord, LogRef, bytes | None]:
    path.write_bytes(data)
    kept = log_store.keep(path, masker, lambda: objects(repo))
    record = with_log(job(number, "me"), kept.log)
    logs = {} if kept.blob is None else {log_store.name("build", 1): kept.blob}
    assert store.record(repo, "me", record, logs=logs)
    return record, kept.log, kept.blob


def read(repo: Repo, record: JobRecord, offset: int = 0) -> bytes:
    with log_store.open_log(repo, record, "build", 1, lambda: objects(repo), offset=offset) as file:
        return file.read()


@pytest.mark.parametrize("data", [b"", b"hello\n", b"x" * (15 << 20), bytes(range(256))])
def test_what_compresses_well_is_in_git(repo: Repo, tmp_path: Path, data: bytes) -> None:
    record, ref, compressed = keep(repo, tmp_path / "log", data)
    assert ref == LogRef(len(data), hashlib.sha256(data).hexdigest(), "ref")
    assert (compressed is None) == (not data), "an empty log needs no blob"
    assert len(compressed or b"") <= 1 << 20
    assert read(repo, record) == data
    assert read(repo, record, 3) == data[3:]


@pytest.mark.parametrize("data", [os.urandom(3 << 19), b"x" * ((16 << 20) + 1)], ids=["noise", "long"])
def test_what_does_not_is_an_object(repo: Repo, tmp_path: Path, data: bytes) -> None:
    record, ref, compressed = keep(repo, tmp_path / "log", data)
    assert (ref.store, ref.bytes, compressed) == ("object", len(data), None)
    assert ref.sha256 == hashlib.sha256(data).hexdigest()
    (tmp_path / "log").unlink()
    assert read(repo, record) == data
    for offset in (1, FRAME - 1, FRAME, FRAME + 1, len(data) - 1):
        assert read(repo, record, offset) == data[offset:], offset
    assert read(repo, record, len(data)) == b""
    assert [path.name for path in repo.layout.objects.glob("log-*")] == []
    object_path = repo.layout.objects / "sha256" / ref.object[:2] / ref.object[2:]
    plain = zstandard.ZstdDecompressor().stream_reader(object_path.read_bytes(), read_across_frames=True).read()
    assert plain == data, "any zstd reads it"


def test_doing_it_again_after_a_crash_is_safe(repo: Repo, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(os.urandom(2 << 20))
    first = log_store.keep(path, NOTHING, lambda: objects(repo))
    assert log_store.keep(path, NOTHING, lambda: objects(repo)) == first
    assert len(list(objects(repo).list())) == 1


@pytest.mark.parametrize("filling", [b"", os.urandom(3 << 19)], ids=["small", "large"])
def test_no_secret_is_stored(repo: Repo, tmp_path: Path, filling: bytes) -> None:
    masker = Masker([b"correct horse", b"battery staple"])
    data = b"one correct horse\n" + filling + b"two\nbattery staple and battery stapl"
    record, ref, _ = keep(repo, tmp_path / "log", data, masker)
    assert read(repo, record) == b"one ***\n" + filling + b"two\n*** and battery stapl"
    assert ref.bytes == len(read(repo, record))
    assert list(check.problems(repo, "me", [record], lambda: objects(repo))) == []


def test_places_move_with_what_is_masked(tmp_path: Path) -> None:
    lines = [b"password1234\n", b"plain\n", b"a password1234 b\n", b"end\n"]
    places = [0, *itertools.accumulate(map(len, lines))]
    (tmp_path / "log").write_bytes(b"".join(lines))
    (tmp_path / "log.t").write_text("".join(f"{place} {place * 1000}\n" for place in places[1:]))
    kept = gather.attempt(tmp_path, "build", 1, Masker([b"password1234"]), lambda: pytest.fail("small"), places)
    assert [kept.moved.at(place) for place in places] == [0, 4, 10, 18, 22]
    assert kept.log is not None and kept.log.bytes == 22
    noted = zlib.decompress(kept.files["build.1.times.zz"]).splitlines()
    assert noted == [b"4 13000", b"10 19000", b"18 36000", b"22 40000"]


@pytest.mark.parametrize("name", ["log", "log.t"])
def test_what_a_workload_put_in_its_place_is_not_stored(repo: Repo, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("root")
    (tmp_path / "log").write_text("line\n")
    (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / name).symlink_to(tmp_path / "secret")
    kept = gather.attempt(tmp_path, "build", 1, NOTHING, lambda: objects(repo))
    assert f"{name}: was replaced" in kept.problem
    assert (kept.log is None) == (name == "log"), "a log without times is still a log"
    assert all(b"root" not in zlib.decompress(data) for data in kept.files.values())


def test_logs_of_older_versions_are_files(repo: Repo) -> None:
    digest = hashlib.sha256(b"old\n").hexdigest()
    record = with_log(job(1, "me"), LogRef(4, digest, "file"))
    with pytest.raises(UserError, match="is missing"):
        read(repo, record)
    path = log_store.file_path(repo, digest)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"old\n")
    assert read(repo, record, 1) == b"ld\n"
    assert list(check.problems(repo, "me", [record], lambda: objects(repo))) == []
    path.write_bytes(b"new\n")
    assert "was changed" in next(check.problems(repo, "me", [record], lambda: objects(repo)))


def test_a_missing_object_is_corruption_unless_retention_took_it(repo: Repo, tmp_path: Path) -> None:
    record, ref, _ = keep(repo, tmp_path / "log", os.urandom(3 << 19))
    objects(repo).delete(ref.object)
    with pytest.raises(UserError, match="is not in fs:"):
        read(repo, record)
    assert "is missing" in next(check.problems(repo, "me", [record], lambda: objects(repo)))
    retired.add(repo.layout, [record.id])
    for offset in (0, 5):
        with pytest.raises(UserError, match="removed by retention"):
            read(repo, record, offset)
    assert list(check.problems(repo, "me", [record], lambda: objects(repo))) == []


def test_a_damaged_object_is_found(repo: Repo, tmp_path: Path) -> None:
    record, ref, _ = keep(repo, tmp_path / "log", os.urandom(3 << 19))
    path = repo.layout.objects / "sha256" / ref.object[:2] / ref.object[2:]
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1])
    assert "is damaged" in next(check.problems(repo, "me", [record], lambda: objects(repo)))


def test_other_clones_have_the_small_ones(repo: Repo, tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--bare", "remote")
    for place in (repo.common_dir,):
        git(place, "remote", "add", "origin", str(tmp_path / "remote"))
    record, _, _ = keep(repo, tmp_path / "log", b"hello\n")
    git(tmp_path, "clone", "--quiet", "remote", "other")
    other = set_up(tmp_path / "other", "other")
    with pytest.raises(UserError, match="gzl sync"):
        read(other, record)
    sync.sync(repo, "origin", "host")
    sync.sync(other, "origin", "host")
    assert read(other, record) == b"hello\n"


def test_what_is_not_here_is_said(repo: Repo, tmp_path: Path) -> None:
    record, ref, _ = keep(repo, tmp_path / "log", b"hello\n")
    far = with_log(job(2, "elsewhere"), replace(ref, store="object", object="e" * 64))
    for asked, stage, attempt, said in (
        (far, "build", 1, "on the machine of elsewhere"),
        (record, "deploy", 1, "there were 0 attempts"),
        (record, "biuld", 1, "it has build, deploy, test"),
        (record, "build", 2, "there were 1 attempts"),
        (job(3, "me"), "build", 1, "has no log"),
        (with_log(job(4, "me"), ref), "build", 1, "not whole"),
    ):
        with pytest.raises(UserError, match=said):
            log_store.open_log(repo, asked, stage, attempt, lambda: objects(repo))


def test_a_bomb_is_cut_off() -> None:
    assert len(log_store.decompressed(zlib.compress(b"x" * (64 << 20)))) == log_store.MAX_TRIED
