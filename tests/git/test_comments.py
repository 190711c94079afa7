"""Comments: in the ledger of who made them, on any job, seen by everybody who has the ledger."""

import hashlib
import json
import re
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from store_world import T0, commit, git, isolate, job, repository, set_up

from gzl.cli.group import gzl as group
from gzl.errors import UserError
from gzl.git import trees
from gzl.git.refs import ANY, RefUpdate, transaction
from gzl.git.repo import Repo
from gzl.kit.fs import append
from gzl.model.comment import LIMIT, Comment, checked, path, to_data, to_json
from gzl.model.ids import new_job_id
from gzl.model.journal import Entry, to_line
from gzl.model.record import JobRecord
from gzl.model.record import to_json as record_json
from gzl.model.refs import job_path
from gzl.model.request import JobRequest
from gzl.model.result import State
from gzl.notes import fsck, ledger, store, sync, writer
from gzl.notes.index import open_index, rebuild
from gzl.records import unfinished


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    isolate(monkeypatch, tmp_path)
    return repository(tmp_path / "repo", name="me")


def work(repo: Repo) -> Path:
    return repo.worktree or repo.git_dir


def gzl(repo: Repo, *args: str, stdin: bytes = b"") -> str:
    result = CliRunner().invoke(group, ["-C", str(work(repo)), *args], input=stdin, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.output


def done_job(repo: Repo, number: int = 1) -> JobRecord:
    made = job(number, writer.own(repo), commit(work(repo)))
    store.record(repo, writer.own(repo), made)
    return made


def remark(on: str, number: int = 1, words: str = "flaky", **more: str) -> Comment:
    made = new_job_id(T0 + 9000 + number, hashlib.sha256(on.encode()).digest()[:10])
    return Comment(made, on, "A U Thor <a@b>", T0 + 9000 + number, words, **more)


def said(repo: Repo, name: str) -> list[dict[str, object]]:
    comments: list[dict[str, object]] = json.loads(gzl(repo, "show", name, "--json"))["comments"]
    return comments


def known(repo: Repo) -> list[tuple[str, Comment]]:
    with open_index(repo) as index:
        return list(index.comments())


def fetched(repo: Repo, name: str, files: dict[str, bytes | None], remote: str = "origin") -> None:
    """A ledger as if it came from a remote, with these files changed in it."""
    ref = f"refs/gzl/remotes/{remote}/ledger/{name}"
    objects = trees.open(repo.common_dir)
    old = trees.tip(objects, ref)
    tree = trees.write_files(objects, trees.tree_of(objects, old), files)
    made = trees.commit(objects, tree, [old] if old else [], author=name, time=1, message="x")
    transaction(repo, [RefUpdate(ref, str(made), ANY)])


def test_a_comment_is_shown_with_its_job(repo: Repo) -> None:
    made = done_job(repo)
    assert made.id in gzl(repo, "comment", "HEAD", "known: flaky network\nsee the wiki\n")
    assert made.id in gzl(repo, "comment", made.id[:12], stdin=b"and again\n")
    assert made.id in gzl(repo, "comment", "HEAD", "-", stdin=b"\xff \x1b[2J\x00\xe2\x80\xae")
    assert [one["text"] for one in said(repo, "HEAD")] == [
        "known: flaky network\nsee the wiki", "and again", "\udcff \x1b[2J\0\u202e",
    ]  # fmt: skip
    assert {(one["author"], one["writer"], one["job"]) for one in said(repo, "HEAD")} == {
        ("A U Thor <author@example.com>", "me", made.id)
    }
    page = gzl(repo, "show")
    assert page.endswith("\n    \\udcff \\x1b[2J\\x00\\u202e\n")
    assert re.search(
        r"comment A U Thor <author@example.com>, \d+ seconds? ago\n    known: flaky network\n    see", page
    )
    assert "“\\udcff \\x1b[2J\\x00\\u202e”  A U Thor <author@example.com>, " in gzl(repo, "list")
    assert "(3 comments)" in gzl(repo, "list")
    assert [len(one["comments"]) for one in json.loads(gzl(repo, "list", "--json"))] == [3]
    assert gzl(repo, "fsck") == "all is well\n"


def test_what_is_no_comment_is_refused(repo: Repo) -> None:
    done_job(repo)
    for words in (b"", b" \n", b"x" * (LIMIT + 1), "é".encode() * (LIMIT // 2) + b"x"):
        with pytest.raises(UserError, match="a comment"):
            gzl(repo, "comment", "HEAD", stdin=words)
    with pytest.raises(UserError, match="no job and no commit"):
        gzl(repo, "comment", "nowhere", "x")
    assert known(repo) == []
    gzl(repo, "comment", "HEAD", stdin=b"x" * LIMIT + b"\n")
    assert len(known(repo)[0][1].text) == LIMIT


def test_the_limit_is_of_bytes() -> None:
    assert checked("é" * (LIMIT // 2)) == "é" * (LIMIT // 2)
    with pytest.raises(UserError, match="up to 64 KiB"):
        checked("é" * (LIMIT // 2) + "x")


def test_on_a_server_the_author_is_whom_the_transport_names(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    store.seed(repo, "me", server=True)
    done_job(repo)
    monkeypatch.setenv("GL_USER", "ann")
    gzl(repo, "comment", "HEAD", "x")
    assert [one["author"] for one in said(repo, "HEAD")] == ["ann"]


def test_a_job_of_another_writer_is_commented_on_in_ones_own_ledger(repo: Repo) -> None:
    theirs = job(1, "ann", commit(work(repo)))
    fetched(repo, "ann", {f"{job_path(theirs.id)}/job.json": record_json(theirs)})
    gzl(repo, "comment", "HEAD", "x")
    assert [one["writer"] for one in said(repo, "HEAD")] == ["me"]
    assert git(work(repo), "ls-tree", "-r", "--name-only", "refs/gzl/ledger/me").startswith(job_path(theirs.id))
    assert not store.recorded(repo, "me", theirs.id)


def test_a_job_that_still_runs_can_be_commented_on_and_so_can_its_stages(repo: Repo) -> None:
    noted = commit(work(repo))
    waiting = replace(job(1, "me", noted), state=State.WAITING, finished=None)
    unfinished.create(repo.layout, JobRequest(waiting, {}))
    gzl(repo, "comment", "HEAD", "waits")
    own = remark(waiting.id, words="from a stage", stage="test")
    append(repo.layout.job(waiting.id).journal, to_line(Entry(own.time, "comment", data=to_data(own))))
    assert [one["text"] for one in said(repo, "HEAD")] == ["from a stage", "waits"]
    assert [one["stage"] for one in said(repo, "HEAD")] == ["test", None]
    with open_index(repo) as index:
        assert index.count() == 0
    recorded = replace(waiting, state=State.PASSED, finished=T0 + 99)
    assert store.record(repo, "me", recorded, comments=unfinished.comments(repo.layout, waiting.id))
    assert [one["text"] for one in said(repo, "HEAD")] == ["from a stage", "waits"], "recorded, and its folder there"
    unfinished.remove(repo.layout, waiting.id)
    assert [one["text"] for one in said(repo, "HEAD")] == ["from a stage", "waits"]
    assert "in test, " in gzl(repo, "show")
    assert not store.record(repo, "me", recorded, comments=[own]), "again, after a crash: nothing changes"
    assert len(known(repo)) == 2
    assert gzl(repo, "fsck") == "all is well\n"


def test_comments_of_stages_come_in_its_one_transaction(repo: Repo) -> None:
    before = git(work(repo), "rev-list", "--count", "refs/gzl/ledger/me")
    made = job(1, "me", commit(work(repo)))
    store.record(repo, "me", made, comments=[remark(made.id, n) for n in range(3)])
    assert int(git(work(repo), "rev-list", "--count", "refs/gzl/ledger/me")) == int(before) + 1
    assert len(known(repo)) == 3


def test_making_one_again_changes_nothing(repo: Repo) -> None:
    one, other = remark("0" * 26), remark("0" * 26, 2)
    store.comment(repo, "me", [one])
    tip = git(work(repo), "rev-parse", "refs/gzl/ledger/me")
    store.comment(repo, "me", [one])
    assert git(work(repo), "rev-parse", "refs/gzl/ledger/me") == tip
    store.comment(repo, "me", [one, other])
    assert [comment for _, comment in known(repo)] == [one, other]


_MANY = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from gzl.git.repo import open_repo
from gzl.model.comment import Comment
from gzl.model.ids import new_job_id
from gzl.notes import store
repo = open_repo(Path(sys.argv[1]))
for number in range(10):
    store.comment(repo, "me", [Comment(new_job_id(1.0), "0" * 26, "a", 1.0, "x")])
"""


def test_of_many_at_once_none_is_lost(repo: Repo) -> None:
    command = [sys.executable, "-c", _MANY, work(repo), *sys.path]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    assert [process.communicate()[1] for process in processes] == [b""] * 3
    assert len(known(repo)) == 30


def test_clones_see_each_others(repo: Repo, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--bare", str(work(repo)), "plain.git")
    git(work(repo), "remote", "add", "origin", str(tmp_path / "plain.git"))
    git(tmp_path, "clone", "--quiet", "plain.git", "ann")
    ann = set_up(tmp_path / "ann", "ann")
    made = done_job(repo)
    gzl(repo, "comment", "HEAD", "mine")
    assert "nothing new fetched, own results pushed" in gzl(repo, "sync")
    assert "1 new job and 1 new comment fetched" in gzl(ann, "sync")
    gzl(ann, "comment", made.id, "and ann's")
    sync.sync(ann, "origin", "host")
    assert "1 new comment fetched" in gzl(repo, "sync")
    for place in (repo, ann):
        assert [(one["writer"], one["text"]) for one in said(place, made.id)] == [("me", "mine"), ("ann", "and ann's")]
        assert gzl(place, "fsck") == "all is well\n"


def test_the_index_follows_without_being_filled_anew(repo: Repo) -> None:
    made = done_job(repo)
    open_index(repo).close()
    with sqlite3.connect(repo.layout.index) as connection:
        connection.execute("DELETE FROM jobs")  # a mark: it would come back if the ledger were read again
    store.comment(repo, "me", [remark(made.id)])
    fetched(repo, "ann", {path(remark(made.id, 2)): to_json(remark(made.id, 2))})
    fetched(repo, "ann", {path(remark(made.id, 3)): to_json(remark(made.id, 3))})
    with open_index(repo) as index:
        assert len(list(index.comments([made.id]))) == 3
        assert index.count() == 0
    grown = known(repo)
    rebuild(repo).close()
    assert known(repo) == grown
    fetched(repo, "ann", {path(remark(made.id, 3)): None})
    assert len(known(repo)) == 2


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{}", b"[]", b"\xff", b"{" * 99999, to_json(remark("1" * 26)), to_json(replace(remark("0" * 26), id="x")),
        to_json(replace(remark("0" * 26), text="x" * (LIMIT + 1))),
        to_json(remark("0" * 26)).replace(b'"flaky"', b"7"),
        to_json(remark("0" * 26)).replace(b'"time":1', b'"time":-1'),
        to_json(remark("0" * 26)).replace(b'"time":1', b'"time":1e300,"x":1'),
        to_json(remark("0" * 26)).replace(b'"stage":null', b'"stage":{}'),
    ],
    ids=range(12),
)  # fmt: skip
def test_what_others_wrote_is_checked_and_told(repo: Repo, data: bytes) -> None:
    good, bad = remark("0" * 26, 2), remark("0" * 26)
    fetched(repo, "x", {path(bad): data, path(good): to_json(good), f"{job_path(bad.job)}/comments/a/b": b"?"})
    assert known(repo) == [("x", good)]
    told = [str(problem) for problem in fsck.check(repo, T0)[0]]
    assert len(told) == 1
    assert f"{path(bad)}: " in told[0]
    assert "is ignored; tell who runs 'x'" in told[0]


def test_the_same_comment_from_two_remotes_is_one_and_a_forged_one_hides_none(repo: Repo) -> None:
    made = done_job(repo)
    one = remark(made.id)
    store.comment(repo, "me", [one])
    fetched(repo, "copy", {path(one): to_json(one)})
    fetched(repo, "a-forger", {path(one): to_json(replace(one, text="lgtm"))}, remote="second")
    assert sorted(str(comment["text"]) for comment in said(repo, made.id)) == ["flaky", "lgtm"]


def test_comments_that_an_older_gzl_passed_over_are_found_when_its_index_is_brought_up(repo: Repo) -> None:
    made = done_job(repo)
    fetched(repo, "ann", {path(remark(made.id)): to_json(remark(made.id))})
    open_index(repo).close()
    with sqlite3.connect(repo.layout.index) as connection:  # as the first release left it
        connection.executescript(
            "DROP TABLE comments; DROP TABLE passes; ALTER TABLE sources DROP COLUMN reader; PRAGMA user_version = 1;"
            "UPDATE jobs SET definition = 'kept'"
        )
    store.comment(repo, "me", [remark(made.id, 2)])
    with open_index(repo) as index:
        assert [comment for _, comment in index.comments([made.id])] == [remark(made.id), remark(made.id, 2)]
        assert list(index.claims("kept", commit=made.commit)), "nothing was read again"
        assert index.sources() == ledger.heads(repo)
        assert index.behind() == {}
