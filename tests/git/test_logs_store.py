"""Logs go in and come out again, byte for byte, wherever they are kept."""

import hashlib
import os
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from store_world import git, isolate, job, repository, set_up, with_log

from gzl.errors import UserError
from gzl.git.repo import Repo
from gzl.logs import store as log_store
from gzl.model.record import JobRecord, LogRef
from gzl.notes import store, sync


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    isolate(monkeypatch, tmp_path)
    return repository(tmp_path / "repo", name="me")


def keep(repo: Repo, path: Path, data: bytes) -> tuple[JobRecord, LogRef, bytes | None]:
    path.write_bytes(data)
    ref, compressed = log_store.store(repo, path)
    record = with_log(job(1, "me"), ref)
    logs = {} if compressed is None else {log_store.name("build", 1): compressed}
    assert store.record(repo, "me", record, logs=logs)
    return record, ref, compressed


@pytest.mark.parametrize("data", [b"", b"hello\n", b"x" * (15 << 20), bytes(range(256))])
def test_what_compresses_well_is_in_git(repo: Repo, tmp_path: Path, data: bytes) -> None:
    record, ref, compressed = keep(repo, tmp_path / "log", data)
    assert ref == LogRef(len(data), hashlib.sha256(data).hexdigest(), "ref")
    assert (compressed is None) == (not data), "an empty log needs no blob"
    assert len(compressed or b"") <= 1 << 20
    with log_store.open_log(repo, record, "build", 1) as file:
        assert file.read() == data


@pytest.mark.parametrize("data", [os.urandom(3 << 19), b"x" * ((16 << 20) + 1)], ids=["noise", "long"])
def test_what_does_not_is_a_file(repo: Repo, tmp_path: Path, data: bytes) -> None:
    record, ref, compressed = keep(repo, tmp_path / "log", data)
    assert (ref.store, compressed) == ("file", None)
    (tmp_path / "log").unlink()
    with log_store.open_log(repo, record, "build", 1) as file:
        file.seek(len(data) - 1)
        assert file.read() == data[-1:]


def test_doing_it_again_after_a_crash_is_safe(repo: Repo, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(os.urandom(2 << 20))
    first = log_store.store(repo, path)
    assert log_store.store(repo, path) == first
    assert list(repo.layout.logs.glob("*/.*")) == []


def test_other_clones_have_the_small_ones(repo: Repo, tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--bare", "remote")
    for place in (repo.common_dir,):
        git(place, "remote", "add", "origin", str(tmp_path / "remote"))
    record, _, _ = keep(repo, tmp_path / "log", b"hello\n")
    git(tmp_path, "clone", "--quiet", "remote", "other")
    other = set_up(tmp_path / "other", "other")
    with pytest.raises(UserError, match="gzl sync"):
        log_store.open_log(other, record, "build", 1)
    sync.sync(repo, "origin", "host")
    sync.sync(other, "origin", "host")
    assert log_store.open_log(other, record, "build", 1).read() == b"hello\n"


def test_what_is_not_here_is_said(repo: Repo, tmp_path: Path) -> None:
    record, ref, _ = keep(repo, tmp_path / "log", b"hello\n")
    far = with_log(job(2, "elsewhere"), replace(ref, store="file"))
    for asked, stage, attempt, said in (
        (far, "build", 1, "on the machine of elsewhere"),
        (record, "deploy", 1, "there were 0 attempts"),
        (record, "biuld", 1, "it has build, deploy, test"),
        (record, "build", 2, "there were 1 attempts"),
        (job(3, "me"), "build", 1, "has no log"),
        (with_log(job(4, "me"), ref), "build", 1, "not whole"),
    ):
        with pytest.raises(UserError, match=said):
            log_store.open_log(repo, asked, stage, attempt)


def test_a_bomb_is_cut_off() -> None:
    assert len(log_store.decompressed(zlib.compress(b"x" * (64 << 20)))) == log_store.MAX_TRIED
