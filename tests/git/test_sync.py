"""Clones exchanging results: with a gzl server, with a plain remote, with each other's copies, and with plain git."""

import multiprocessing
import shutil
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from store_world import commit, git, isolate, job, note_paths, notes_by_git, set_up

from gzl.errors import TransientError, UserError
from gzl.git import trees
from gzl.git.refs import read
from gzl.git.repo import Repo, open_repo
from gzl.model.record import JobRecord
from gzl.notes import fanout, follow, ledger, store, sync, text, writer
from gzl.notes.index import open_index


@pytest.fixture(autouse=True)
def _own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    isolate(monkeypatch, tmp_path)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A bare repository that has never heard of gzl, with a commit on main."""
    path = tmp_path / "plain 'remote' $(x).git"
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", str(path))
    git(tmp_path, "init", "--quiet", "--initial-branch=main", "first")
    commit(tmp_path / "first")
    git(tmp_path / "first", "push", "--quiet", str(path), "main")
    return path


@pytest.fixture
def server(plain: Path) -> Repo:
    return set_up(plain, "server", server=True)


def clone(source: Path, name: str, *options: str) -> Repo:
    path = source.parent / name
    git(source.parent, "clone", "--quiet", *options, str(source), str(path))
    return set_up(path, name)


def work(repo: Repo) -> Path:
    return repo.worktree or repo.git_dir


def record(repo: Repo, number: int, noted: str = "c" * 40) -> JobRecord:
    done = job(number, writer.own(repo), noted)
    assert store.record(repo, writer.own(repo), done, logs={"build.1.log.zz": b"log"})
    return done


def known(repo: Repo) -> list[str]:
    with open_index(repo) as index:
        return sorted(record.id for record in index.recent(1000))


def test_two_clones_meet_at_a_plain_remote(plain: Path) -> None:
    ann, bob = clone(plain, "ann"), clone(plain, "bob")
    one, two, three = record(ann, 1), record(bob, 2), record(bob, 3, "e" * 40)
    sync.sync(ann, "origin", "host")
    report = sync.sync(bob, "origin", "host")
    assert not report.server
    assert "refs/notes/gzl" in report.pushed
    sync.sync(ann, "origin", "host")
    for place in (ann, bob):
        assert known(place) == sorted([one.id, two.id, three.id])
        noted = notes_by_git(work(place))
        assert noted["c" * 40].splitlines() == sorted([*text.render(one), *text.render(two)])
        assert noted["e" * 40].splitlines() == text.render(three)
    assert read(ann, "refs/notes/gzl") == read(bob, "refs/notes/gzl")
    assert git(work(ann), "rev-list", "--max-count=1", "refs/gzl/remotes/origin/logs/bob/2026-09")
    assert sync.sync(ann, "origin", "host").pushed == []


def test_merging_is_what_plain_git_does(plain: Path) -> None:
    """Notes changed on one side, on both, removed, and other people's, merged by git and by gzl."""
    ann, bob = clone(plain, "ann"), clone(plain, "bob")
    ids = [f"{number:02x}" * 20 for number in range(9)]
    for number in range(7):
        record(ann, number, ids[number])
    sync.sync(ann, "origin", "host")
    sync.sync(bob, "origin", "host")
    commits = [commit(work(ann), str(number)) for number in range(6)]
    git(work(bob), "fetch", "--quiet", str(work(ann)), "main")
    for place, mine, base in ((ann, "ann's", 20), (bob, "bob's", 40)):
        for number in (0, 1, 7):
            record(place, base + number, ids[number])
        git(work(place), "notes", "--ref=gzl", "append", "-m", f"z {mine}\n\na remark", commits[0])
        git(work(place), "notes", "--ref=gzl", "append", "-m", "the same", commits[1])
        git(work(place), "notes", "--ref=gzl", "append", "-m", f"only {mine}\n\nin its order", commits[2 + (base > 20)])
    record(bob, 60, ids[2])
    _remove_notes(ann, [ids[number] for number in (2, 3, 4)])
    _remove_notes(bob, [ids[number] for number in (4, 5)])
    git(work(ann), "update-ref", "refs/notes/plain", "refs/notes/gzl")
    sync.sync(bob, "origin", "host")
    git(work(ann), "fetch", "--quiet", "origin", "refs/notes/gzl:refs/notes/theirs")
    git(work(ann), "notes", "--ref=plain", "merge", "--quiet", "-s", "cat_sort_uniq", "refs/notes/theirs")
    sync.sync(ann, "origin", "host")
    assert notes_by_git(work(ann)) == notes_by_git(work(ann), "refs/notes/plain")
    assert len(git(work(ann), "rev-list", "--parents", "-1", "refs/notes/gzl").split()) == 3
    assert all(path[2] == "/" for path in note_paths(work(ann)))


