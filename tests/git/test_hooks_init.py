"""`gzl init`: one command finds out what a repository is, sets it up, and takes it all back."""

import os
import sys
from pathlib import Path

import pytest
from hook_world import ODD, World, make_world, take_events

from gzl.githooks import spool

GZL = os.fspath(Path(sys.executable).with_name("gzl"))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path / ODD)


def _gzl(world: World, directory: Path, *args: str, status: int = 0) -> str:
    done = world.run(directory, GZL, *args, ok=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def _make(world: World, name: str, *args: str) -> Path:
    world.git(world.root, "init", "-q", *args, name)
    return world.root / name


def _state(git_dir: Path) -> dict[str, tuple[int, bytes]]:
    return {
        os.fspath(path.relative_to(git_dir)): (path.stat().st_mode, path.read_bytes())
        for path in [git_dir / "config", *(git_dir / "hooks").iterdir()]
    }


def test_a_bare_repository_is_a_server_and_its_clone_follows_it(world: World) -> None:
    server = _make(world, "server.git", "--bare")
    assert "set up as a server" in _gzl(world, server, "init")
    assert not (server / "Gzlfile").exists()
    clone = world.clone(server, "clone")

    said = _gzl(world, clone, "init")

    assert "set up as a client" in said
    assert "follows origin" in said
    assert world.git(clone, "config", "gzl.follow") == "origin"
    assert "all is in place" in _gzl(world, clone, "init")
    assert "all is in place" in _gzl(world, server, "init")


def test_a_repository_without_a_commit_gets_a_first_gzlfile(world: World) -> None:
    tree = _make(world, "tree")
    (tree / "go.mod").touch()
    said = _gzl(world, tree, "init")
    assert "wrote a first Gzlfile for Go" in said
    assert "git add Gzlfile && git commit" in said
    assert "go test" in (tree / "Gzlfile").read_text()


def test_history_does_not_run(world: World) -> None:
    tree = _make(world, "tree")
    new = world.commit(tree)
    _gzl(world, tree, "init")
    repo = world.repo(tree)
    assert take_events(repo) == []
    assert spool.read_seen(repo.layout) == {"refs/heads/main": new}


def test_uninstalling_restores_every_byte_and_keeps_results(world: World) -> None:
    server = _make(world, "server.git", "--bare")
    _gzl(world, server, "init")
    clone = world.clone(server, "clone")
    world.script(clone / ".git/hooks/post-commit", "true").chmod(0o750)
    before = _state(clone / ".git")
    _gzl(world, clone, "init")
    writer = world.git(clone, "config", "gzl.writer")

    assert "results stay" in _gzl(world, clone, "init", "--uninstall")

    assert _state(clone / ".git") == before
    assert "nothing to do" in _gzl(world, clone, "init", "--uninstall")
    assert world.git(clone, "for-each-ref", f"refs/gzl/ledger/{writer}") != ""
    _gzl(world, clone, "init")
    assert world.git(clone, "config", "gzl.writer") == writer


def test_purging_leaves_nothing(world: World) -> None:
    server = _make(world, "server.git", "--bare")
    before = _state(server)
    _gzl(world, server, "init")
    _gzl(world, server, "init", "--uninstall", "--purge")
    assert _state(server) == before
    assert world.git(server, "for-each-ref") == ""
    assert not (server / "gzl").exists()


def test_a_server_with_a_working_tree_is_warned_of_its_branch(world: World) -> None:
    tree = _make(world, "tree")
    assert "receive.denyCurrentBranch updateInstead" in _gzl(world, tree, "init", "--server")
    world.git(tree, "config", "receive.denyCurrentBranch", "updateInstead")
    assert "denyCurrentBranch" not in _gzl(world, tree, "init")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--client"], "--client: "),
        (["--server", "--follow", "origin"], "--follow: a server writes results of its own"),
        (["--purge"], "--purge: only together with --uninstall"),
        (["--uninstall", "--server"], "--uninstall: takes no other option"),
    ],
)
def test_what_cannot_be_is_said(world: World, args: list[str], message: str) -> None:
    server = _make(world, "server.git", "--bare")
    assert message in _gzl(world, server, "init", *args, status=2)
    assert not (server / "gzl").exists()


def test_following_needs_a_remote_that_is_a_server(world: World) -> None:
    plain = _make(world, "plain.git", "--bare")
    clone = world.clone(plain, "clone")
    assert "not a gzl server" in _gzl(world, clone, "init", "--follow", "origin", status=2)
    assert "there are origin" in _gzl(world, clone, "init", "--follow", "elsewhere", status=2)
    world.git(clone, "remote", "set-url", "origin", os.fspath(world.root / "gone"))
    assert "cannot tell whether origin is a gzl server" in _gzl(world, clone, "init")
