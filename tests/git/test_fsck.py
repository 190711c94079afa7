"""Each fault that can be, found and, where it is derived from the ledgers, mended."""

import os
import sqlite3
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from store_world import T0, commit, git, isolate, job, note_paths, notes_by_git, repository, with_log

from gzl.git import trees
from gzl.git.refs import ANY, RefUpdate, transaction
from gzl.git.repo import Repo
from gzl.kit.mask import Masker
from gzl.logs import check as logs_check
from gzl.logs import store as log_store
from gzl.model.record import JobRecord, to_json
from gzl.model.refs import job_path
from gzl.notes import follow, fsck, store, text
from gzl.notes.index import open_index
from gzl.objects import opening

NOW = T0 + 10_000


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    """A repository with two jobs, one of a real commit."""
    isolate(monkeypatch, tmp_path)
    made = repository(tmp_path / "repo", name="me")
    store.record(made, "me", job(1, "me", commit(tmp_path / "repo")))
    store.record(made, "me", job(2, "me", "ab" * 20))
    return made


def problems(repo: Repo) -> list[str]:
    return [str(problem) for problem in fsck.check(repo, NOW)[0]]


def mended(repo: Repo) -> list[str]:
    found, _ = fsck.check(repo, NOW)
    fsck.mend(repo, found, NOW)
    return problems(repo)


def held_by(repo: Repo, ref: str, files: dict[str, bytes]) -> None:
    objects = trees.open(repo.common_dir)
    base = trees.tree_of(objects, trees.tip(objects, ref))
    made = trees.commit(objects, trees.write_files(objects, base, files), [], author="x", time=1, message="x")
    transaction(repo, [RefUpdate(ref, str(made), ANY)])


def place(record: JobRecord) -> str:
    return f"{job_path(record.id)}/job.json"


def lost_note(repo: Repo) -> None:
    held_by(repo, "refs/notes/gzl", {"ab/" + "ab" * 19: None})


def false_line(repo: Repo) -> None:
    forged = "\n".join(text.render(job(7, "mallory")))
    git(repo.common_dir, "notes", "--ref=gzl", "append", "-m", forged, "HEAD")


def changed_line(repo: Repo) -> None:
    note = notes_by_git(repo.common_dir)["ab" * 20].replace("passed", "failed")
    held_by(repo, "refs/notes/gzl", {"ab/" + "ab" * 19: note.encode()})


def flat_and_fanned(repo: Repo) -> None:
    held_by(repo, "refs/notes/gzl", {"ab" * 20: b"a remark\n"})


def stale_live(repo: Repo) -> None:
    head = git(repo.common_dir, "rev-parse", "HEAD")
    done = git(repo.common_dir, "ls-tree", "-r", "--name-only", "refs/gzl/ledger/me").splitlines()[0]
    git(repo.common_dir, "update-ref", f"refs/gzl/live/{done.removesuffix('/job.json').replace('/', '')}", head)


def last_is_gone(repo: Repo) -> None:
    path = repo.common_dir / "refs/gzl/last/build/main"
    path.parent.mkdir(parents=True)
    path.write_text("1" * 40 + "\n")


def old_lock(repo: Repo) -> None:
    for lock in (repo.common_dir / "refs/notes/gzl.lock", repo.common_dir / "refs/gzl/ledger/me.lock"):
        lock.touch()
        os.utime(lock, (T0, T0))


def no_notes(repo: Repo) -> None:
    git(repo.common_dir, "update-ref", "-d", "refs/notes/gzl")


def wrong_index(repo: Repo) -> None:
    open_index(repo).close()
    connection = sqlite3.connect(repo.layout.index)
    connection.execute("DELETE FROM jobs")
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (lost_note, "lacks"),
        (false_line, "no ledger that counts says"),
        (changed_line, "lacks"),
        (flat_and_fanned, "there twice"),
        (stale_live, "is recorded"),
        (last_is_gone, "names no commit"),
        (old_lock, "a git that crashed"),
        (no_notes, "does not exist"),
        (wrong_index, "differs from the ledgers"),
    ],
)
def test_what_is_derived_is_mended(repo: Repo, fault: Callable[[Repo], None], said: str) -> None:
    head = git(repo.common_dir, "rev-parse", "HEAD")
    note = notes_by_git(repo.common_dir)[head] + "\nreviewed by a person\n"
    held_by(repo, "refs/notes/gzl", {f"{head[:2]}/{head[2:]}": note.encode()})
    assert problems(repo) == []
    fault(repo)
    assert any(said in problem for problem in problems(repo))
    assert mended(repo) == []
    noted = notes_by_git(repo.common_dir)
    assert fault is no_notes or "reviewed by a person" in noted[head]
    assert all(path[2] == "/" for path in note_paths(repo.common_dir))
    if fault is flat_and_fanned:
        assert noted["ab" * 20].splitlines()[-1] == "a remark"
    git(repo.common_dir, "fsck", "--strict")


@pytest.mark.parametrize("data", [b"no json", to_json(job(3, "other")), b"{}"])
def test_ledger_entries_that_are_not_to_be_believed_are_told(repo: Repo, data: bytes) -> None:
    held_by(repo, "refs/gzl/remotes/origin/ledger/other", {place(job(9, "other")): data})
    assert any("is ignored; tell who runs 'other'" in problem for problem in problems(repo))
    assert any("is ignored" in problem for problem in mended(repo)), "a ledger is never changed"


