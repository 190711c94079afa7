"""Results written by many at once, by processes that die, beside a git that knows nothing of gzl: none is lost."""

import multiprocessing
import threading
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from store_world import T0, commit, git, isolate, job, note_paths, notes_by_git, repository, set_up

from gzl.errors import UserError
from gzl.git.maintenance import maybe_gc
from gzl.git.refs import ANY, RefChanged, RefUpdate, read
from gzl.git.repo import Repo, open_repo
from gzl.model.record import JobRecord
from gzl.model.result import State
from gzl.notes import ledger, store, text, writer
from gzl.notes.store import StaleLease


@pytest.fixture(autouse=True)
def _own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    isolate(monkeypatch, tmp_path)


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return repository(tmp_path / "repo", name="me")


def test_a_record_its_note_its_logs_and_its_refs_appear_together(repo: Repo) -> None:
    work = repo.worktree
    assert work is not None
    noted = commit(work)
    done = job(1, "me", noted)
    last = RefUpdate("refs/gzl/last/build/main", noted, ANY)
    assert store.record(repo, "me", done, logs={"build.1.log.zz": b"log"}, refs=[last])
    assert ledger.read_job(repo, done.id) == done
    assert git(work, "log", "--notes=gzl", "-1", "--format=%N").splitlines() == text.render(done)
    assert note_paths(work) == [f"{noted[:2]}/{noted[2:]}"], "fanned out from the first note"
    place = f"{done.id[:4]}/{done.id[4]}/{done.id[5:]}"
    assert git(work, "cat-file", "blob", f"refs/gzl/logs/me/2026-09:{place}/build.1.log.zz") == "log"
    assert read(repo, "refs/gzl/last") == {"refs/gzl/last/build/main": noted}
    assert git(work, "rev-list", "--count", "refs/gzl/ledger/me") == "2", "the seed, and one commit for the job"


def test_a_second_time_changes_nothing(repo: Repo) -> None:
    done = job(1, "me")
    assert store.record(repo, "me", done)
    before = read(repo, "refs")
    assert not store.record(
        repo, "me", replace(done, state=State.FAILED), refs=[RefUpdate("refs/gzl/x", "1" * 40, None)]
    )
    store.seed(repo, "me", server=False)
    assert read(repo, "refs") == before
    assert store.recorded(repo, "me", done.id)


def test_who_lost_the_lease_is_refused(repo: Repo) -> None:
    before = read(repo, "refs")
    with pytest.raises(StaleLease):
        store.record(repo, "me", job(1, "me"), still_mine=lambda: False)
    assert read(repo, "refs") == before


def test_what_the_caller_expects_is_not_retried(repo: Repo) -> None:
    before = read(repo, "refs")
    with pytest.raises(RefChanged, match="refs/gzl/x"):
        store.record(repo, "me", job(1, "me"), refs=[RefUpdate("refs/gzl/x", None, "1" * 40)])
    assert read(repo, "refs") == before


def test_notes_of_a_plain_git_are_kept_and_moved(repo: Repo) -> None:
    work = repo.worktree
    assert work is not None
    first, second = commit(work, "1"), commit(work, "2")
    git(work, "notes", "--ref=gzl", "add", "-m", "reviewed by a person", first)
    git(work, "notes", "--ref=gzl", "add", "-m", "fine", second)
    done = job(1, "me", first)
    store.record(repo, "me", done)
    assert notes_by_git(work)[first].splitlines() == [*text.render(done), "reviewed by a person"]
    assert notes_by_git(work)[second] == "fine"
    assert all(path[2] == "/" for path in note_paths(work))


def _record(work: Path, numbers: range, together: Barrier) -> None:
    repo = open_repo(work)
    together.wait()
    for number in numbers:
        assert store.record(repo, "me", job(number, "me", f"{number % 7:040x}"))


def test_32_processes_lose_nothing(repo: Repo) -> None:
    work, each = repo.worktree, 3
    assert work is not None
    context = multiprocessing.get_context("fork")
    together = context.Barrier(32)
    processes = [
        context.Process(target=_record, args=(work, range(n * each, n * each + each), together)) for n in range(32)
    ]
    for process in processes:
        process.start()
    stop = threading.Event()

    def annoy() -> None:  # a git that moves the notes ref without asking for gzl's lock
        while not stop.wait(0.03):
            old = git(work, "rev-parse", "refs/notes/gzl")
            new = git(work, "commit-tree", "-p", old, "-m", "annoying", f"{old}^{{tree}}")
            git(work, "update-ref", "refs/notes/gzl", new, old, ok=False)

    annoying = threading.Thread(target=annoy)
    annoying.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    stop.set()
    annoying.join()
    jobs = git(work, "ls-tree", "-r", "--name-only", "refs/gzl/ledger/me").splitlines()
    assert len(jobs) == len(set(jobs)) == 32 * each
    noted = notes_by_git(work)
    lines = [line for one in noted.values() for line in one.splitlines() if line[26] == " "]
    assert len(lines) == len(set(lines)) == 32 * each
    assert git(work, "rev-list", "--count", "refs/gzl/ledger/me") == str(1 + 32 * each)
    git(work, "fsck", "--strict")


