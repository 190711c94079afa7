"""The commands around the store, as people run them: what they say, and their exit status."""

import subprocess
from pathlib import Path

import pytest
from store_world import commit, git, isolate, job, repository

from gzl.git.repo import Repo
from gzl.notes import store


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    isolate(monkeypatch, tmp_path)
    made = repository(tmp_path / "repo", name="me")
    store.record(made, "me", job(1, "me", commit(tmp_path / "repo")))
    return made


def gzl(repo: Repo, *args: str) -> tuple[int, str]:
    done = subprocess.run(
        ["gzl", "-C", str(repo.worktree), *args],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def test_fsck_says_what_is_wrong_and_mends_it(repo: Repo) -> None:
    assert gzl(repo, "fsck") == (0, "all is well\n")
    git(repo.common_dir, "update-ref", "-d", "refs/notes/gzl")
    status, said = gzl(repo, "fsck")
    assert status == 1
    assert "wrong   refs/notes/gzl: does not exist; `gzl fsck --repair` makes it" in said
    status, said = gzl(repo, "fsck", "--repair")
    assert (status, said.splitlines()[-1]) == (0, "all is well")
    assert "mended  " in said
    assert gzl(repo, "fsck") == (0, "all is well\n")
    blob = git(repo.common_dir, "hash-object", "-w", "--stdin", stdin="x")
    git(repo.common_dir, "update-ref", "refs/gzl/remotes/r/ledger/x", blob)
    assert gzl(repo, "fsck", "--repair")[0] == 1, "what is not derived cannot be mended"


def test_reindex_counts(repo: Repo) -> None:
    assert gzl(repo, "reindex") == (0, "1 job in 1 ledger\n")


def test_sync_says_what_it_did(repo: Repo, tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--bare", "remote")
    git(repo.common_dir, "remote", "add", "origin", str(tmp_path / "remote"))
    assert gzl(repo, "sync") == (0, "origin: nothing new fetched, own results pushed\n")
    assert gzl(repo, "sync") == (0, "origin: nothing new fetched, nothing to push\n")
    (tmp_path / "remote").rename(tmp_path / "gone")
    status, said = gzl(repo, "sync", "origin")
    assert status == 75
    assert "origin: cannot be reached" in said
    assert gzl(repo, "sync", "nowhere")[0] == 2


def test_a_clone_that_is_not_set_up_is_told_how(tmp_path: Path, repo: Repo) -> None:
    git(tmp_path, "init", "--quiet", "other")
    for command in ("list", "show", "fsck", "sync", "reindex"):
        done = subprocess.run(["gzl", command], cwd=tmp_path / "other", capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "gzl init" in done.stderr