def test_ledgers_that_contradict_each_other_are_told(repo: Repo) -> None:
    mine = job(5, "me")
    store.record(repo, "me", mine)
    held_by(repo, "refs/gzl/remotes/origin/ledger/other", {place(mine): to_json(replace(mine, reason="no"))})
    assert any("say different things" in problem for problem in problems(repo))


def test_a_servers_notes_come_from_trusted_ledgers_alone(repo: Repo) -> None:
    store.seed(repo, "me", server=True)
    theirs = job(6, "ann", "ab" * 20)
    held_by(repo, "refs/gzl/ledger/ann", {place(theirs): to_json(theirs)})
    assert problems(repo) == []
    git(repo.common_dir, "config", "--add", "gzl.trust", "ann")
    assert any("lacks" in problem for problem in problems(repo))
    assert mended(repo) == []
    assert theirs.id in notes_by_git(repo.common_dir)["ab" * 20]
    git(repo.common_dir, "config", "--unset", "gzl.trust")
    assert mended(repo) == []
    assert theirs.id not in notes_by_git(repo.common_dir)["ab" * 20]


def test_lines_that_came_with_notes_of_others_stay(repo: Repo) -> None:
    theirs = job(6, "ann", "ab" * 20)
    note = text.encoded(text.render(theirs))
    held_by(repo, "refs/gzl/remotes/origin/notes/gzl", {"ab/" + "ab" * 19: note})
    git(
        repo.common_dir, "notes", "--ref=gzl", "merge", "-q", "-s", "cat_sort_uniq", "refs/gzl/remotes/origin/notes/gzl"
    )
    assert mended(repo) == []
    assert theirs.id in notes_by_git(repo.common_dir)["ab" * 20]


def test_a_followers_mirror_is_left_alone(repo: Repo, tmp_path: Path) -> None:
    git(repo.common_dir, "remote", "add", "origin", str(tmp_path / "server"))
    follow.configure(repo, "origin")
    held_by(repo, "refs/notes/gzl", {"cd/" + "cd" * 19: b"from the server\n", "ab/" + "ab" * 19: None})
    before = notes_by_git(repo.common_dir)
    assert problems(repo) == []
    held_by(repo, "refs/notes/gzl-local", {"ab/" + "ab" * 19: None})
    assert mended(repo) == []
    assert notes_by_git(repo.common_dir) == before
    assert "ab" * 20 in notes_by_git(repo.common_dir, "refs/notes/gzl-local")


def test_missing_commits_are_no_news_in_a_shallow_clone(repo: Repo) -> None:
    last_is_gone(repo)
    (repo.common_dir / "shallow").write_text(git(repo.common_dir, "rev-parse", "HEAD") + "\n")
    assert problems(repo) == []


class TestLogs:
    def kept(self, repo: Repo, tmp_path: Path, data: bytes, number: int = 20) -> JobRecord:
        path = tmp_path / "log"
        path.write_bytes(data)
        kept = log_store.keep(path, Masker([]), lambda: opening.of(repo, {}))
        record = with_log(job(number, "me"), kept.log)
        logs = {} if kept.blob is None else {log_store.name("build", 1): kept.blob}
        store.record(repo, "me", record, logs=logs)
        return record

    def wrong(self, repo: Repo) -> list[str]:
        records = [one.record for one in fsck.check(repo, NOW)[1]]
        return list(logs_check.problems(repo, "me", records, lambda: opening.of(repo, {})))

    def test_all_is_well(self, repo: Repo, tmp_path: Path) -> None:
        self.kept(repo, tmp_path, b"small")
        self.kept(repo, tmp_path, os.urandom(2 << 20), 21)
        assert self.wrong(repo) == []

    def test_a_large_log_that_is_gone_or_changed(self, repo: Repo, tmp_path: Path) -> None:
        record = self.kept(repo, tmp_path, os.urandom(2 << 20))
        log = record.stages["build"].attempts[0].log
        assert log is not None
        path = repo.layout.objects / "sha256" / log.object[:2] / log.object[2:]
        path.chmod(0o600)
        path.write_bytes(b"other")
        assert any("is damaged" in problem for problem in self.wrong(repo))
        path.unlink()
        assert any("is missing" in problem for problem in self.wrong(repo))

    def test_a_small_log_that_is_gone_or_changed(self, repo: Repo, tmp_path: Path) -> None:
        record = self.kept(repo, tmp_path, b"small")
        path = f"{job_path(record.id)}/{log_store.name('build', 1)}"
        held_by(repo, "refs/gzl/logs/me/2026-09", {path: zlib.compress(b"other")})
        assert any("other bytes" in problem for problem in self.wrong(repo))
        held_by(repo, "refs/gzl/logs/me/2026-09", {path: None, "x": b"y"})
        assert any("is missing from" in problem for problem in self.wrong(repo))

    def test_a_month_that_was_dropped(self, repo: Repo, tmp_path: Path) -> None:
        self.kept(repo, tmp_path, b"small")
        git(repo.common_dir, "update-ref", "-d", "refs/gzl/logs/me/2026-09")
        assert self.wrong(repo) == []
