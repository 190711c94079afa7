"""The facts about git and libgit2 that shape the writer; if one changes, so may the design."""

import subprocess
import threading
from pathlib import Path

import pygit2
import pytest
from store_world import git, isolate

from gzl.errors import TransientError, UserError
from gzl.git import refs, trees
from gzl.git.refs import ANY, RefChanged, RefInTheWay, RefUpdate
from gzl.git.repo import Repo, open_repo


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    isolate(monkeypatch, tmp_path)
    git(tmp_path, "init", "--quiet", "repo")
    return tmp_path / "repo"


def empty_commit(path: Path, message: str, *parents: str) -> str:
    tree = git(path, "mktree")
    return git(path, "commit-tree", "-m", message, *(word for p in parents for word in ("-p", p)), tree)


def test_git_notes_add_loses_notes(path: Path) -> None:
    commits = [empty_commit(path, str(number)) for number in range(24)]

    def write(mine: list[str]) -> None:
        for commit in mine:
            git(path, "notes", "--ref=x", "add", "-m", "note", commit, ok=False)

    threads = [threading.Thread(target=write, args=(commits[start::4],)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(git(path, "notes", "--ref=x", "list").splitlines()) < len(commits)


def test_libgit2_writes_a_flat_tree(path: Path) -> None:
    repo = pygit2.Repository(str(path))
    author = pygit2.Signature("a", "a@b", 0)
    for number in range(300):  # git itself would have made folders at 256
        repo.create_note("note", author, author, f"{number:040x}", "refs/notes/flat")
    assert "/" not in git(path, "ls-tree", "-r", "--name-only", "refs/notes/flat").splitlines()[0]


def test_a_note_in_two_places_makes_gits_merge_abort(path: Path) -> None:
    commit = empty_commit(path, "noted")
    git(path, "notes", "--ref=other", "add", "-m", "other", commit)
    blob = git(path, "hash-object", "-w", "--stdin", stdin="text\n")
    folder = git(path, "mktree", stdin=f"100644 blob {blob}\t{commit[2:]}\n")
    tree = git(path, "mktree", stdin=f"100644 blob {blob}\t{commit}\n040000 tree {folder}\t{commit[:2]}\n")
    git(path, "update-ref", "refs/notes/both", git(path, "commit-tree", "-m", "x", tree))
    merge = ["git", "-C", str(path), "notes", "--ref=both", "merge", "-s", "cat_sort_uniq", "refs/notes/other"]
    assert subprocess.run(merge, capture_output=True, check=False).returncode != 0


def test_create_commit_compares_and_swaps(path: Path) -> None:
    repo = pygit2.Repository(str(path))
    author, tree = pygit2.Signature("a", "a@b", 0), repo.TreeBuilder().write()
    first = repo.create_commit("refs/gzl/x", author, author, "1", tree, [])
    repo.create_commit("refs/gzl/x", author, author, "2", tree, [first])
    with pytest.raises(pygit2.GitError):
        repo.create_commit("refs/gzl/x", author, author, "3", tree, [first])


class TestTransaction:
    @pytest.fixture
    def repo(self, path: Path) -> Repo:
        return open_repo(path)

    def test_is_all_or_nothing(self, path: Path, repo: Repo) -> None:
        one, two = empty_commit(path, "1"), empty_commit(path, "2")
        refs.transaction(repo, [RefUpdate("refs/gzl/a", one, None), RefUpdate("refs/gzl/b", one, None)])
        with pytest.raises(RefChanged) as caught:
            refs.transaction(repo, [RefUpdate("refs/gzl/a", two, one), RefUpdate("refs/gzl/b", two, two)])
        assert caught.value.name == "refs/gzl/b"
        assert refs.read(repo, "refs/gzl") == {"refs/gzl/a": one, "refs/gzl/b": one}

    @pytest.mark.parametrize("expected", [None, "1" * 40])
    def test_names_what_it_expects(self, path: Path, repo: Repo, expected: str | None) -> None:
        one = empty_commit(path, "1")
        refs.transaction(repo, [RefUpdate("refs/gzl/a", one, None)])
        with pytest.raises(RefChanged):
            refs.transaction(repo, [RefUpdate("refs/gzl/a", one, expected)])
        with pytest.raises(RefChanged):
            refs.transaction(repo, [RefUpdate("refs/gzl/none", one, "1" * 40)])

    def test_any_and_deletion(self, path: Path, repo: Repo) -> None:
        one, two = empty_commit(path, "1"), empty_commit(path, "2")
        for new in (one, two):
            refs.transaction(repo, [RefUpdate("refs/gzl/a", new, ANY)])
        with pytest.raises(RefChanged):
            refs.transaction(repo, [RefUpdate("refs/gzl/a", None, one)])
        refs.transaction(repo, [RefUpdate("refs/gzl/a", None, two), RefUpdate("refs/gzl/none", None, ANY)])
        assert refs.read(repo, "refs/gzl") == {}

    @pytest.mark.parametrize(
        ("there", "wanted"), [("refs/notes/gzl", "refs/notes/gzl/x"), ("refs/gzl/a/b", "refs/gzl/a")]
    )
    def test_says_what_is_in_the_way(self, path: Path, repo: Repo, there: str, wanted: str) -> None:
        one = empty_commit(path, "1")
        refs.transaction(repo, [RefUpdate(there, one, None)])
        with pytest.raises(RefInTheWay, match=f"'{there}' exists"):
            refs.transaction(repo, [RefUpdate(wanted, one, None)])

    def test_waits_for_a_lock_and_then_says_so(self, path: Path, repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(refs, "_SETTINGS", ("-c", "core.filesRefLockTimeout=20"))
        one = empty_commit(path, "1")
        refs.transaction(repo, [RefUpdate("refs/gzl/a", one, None)])
        (path / ".git/refs/gzl/a.lock").touch()
        with pytest.raises(TransientError, match="fsck --repair"):
            refs.transaction(repo, [RefUpdate("refs/gzl/a", one, ANY)])

    def test_needs_no_identity(self, path: Path, repo: Repo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "home/.gitconfig").write_text("[user]\n\tuseConfigOnly = true\n")
        (path / ".git/logs").mkdir(exist_ok=True)
        tree = trees.open(repo.common_dir).TreeBuilder().write()
        objects = trees.open(repo.common_dir)
        made = trees.commit(objects, tree, [], author="w <evil>\n", time=1, message="x")
        refs.transaction(repo, [RefUpdate("refs/notes/gzl", str(made), None)])
        assert "gzl" in (path / ".git/logs/refs/notes/gzl").read_text()


def test_sha256_is_refused_clearly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    isolate(monkeypatch, tmp_path)
    git(tmp_path, "init", "--quiet", "--object-format=sha256", "new")
    with pytest.raises(UserError, match="SHA-256"):
        trees.open(tmp_path / "new/.git")