def _remove_notes(repo: Repo, commits: list[str]) -> None:
    objects = trees.open(repo.common_dir)
    tip = trees.tip(objects, "refs/notes/gzl")
    assert tip is not None
    tree = fanout.write(objects, trees.tree_of(objects, tip), dict.fromkeys(commits, b""))
    made = trees.commit(objects, tree, [tip], author="x", time=1, message="removed")
    git(work(repo), "update-ref", "refs/notes/gzl", str(made))


def test_a_follower_sees_the_servers_results_after_a_plain_fetch(server: Repo) -> None:
    noted = git(server.git_dir, "rev-parse", "main")
    done = record(server, 1, noted)
    ann = clone(server.git_dir, "ann")
    before = (ann.common_dir / "config").read_bytes()
    assert follow.is_server(ann, "origin")
    follow.configure(ann, "origin")
    configured = (ann.common_dir / "config").read_bytes()
    follow.configure(ann, "origin")
    assert (ann.common_dir / "config").read_bytes() == configured
    git(work(ann), "config", "fetch.prune", "true")
    mine = record(ann, 2, noted)
    git(work(ann), "fetch", "--quiet")
    git(work(ann), "fetch", "--quiet")
    shown = git(work(ann), "log", "-1")
    assert all(line in shown for line in (*text.render(done), *text.render(mine)))
    assert known(ann) == sorted([done.id, mine.id])
    git(work(ann), "config", "--unset", "fetch.prune")
    follow.unconfigure(ann)
    assert (ann.common_dir / "config").read_bytes() == before


def test_what_the_user_configured_stays(server: Repo) -> None:
    ann = clone(server.git_dir, "ann")
    git(work(ann), "config", "--add", "notes.displayRef", "refs/notes/gzl")
    before = (ann.common_dir / "config").read_bytes()
    follow.configure(ann, "origin")
    follow.unconfigure(ann)
    assert (ann.common_dir / "config").read_bytes() == before


def test_syncing_with_a_server_makes_a_follower_and_keeps_its_notes(server: Repo) -> None:
    done = record(server, 1)
    ann = clone(server.git_dir, "ann")
    mine = record(ann, 2)
    report = sync.sync(ann, "origin", "host")
    assert report.server
    assert any("follows" in remark for remark in report.remarks)
    assert notes_by_git(work(ann))["c" * 40].splitlines() == text.render(done), "a mirror of the server's"
    assert notes_by_git(work(ann), "refs/notes/gzl-local")["c" * 40].splitlines() == text.render(mine)
    assert ledger.read_job(server, mine.id) == mine
    assert notes_by_git(server.git_dir)["c" * 40].splitlines() == text.render(done)
    later = record(ann, 3)
    assert later.id in notes_by_git(work(ann), "refs/notes/gzl-local")["c" * 40]


def _work_and_sync(path: Path, name: str, numbers: range, together: Barrier) -> None:
    repo = open_repo(path)
    together.wait()
    for number in numbers:
        store.record(repo, name, job(number, name, f"{number % 5:040x}"))
        sync.sync(repo, "origin", "host")


