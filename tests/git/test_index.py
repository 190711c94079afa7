"""The index gives the answers of the ledgers, however it came to be."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from store_world import commit, git, isolate, job, repository

from gzl.git import trees
from gzl.git.refs import ANY, RefUpdate, transaction
from gzl.git.repo import Repo
from gzl.model.record import JobRecord, to_json
from gzl.model.refs import job_path
from gzl.model.result import State
from gzl.notes import index as notes_index
from gzl.notes import ledger, store, verdicts
from gzl.notes.index import open_index
from gzl.records.index import Index


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    isolate(monkeypatch, tmp_path)
    return repository(tmp_path / "repo", name="me")


def fetched(repo: Repo, writer: str, files: dict[str, bytes], remote: str = "origin") -> None:
    """A ledger as if it came from a remote, with whatever in it."""
    objects = trees.open(repo.common_dir)
    made = trees.commit(objects, trees.write_files(objects, None, files), [], author=writer, time=1, message="x")
    transaction(repo, [RefUpdate(f"refs/gzl/remotes/{remote}/ledger/{writer}", str(made), ANY)])


def place(record: JobRecord) -> str:
    return f"{job_path(record.id)}/job.json"


def answers(index: Index) -> object:
    everything = list(index.everything())
    ids = [record.id for _, record in everything]
    return (
        [(ledger_name, to_json(record)) for ledger_name, record in everything],
        index.recent(1000), index.by_ref("refs/heads/main", 100), index.by_tree("d" * 40, 100),
        index.by_commits(["c" * 40]), [index.neighbours(one) for one in ids], index.by_prefix(ids[0][:6], 9),
        index.count(),
    )  # fmt: skip


def test_grown_step_by_step_or_made_again_it_says_the_same(repo: Repo) -> None:
    jobs = [job(n, "me", state=[State.PASSED, State.FAILED][n % 2], ref=f"refs/heads/{n % 3}") for n in range(12)]
    theirs = replace(jobs[3], state=State.STOPPED)  # another ledger says something else of my job
    copied = [job(50, "gone"), replace(job(51, "other"), snapshot_of="e" * 40)]
    for number, done in enumerate(jobs):
        store.record(repo, "me", done)
        if number == 5:
            fetched(repo, "other", {place(theirs): to_json(theirs)})
        if number == 7:
            fetched(repo, "other", {place(one): to_json(one) for one in (theirs, *copied)})
            fetched(repo, "other", {place(copied[0]): to_json(replace(copied[0], reason="z"))}, remote="second")
        open_index(repo).close()
    with open_index(repo) as index:
        grown = answers(index)
        assert index.count() == 14
        assert index.by_prefix(jobs[3].id, 9) == [jobs[3]], "the record of its own writer stands for the job"
    with notes_index.rebuild(repo) as index:
        assert answers(index) == grown
    repo.layout.index.unlink()
    with open_index(repo) as index:
        assert answers(index) == grown


def damage(repo: Repo) -> None:
    repo.layout.index.write_bytes(b"no database at all" * 1000)


def truncate(repo: Repo) -> None:
    data = repo.layout.index.read_bytes()
    repo.layout.index.write_bytes(data[: len(data) // 2])


def from_the_future(repo: Repo) -> None:
    connection = sqlite3.connect(repo.layout.index)
    connection.execute("PRAGMA user_version = 999")
    connection.close()


def delete(repo: Repo) -> None:
    repo.layout.index.unlink()


@pytest.mark.parametrize("accident", [damage, truncate, from_the_future, delete])
def test_it_can_be_lost(repo: Repo, accident: Callable[[Repo], None]) -> None:
    done = [job(n, "me") for n in range(3)]
    store.record_all(repo, "me", done)
    open_index(repo).close()
    accident(repo)
    with open_index(repo) as index:
        assert index.recent(9) == done[::-1]


def test_a_ledger_that_goes_or_shrinks_takes_its_jobs_along(repo: Repo) -> None:
    one, two = job(1, "other"), job(2, "other")
    fetched(repo, "other", {place(one): to_json(one), place(two): to_json(two)})
    open_index(repo).close()
    fetched(repo, "other", {place(two): to_json(two)})
    with open_index(repo) as index:
        assert index.recent(9) == [two]
    git(repo.common_dir, "update-ref", "-d", "refs/gzl/remotes/origin/ledger/other")
    with open_index(repo) as index:
        assert index.recent(9) == []


@pytest.mark.parametrize(
    "data",
    [
        b"", b"[]", b"{" * 100_000, b'{"id":1}', to_json(job(9, "x")),
        to_json(job(1, "x")).replace(b'"passed"', b'"unheard-of"'), to_json(replace(job(1, "x"), state=State.RUNNING)),
        to_json(job(1, "x")).replace(b'"created":1', b'"created":"1').replace(b',"started"', b'","started"', 1),
        to_json(job(1, "x")).replace(b'"finished":1790', b'"finished":1e300,"x":1790'),
        to_json(job(1, "x")).replace(b'"c' + b"c" * 39, b'"../../etc/passwd'),
        to_json(job(1, "x")).replace(b'"snapshot_of":null', b'"snapshot_of":[]'),
        to_json(job(1, "x")).replace(b'"outputs":{}', b'"outputs":{"a":1}'),
        to_json(job(1, "x")).replace(b'"artifacts":[]', b'"artifacts":[{"name":"","kind":"","digest":"x","size":1}]'),
        to_json(job(1, "x")).replace(b'"tests":null', b'"tests":{"passed":"1"}'),
        to_json(job(1, "x")).replace(b'"usage":null', b'"usage":{"cpu_series":["1"]}'),
        to_json(job(1, "x")).replace(b'"usage":null', b'"usage":{"cpu_series":7}'),
        to_json(job(1, "x")).replace(b'"advance":null', b'"advance":{"done":1,"total":""}'),
        to_json(job(1, "x")).replace(b'"reused_from":null', b'"reused_from":{}'),
        to_json(job(1, "x")).replace(b'"key":""', b'"key":[]'),
        to_json(job(1, "x")).replace(b'"remarks":[]', b'"remarks":[1]'),
        to_json(job(1, "x")).replace(b'"exit":0', b'"exit":' + b"9" * 40),
    ],
    ids=range(21),
)  # fmt: skip
def test_what_others_wrote_is_checked(repo: Repo, data: bytes) -> None:
    good = job(2, "other")
    bad = job(1, "x")
    fetched(repo, "other", {place(bad): data, place(good): to_json(good), "README": b"?"})
    with open_index(repo) as index:
        assert index.recent(9) == [good]
    assert ledger.read_job(repo, bad.id) is None


def test_a_ref_that_is_no_ledger_harms_nobody(repo: Repo) -> None:
    blob = git(repo.common_dir, "hash-object", "-w", "--stdin", stdin="x")
    git(repo.common_dir, "update-ref", "refs/gzl/remotes/origin/ledger/blob", blob)
    store.record(repo, "me", job(1, "me"))
    with open_index(repo) as index:
        assert index.count() == 1
    with open_index(repo) as index:
        assert index.count() == 1


@pytest.mark.parametrize(
    ("stage", "counts"),
    [
        ({"state": State.FAILED, "exit": 1}, True), ({"state": State.FAILED, "exit": 255}, True),
        ({"state": State.TIMED_OUT, "exit": None}, True), ({"state": State.FAILED, "exit": 126}, False),
        ({"state": State.FAILED, "exit": 127}, False), ({"state": State.FAILED, "exit": 137}, False),
        ({"state": State.LOST, "exit": None}, False),
    ],
)  # fmt: skip
def test_what_failed_for_other_reasons_than_the_commit_runs_again(
    repo: Repo, stage: dict[str, object], counts: bool
) -> None:
    passed, failed = job(1, "me"), job(2, "me", state=State.FAILED)
    test = replace(failed.stages["test"], **stage)  # type: ignore[arg-type]
    store.record_all(repo, "me", [passed, replace(failed, stages={**failed.stages, "test": test})])
    with open_index(repo) as index:
        found = verdicts.find(index, commit="c" * 40, tree="d" * 40, definition="def", trusted=None)
    assert found is not None
    assert found.id == (failed.id if counts else passed.id)


def test_the_nearest_pass_is_found_among_the_ancestors(repo: Repo) -> None:
    where = repo.worktree
    assert where is not None
    commits = [commit(where, str(n)) for n in range(5)]
    git(where, "switch", "--quiet", "-c", "topic", commits[2])
    topic = commit(where, "topic")
    store.record_all(repo, "me", [job(1, "me", commits[0]), job(2, "me", commits[1]), job(3, "me", commits[4])])
    forged = job(4, "mallory", topic)
    fetched(repo, "mallory", {place(forged): to_json(forged)})
    with open_index(repo) as index:

        def nearest(start: str, stage: str = "build", trusted: frozenset[str] | None = frozenset({"me"})) -> str | None:
            return verdicts.nearest_pass(repo, index, stage=stage, commit=start, trusted=trusted)

        assert nearest(topic) == commits[1]
        assert nearest(topic, trusted=None) == topic
        assert nearest(commits[4]) == commits[4]
        assert nearest(commits[3]) == commits[1]
        assert nearest(topic, "deploy") is None, "it was skipped"
        assert nearest("f" * 40) is None, "no such commit"


def test_verdicts_are_found_by_commit_then_by_tree_from_trusted_writers(repo: Repo) -> None:
    passed = job(1, "me")
    amended = replace(job(2, "me", commit="e" * 40), state=State.FAILED)
    stopped = job(3, "me", state=State.STOPPED)
    store.record_all(repo, "me", [passed, amended, stopped])
    forged = job(9, "mallory")
    fetched(repo, "mallory", {place(forged): to_json(forged)})
    mine = frozenset({"me"})
    with open_index(repo) as index:

        def find(commit: str, trusted: frozenset[str] | None = mine, definition: str = "def") -> JobRecord | None:
            return verdicts.find(index, commit=commit, tree="d" * 40, definition=definition, trusted=trusted)

        assert find("c" * 40) == passed, "a stopped job is no verdict, mallory's word does not count"
        assert find("e" * 40) == amended
        assert find("f" * 40) == amended, "the latest of the same tree"
        assert find("c" * 40, None) == forged
        assert find("c" * 40, definition="other") is None


_OPEN = """
import sys
from pathlib import Path
from gzl.git.repo import open_repo
from gzl.notes.index import open_index
with open_index(open_repo(Path(sys.argv[1]))) as index:
    print(index.count())
"""


def test_several_may_open_it_for_the_first_time_at_once(repo: Repo) -> None:
    store.record_all(repo, "me", [job(n, "me") for n in range(40)])
    command = [sys.executable, "-c", _OPEN, str(repo.common_dir)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(6)]
    assert [process.communicate() for process in processes] == [(b"40\n", b"")] * 6