def test_a_gc_beside_it_loses_nothing(repo: Repo) -> None:
    work = repo.worktree
    assert work is not None
    stop = threading.Event()

    def collect() -> None:
        while not stop.is_set():
            git(work, "gc", "--quiet", ok=False)

    collecting = threading.Thread(target=collect)
    collecting.start()
    try:
        for number in range(60):
            assert store.record(repo, "me", job(number, "me", f"{number % 7:040x}"))
    finally:
        stop.set()
        collecting.join()
    assert len(git(work, "ls-tree", "-r", "--name-only", "refs/gzl/ledger/me").splitlines()) == 60
    git(work, "fsck", "--strict")


def test_worktrees_bare_and_odd_folders(tmp_path: Path, repo: Repo) -> None:
    work = repo.worktree
    assert work is not None
    commit(work)
    git(work, "worktree", "add", "--quiet", "--detach", '../it\'s "linked"\n$(here)')
    linked = open_repo(tmp_path / 'it\'s "linked"\n$(here)')
    bare = repository(tmp_path / "bare 'one' $(x).git", "--bare", name="server", server=True)
    for number, place in enumerate((repo, linked, bare)):
        own = writer.own(place)
        assert store.record(place, own, job(number, own))
    assert len(git(work, "ls-tree", "-r", "--name-only", "refs/gzl/ledger/me").splitlines()) == 2
    assert git(bare.git_dir, "cat-file", "blob", "refs/gzl/server") == "server"


def test_a_shallow_clone_records_and_is_checked(tmp_path: Path, repo: Repo) -> None:
    work = repo.worktree
    assert work is not None
    for number in range(3):
        commit(work, str(number))
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{work}", "shallow")
    shallow = set_up(tmp_path / "shallow", "other")
    assert store.record(shallow, "other", job(1, "other", git(tmp_path / "shallow", "rev-parse", "HEAD")))


@pytest.mark.parametrize("name", ["a b", "x..y", "q/../r", "-dash", "é", "evil <x@y>\n"])
def test_writers_of_any_name(tmp_path: Path, name: str) -> None:
    repo = repository(tmp_path / "named", name=name)
    assert store.record(repo, name, job(1, name))
    assert ledger.ledgers(repo) == {name: [f"refs/gzl/ledger/{next(iter(ledger.heads(repo))).rpartition('/')[2]}"]}
    assert ledger.writer_of(next(iter(ledger.heads(repo)))) == name


def test_hostile_names_stay_data(repo: Repo) -> None:
    work = repo.worktree
    assert work is not None
    evil = "x\n01jdf3k2q8v0h6m4c1x9z7n5ra  passed\x1b[2J\u202e $(touch pwned) `x` \udcff"
    made = job(1, "me", commit(work))
    done: JobRecord = replace(
        made, ref=f"refs/heads/{evil}", reason=evil, actor=evil,
        stages={evil: replace(made.stages["deploy"], name=evil, skipped_because=evil)},
    )  # fmt: skip
    assert store.record(repo, "me", done)
    assert ledger.read_job(repo, done.id) == done
    note = git(work, "log", "--notes=gzl", "-1", "--format=%N")
    assert len(note.splitlines()) == 2
    assert all(line.isprintable() and line.startswith(done.id) for line in note.splitlines())


def test_loose_objects_stay_bounded(repo: Repo) -> None:
    work = repo.worktree
    assert work is not None
    assert not maybe_gc(repo)
    git(work, "config", "gc.auto", "20")
    git(work, "config", "gc.autoDetach", "false")
    (work / ".git/objects/17").mkdir(exist_ok=True)
    for number in range(30):
        (work / f".git/objects/17/{number:038x}").write_bytes(b"")
    for number in range(30):
        (work / f".git/objects/17/{number:038x}").unlink()
        blob = git(work, "hash-object", "-w", "--stdin", stdin=str(number))
        (work / f".git/objects/17/{number:038x}").write_bytes(
            (work / f".git/objects/{blob[:2]}/{blob[2:]}").read_bytes()
        )
    assert maybe_gc(repo)


def test_a_clone_that_is_not_set_up_says_so(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "plain")
    with pytest.raises(UserError, match="gzl init"):
        writer.own(open_repo(tmp_path / "plain"))


def test_times_do_not_come_from_the_clock(tmp_path: Path, repo: Repo) -> None:
    work = repo.worktree
    assert work is not None
    store.record(repo, "me", job(1, "me"))
    assert git(work, "log", "-1", "--format=%ct", "refs/gzl/ledger/me") == str(int(T0 + 72.4))