@pytest.mark.parametrize("kind", ["server", "plain"])
def test_four_clones_sync_at_once(request: pytest.FixtureRequest, plain: Path, kind: str) -> None:
    if kind == "server":
        request.getfixturevalue("server")
    clones = [clone(plain, f"clone{number}") for number in range(4)]
    context = multiprocessing.get_context("fork")
    together = context.Barrier(4)
    processes = [
        context.Process(target=_work_and_sync, args=(work(c), f"clone{n}", range(n * 3, n * 3 + 3), together))
        for n, c in enumerate(clones)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    for place in clones:
        sync.sync(place, "origin", "host")
    for place in (*clones, *([open_repo(plain)] if kind == "server" else [])):
        assert len(known(place)) == 12
    if kind == "plain":
        lines = [line for one in notes_by_git(plain).values() for line in one.splitlines()]
        assert len(lines) == len(set(lines)) == 12 * 4


def test_a_copied_clone_takes_a_new_name_and_goes_on(plain: Path) -> None:
    ann = clone(plain, "ann")
    first = record(ann, 1)
    sync.sync(ann, "origin", "host")
    shutil.copytree(work(ann), plain.parent / "copy")
    copy = open_repo(plain.parent / "copy")
    second = record(ann, 2)
    third = record(copy, 3)
    sync.sync(ann, "origin", "host")
    report = sync.sync(copy, "origin", "host")
    new = writer.own(copy)
    assert new.startswith("host-")
    assert any(new in remark and "ann" in remark for remark in report.remarks)
    running = replace(job(4, "ann"), reason="began under the old name")
    assert store.record(copy, "ann", running)
    sync.sync(copy, "origin", "host")
    sync.sync(ann, "origin", "host")
    for place in (ann, copy):
        assert known(place) == sorted(one.id for one in (first, second, third, running))
    assert sorted(ledger.ledgers(ann)) == sorted(["ann", new])
    assert not any("ann" in ref for ref in read(copy, "refs/gzl/ledger", "refs/gzl/logs"))


def test_a_ledger_that_was_rewritten_is_not_believed(plain: Path) -> None:
    ann, bob = clone(plain, "ann"), clone(plain, "bob")
    done = record(ann, 1)
    for place in (ann, bob):
        sync.sync(place, "origin", "host")
    empty = git(plain, "commit-tree", "-m", "rewritten", git(plain, "mktree"))
    git(plain, "update-ref", "refs/gzl/ledger/ann", empty)
    report = sync.sync(bob, "origin", "host")
    assert any("rewritten" in remark for remark in report.remarks)
    assert known(bob) == [done.id]


def test_no_harm_comes_of_failure(plain: Path, tmp_path: Path) -> None:
    ann = clone(plain, "ann")
    done = record(ann, 1)
    before = read(ann, "refs")
    with pytest.raises(UserError, match="no such remote"):
        sync.sync(ann, "nowhere", "host")
    git(work(ann), "config", "remote.gone.url", str(tmp_path / "gone"))
    with pytest.raises(TransientError, match="gone: cannot be reached"):
        sync.sync(ann, "gone", "host")
    assert read(ann, "refs") == before
    hook = plain / "hooks/pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'not today' >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(UserError, match="origin refused"):
        sync.sync(ann, "origin", "host")
    hook.unlink()
    sync.sync(ann, "origin", "host")
    assert ledger.read_job(open_repo(plain), done.id) == done


def test_shallow_clones_and_odd_remote_names(plain: Path) -> None:
    name = "it's.odd/über"
    git(plain.parent, "clone", "--quiet", "--depth=1", "--origin", name, f"file://{plain}", "shallow")
    repo = set_up(plain.parent / "shallow", "shallow")
    done = record(repo, 1)
    sync.sync(repo, name, "host")
    other = clone(plain, "other")
    mine = record(other, 2)
    sync.sync(other, "origin", "host")
    sync.sync(repo, name, "host")
    assert known(repo) == known(other) == sorted([done.id, mine.id])


def test_a_relative_remote_and_a_linked_worktree(plain: Path) -> None:
    ann = clone(plain, "ann")
    git(work(ann), "config", "remote.origin.url", f"../{plain.name}")
    git(work(ann), "worktree", "add", "--quiet", "--detach", "../linked")
    done = record(ann, 1)
    linked = open_repo(plain.parent / "linked")
    sync.sync(linked, "origin", "host")
    assert ledger.read_job(open_repo(plain), done.id) == done
