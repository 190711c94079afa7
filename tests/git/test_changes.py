"""What changed since a stage passed: on one line of history, on two that parted, and where history is cut short."""

import os
from pathlib import Path

import pytest
from store_world import commit, git, isolate

from gzl.git.changes import Base, base, changed, files, matching
from gzl.git.repo import Repo, open_repo

PASSED = "refs/gzl/passed/s/main"


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    isolate(monkeypatch, tmp_path)
    work = tmp_path / "work"
    work.mkdir()
    git(work, "init", "--quiet")
    (work / "a").mkdir()
    (work / "b").mkdir()
    commit(work, **{"a/one": "1", "a/two": "2", "b/one": "1", "top": "t"})
    return open_repo(work)


def work(repo: Repo) -> Path:
    assert repo.worktree is not None
    return repo.worktree


def head(repo: Repo) -> str:
    return git(work(repo), "rev-parse", "HEAD")


def passed(repo: Repo, at: str = "HEAD") -> str:
    git(work(repo), "update-ref", PASSED, at)
    return git(work(repo), "rev-parse", at)


def compared(repo: Repo) -> Base | None:
    return base(repo, PASSED, head(repo), lambda: None)


def since_pass(repo: Repo, *globs: str) -> list[str] | None:
    found = compared(repo)
    return None if found is None else changed(repo, found, head(repo), globs)


def test_what_changed_on_one_line(repo: Repo) -> None:
    first = passed(repo)
    assert since_pass(repo) == [], "on this very commit"
    commit(work(repo), **{"a/one": "changed", "top": "changed"})
    git(work(repo), "rm", "--quiet", "b/one")
    git(work(repo), "mv", "a/two", "a/renamed")
    git(work(repo), "update-index", "--chmod=+x", "top")
    git(work(repo), "commit", "--quiet", "--message", "more")
    assert compared(repo) == Base(first)
    assert since_pass(repo) == ["a/one", "a/renamed", "a/two", "b/one", "top"]
    assert since_pass(repo, "a/*") == ["a/one", "a/renamed", "a/two"]
    assert since_pass(repo, "b/**", "to?") == ["b/one", "top"]
    assert since_pass(repo, "*.py") == []


def test_a_mode_is_a_change(repo: Repo) -> None:
    passed(repo)
    git(work(repo), "update-index", "--chmod=+x", "top")
    git(work(repo), "commit", "--quiet", "--message", "mode")
    assert since_pass(repo) == ["top"]


def test_what_is_put_back_is_no_change(repo: Repo) -> None:
    passed(repo)
    commit(work(repo), top="other")
    commit(work(repo), top="t")
    assert since_pass(repo) == []


def test_names_that_are_no_utf8_or_have_line_ends(repo: Repo) -> None:
    passed(repo)
    for name in (b"caf\xe9", b"line\nend", b'quote"\t'):
        Path(os.fsdecode(os.fsencode(work(repo)) + b"/b/" + name)).write_text("x")
    commit(work(repo))
    assert since_pass(repo, "b/**") == ["b/caf\udce9", "b/line\nend", 'b/quote"\t']
    assert [file.path for file in matching(files(repo, head(repo)), ["b/caf?"])] == ["b/caf\udce9"]


def test_settings_and_gitmodules_hide_nothing(repo: Repo) -> None:
    git(work(repo), "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},lib")
    (work(repo) / ".gitmodules").write_text('[submodule "lib"]\n\tpath = lib\n\turl = ./lib\n\tignore = all\n')
    (work(repo) / "lib").mkdir()
    git(work(repo), "add", ".gitmodules")
    git(work(repo), "commit", "--quiet", "--message", "submodule")
    for name, value in (("diff.renames", "copies"), ("diff.ignoreSubmodules", "all"), ("submodule.lib.ignore", "all"),
                        ("diff.relative", "true"), ("diff.noprefix", "true"), ("core.quotePath", "true")):  # fmt: skip
        git(work(repo), "config", name, value)
    passed(repo)
    git(work(repo), "update-index", "--cacheinfo", f"160000,{'2' * 40},lib")
    git(work(repo), "mv", "a/one", "a/moved")
    git(work(repo), "commit", "--quiet", "--message", "moved")
    assert since_pass(repo) == ["a/moved", "a/one", "lib"]
    assert ("lib", "160000", "2" * 40) in [(f.path, f.mode, f.oid) for f in files(repo, head(repo))]


