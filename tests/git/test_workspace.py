"""Workspaces are clean whatever a stage did to them, and cheap where it did nothing."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gzl.git.repo import Repo, open_repo
from gzl.git.workspace import Workspace

FILES = {"a.txt": "one\n", "folder/b.txt": "two\n", ".gitignore": "ignored\n", "tool.sh": "#!/bin/sh\n"}


@pytest.fixture
def repo(git_repo: Any) -> Repo:
    """A repository of two commits, made by pytest-git."""
    root = Path(git_repo.workspace)
    for name, text in FILES.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    (root / "tool.sh").chmod(0o755)
    git_repo.run("git config user.name a")
    git_repo.run("git config user.email a@example.com")
    git_repo.run("git add --all")
    git_repo.run("git commit -q -m first")
    git_repo.run("git tag v1")
    (root / "a.txt").write_text("changed\n")
    git_repo.run("git commit -q -a -m second")
    return open_repo(root)


@pytest.fixture
def workspace(repo: Repo, tmp_path: Path) -> Workspace:
    return Workspace(repo, tmp_path / "slot", repo.resolve("HEAD") or "")


def content(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }


def test_a_checkout_with_a_git_of_its_own(workspace: Workspace) -> None:
    path = workspace.prepare()
    assert content(path) == {**FILES, "a.txt": "changed\n"}
    assert os.access(path / "tool.sh", os.X_OK)
    done = subprocess.run(["git", "describe", "--tags"], cwd=path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("v1-1-g")
    status = subprocess.run(["git", "status", "--porcelain"], cwd=path, capture_output=True, text=True, check=True)
    assert status.stdout == ""


def _hide_a_change(path: Path) -> None:
    (path / "a.txt").write_text("evil\n")
    subprocess.run(["git", "update-index", "--assume-unchanged", "a.txt"], cwd=path, check=True)


def _commit(path: Path) -> None:
    command = ["git", "-c", "user.name=x", "-c", "user.email=x@x", "commit", "-q", "--allow-empty", "-m", "inside"]
    subprocess.run(command, cwd=path, check=True)


def _make_unremovable(path: Path) -> None:
    (path / "cache/deep").mkdir(parents=True)
    (path / "cache/deep/file").write_text("x")
    (path / "cache/deep").chmod(0o500)
    (path / "cache").chmod(0o500)


def _swap_kinds(path: Path) -> None:
    (path / "folder/b.txt").unlink()
    (path / "folder").rmdir()
    (path / "folder").write_text("a file now")
    (path / "a.txt").unlink()
    (path / "a.txt").mkdir()


def _replace_git(path: Path) -> None:
    subprocess.run(["rm", "-r", ".git"], cwd=path, check=True)
    (path / ".git").symlink_to("/nowhere")


def _change_secretly(path: Path) -> None:
    before = (path / "a.txt").stat()
    (path / "a.txt").write_text("chanGed\n")
    os.utime(path / "a.txt", ns=(before.st_atime_ns, before.st_mtime_ns))


def _install_a_hook(path: Path) -> None:
    (path / ".git/hooks").mkdir()
    (path / ".git/hooks/post-checkout").write_text("#!/bin/sh\n")


MISCHIEF: dict[str, Callable[[Path], object]] = {
    "a new file": lambda path: (path / "new").touch(),
    "an ignored file": lambda path: (path / "ignored").touch(),
    "a changed file": lambda path: (path / "a.txt").write_text("other\n"),
    "a change of the same length and time": _change_secretly,
    "a removed file": lambda path: (path / "folder/b.txt").unlink(),
    "another mode": lambda path: (path / "tool.sh").chmod(0o644),
    "a nested repository": lambda path: subprocess.run(["git", "init", "-q", path / "sub"], check=True),
    "a change that git does not see": _hide_a_change,
    "a commit": _commit,
    "a hook": _install_a_hook,
    "a lock": lambda path: (path / ".git/index.lock").touch(),
    "folders that may not be written to": _make_unremovable,
    "files for folders": _swap_kinds,
    "no git folder": _replace_git,
}


@pytest.mark.parametrize("mischief", MISCHIEF)
def test_it_is_clean_again_whatever_a_stage_did(workspace: Workspace, mischief: str) -> None:
    path = workspace.prepare()
    MISCHIEF[mischief](path)
    assert workspace.prepare() == path
    assert content(path) == {**FILES, "a.txt": "changed\n"}
    assert os.access(path / "tool.sh", os.X_OK)
    assert sorted(os.listdir(path)) == [".git", ".gitignore", "a.txt", "folder", "tool.sh"]
    assert not (path / ".git/hooks").exists()
    head = subprocess.run(["git", "log", "--format=%s", "-1"], cwd=path, capture_output=True, text=True, check=True)
    assert head.stdout == "second\n"


def test_nothing_is_done_where_nothing_was(workspace: Workspace) -> None:
    path = workspace.prepare()
    inode = (path / ".git/HEAD").stat().st_ino
    workspace.prepare()
    assert (path / ".git/HEAD").stat().st_ino == inode


def test_the_next_job_takes_over_what_is_there(repo: Repo, workspace: Workspace, tmp_path: Path) -> None:
    path = workspace.prepare()
    (path / "left behind").touch()
    (tmp_path / "slot/index.lock").touch()
    kept = (path / "folder/b.txt").stat().st_ino
    older = Workspace(repo, tmp_path / "slot", repo.resolve("v1") or "")
    assert content(older.prepare()) == FILES
    assert (path / "folder/b.txt").stat().st_ino == kept, "what is the same in both commits stays as it is"