def test_a_rewritten_branch_counts_both_lines(repo: Repo) -> None:
    start = head(repo)
    commit(work(repo), **{"a/one": "old line"})
    old = passed(repo)
    git(work(repo), "reset", "--quiet", "--hard", start)
    commit(work(repo), **{"b/one": "new line"})
    assert compared(repo) == Base(old, (start,))
    assert since_pass(repo) == ["a/one", "b/one"], "what the old line did to a/one may still be in force"
    assert since_pass(repo, "top") == []


def test_an_amended_commit_compares_with_the_one_it_was(repo: Repo) -> None:
    commit(work(repo), **{"a/one": "x"})
    passed(repo)
    git(work(repo), "commit", "--quiet", "--amend", "--message", "better words")
    assert since_pass(repo, "a/*") == ["a/one"]
    assert since_pass(repo, "b/*") == []


def test_the_branch_went_back_to_an_older_commit(repo: Repo) -> None:
    older = head(repo)
    newer = commit(work(repo), **{"a/one": "x"})
    passed(repo)
    git(work(repo), "reset", "--quiet", "--hard", older)
    assert compared(repo) == Base(newer, (older,))
    assert since_pass(repo) == ["a/one"]


def test_merges(repo: Repo) -> None:
    passed(repo)
    git(work(repo), "checkout", "--quiet", "-b", "topic")
    topic = commit(work(repo), **{"a/one": "topic"})
    git(work(repo), "checkout", "--quiet", "-")
    commit(work(repo), **{"b/one": "main"})
    git(work(repo), "merge", "--quiet", "--no-edit", "topic")
    merge = head(repo)
    assert since_pass(repo) == ["a/one", "b/one"]
    assert changed(repo, Base(topic), merge) == ["b/one"]


def test_criss_cross_merges_have_several_forks(repo: Repo) -> None:
    git(work(repo), "checkout", "--quiet", "-b", "x")
    one = commit(work(repo), **{"a/one": "x"})
    git(work(repo), "checkout", "--quiet", "-b", "y", "HEAD~")
    other = commit(work(repo), **{"b/one": "y"})
    git(work(repo), "merge", "--quiet", "--no-edit", "x")
    left = head(repo)
    git(work(repo), "checkout", "--quiet", "x")
    git(work(repo), "merge", "--quiet", "--no-edit", other)
    passed(repo, left)
    found = compared(repo)
    assert found is not None and set(found.forks) == {one, other}
    assert since_pass(repo) == ["a/one", "b/one"]


def test_a_new_branch_asks_for_the_nearest_ancestor(repo: Repo) -> None:
    start = head(repo)
    commit(work(repo), top="x")
    assert base(repo, PASSED, head(repo), lambda: start) == Base(start)
    assert base(repo, None, head(repo), lambda: start) == Base(start), "a tag"
    tip = passed(repo)
    assert base(repo, PASSED, head(repo), lambda: start) == Base(tip), "the branch's own comes first"


def test_nothing_can_be_said(repo: Repo, tmp_path: Path) -> None:
    assert since_pass(repo) is None, "it never passed"
    git(work(repo), "update-ref", f"{PASSED}/below", "HEAD")
    assert since_pass(repo) is None, "a branch below it did"
    git(work(repo), "update-ref", "-d", f"{PASSED}/below")
    passed(repo)
    git(work(repo), "checkout", "--quiet", "--orphan", "other")
    commit(work(repo), top="unrelated")
    assert since_pass(repo) is None, "no history in common"
    gone = tmp_path / "work/.git" / PASSED
    gone.write_text("1" * 40 + "\n")
    assert since_pass(repo) is None, "its commit is not here"


def test_a_shallow_clone(repo: Repo, tmp_path: Path) -> None:
    for number in range(3):
        commit(work(repo), top=str(number))
    git(tmp_path, "clone", "--quiet", "--depth", "2", work(repo).as_uri(), "shallow")
    shallow = open_repo(tmp_path / "shallow")
    passed(shallow, "HEAD~")
    assert since_pass(shallow) == ["top"]
