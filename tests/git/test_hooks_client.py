"""The hooks of a working tree: one event for each thing that was done, none that no rule wants, and no git started."""

import os
from pathlib import Path

import pytest
from hook_world import ODD, World, make_world, take_events

from gzl.git.repo import Repo
from gzl.githooks import spool
from gzl.model.event import Event, EventKind


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path / ODD)


@pytest.fixture
def client(world: World) -> Repo:
    return world.client()


def _tree(repo: Repo) -> Path:
    assert repo.worktree is not None
    return repo.worktree


def _write(world: World, tree: Path, name: str, text: str = "x") -> str:
    (tree / name).write_text(text)
    world.git(tree, "add", name)
    return world.commit(tree, name)


def _topic(world: World, tree: Path) -> None:
    """A branch `topic` with two commits, that main went on from with one."""
    world.git(tree, "checkout", "-q", "-b", "topic")
    _write(world, tree, "one")
    _write(world, tree, "two")
    world.git(tree, "checkout", "-q", "main")
    _write(world, tree, "main")


def test_a_commit_becomes_an_event_and_starts_a_manager(world: World, client: Repo) -> None:
    new = world.commit(_tree(client))
    assert take_events(client) == [Event(EventKind.COMMIT, "refs/heads/main", None, new, "ann")]
    called = world.wait_for_call()
    assert f"args manage-repo --daemon -C {client.common_dir}\n" in called
    assert "GIT_" not in called


@pytest.mark.parametrize(
    ("gzlfile", "wanted"),
    [
        ("on commit: t\n", True),
        ("on\tcommit main:t\n", True),
        ("\ufeffon commit: t\n", True),
        ("t:\n    true\non commit: t", True),
        ("on commit: t\r\n", True),
        ("on \\\n  commit: t\n", True),
        ("# x\n" * 99 + "on commit: t\n", True),
        ("# x\n" * 99 + "on \\\n commit: t\n", True),
        ("# x\n" * 99 + "on push: t\n", False),
        ("on push: t\n", False),
        ("# on commit: t\n", False),
        ("t:\n    on commit\n", False),
        (None, False),
        ("", False),
    ],
)
def test_a_commit_that_no_rule_wants_costs_nothing(world: World, gzlfile: str | None, wanted: bool) -> None:
    client = world.client(gzlfile=gzlfile)
    world.commit(_tree(client))
    assert len(take_events(client)) == int(wanted)
    assert wanted or not client.layout.manager_log.exists()


def test_amending_is_one_event(world: World, client: Repo) -> None:
    world.git(_tree(client), "commit", "-q", "--amend", "-m", "amended", "--allow-empty")
    (event,) = take_events(client)
    assert event.new == world.git(_tree(client), "rev-parse", "HEAD")


def test_a_detached_head_is_called_head(world: World, client: Repo) -> None:
    world.git(_tree(client), "checkout", "-q", "--detach")
    new = world.commit(_tree(client))
    (event,) = take_events(client)
    assert (event.ref, event.new) == ("HEAD", new)


@pytest.mark.parametrize("backend", ["--merge", "--apply"])
def test_a_rebase_is_one_event_for_its_tip(world: World, client: Repo, backend: str) -> None:
    tree = _tree(client)
    _topic(world, tree)
    world.git(tree, "checkout", "-q", "topic")
    take_events(client)

    world.git(tree, "rebase", "-q", backend, "main")

    (event,) = take_events(client)
    assert event.new == world.git(tree, "rev-parse", "topic")
    assert event.kind is EventKind.COMMIT


def test_cherry_picking_several_is_one_event_for_the_last(world: World, client: Repo) -> None:
    tree = _tree(client)
    _topic(world, tree)
    take_events(client)

    world.git(tree, "cherry-pick", "topic~1", "topic")
    (event,) = take_events(client)
    assert (event.ref, event.new) == ("refs/heads/main", world.git(tree, "rev-parse", "main"))

    world.git(tree, "revert", "--no-edit", "HEAD")
    assert len(take_events(client)) == 1


def test_merges_are_events_of_their_own_and_squashing_is_none(world: World, client: Repo) -> None:
    tree = _tree(client)
    _topic(world, tree)
    take_events(client)
    world.git(tree, "merge", "-q", "--squash", "topic")
    world.git(tree, "reset", "-q", "--hard")
    assert take_events(client) == []

    world.git(tree, "merge", "-q", "--no-edit", "topic")
    (event,) = take_events(client)
    assert (event.kind, event.new) == (EventKind.MERGE, world.git(tree, "rev-parse", "main"))

    world.git(tree, "checkout", "-q", "topic")
    world.git(tree, "merge", "-q", "--ff-only", "main")
    (event,) = take_events(client)
    assert (event.kind, event.ref) == (EventKind.MERGE, "refs/heads/topic")


def test_linked_worktrees_share_the_hooks_and_the_spool(world: World, client: Repo) -> None:
    world.git(_tree(client), "worktree", "add", "-q", "../linked", "-b", "side")
    linked = _tree(client).parent / "linked"
    (linked / "sub").mkdir()
    new = world.commit(linked / "sub")
    (event,) = take_events(client)
    assert (event.ref, event.new) == ("refs/heads/side", new)


def test_a_submodule_has_hooks_of_its_own(world: World, client: Repo) -> None:
    outer = world.client("outer")
    world.git(_tree(outer), "submodule", "add", "-q", os.fspath(_tree(client)), "inner")
    inner = world.install(_tree(outer) / "inner", server=False)
    new = world.commit(_tree(outer) / "inner")
    (event,) = take_events(inner)
    assert event.new == new
    assert spool.pending(outer.layout) == []


def test_packed_refs_and_odd_branch_names(world: World, client: Repo) -> None:
    tree = _tree(client)
    name = "q'\"$(touch${IFS}pwned);&\udcff"
    world.git(tree, "checkout", "-q", "-b", name)
    world.git(tree, "pack-refs", "--all")
    new = world.commit(tree)
    (event,) = take_events(client)
    assert (event.ref, event.new) == (f"refs/heads/{name}", new)
    assert not list(world.root.rglob("pwned"))


def test_head_that_is_no_plain_branch_is_asked_of_git(world: World, client: Repo) -> None:
    tree = _tree(client)
    world.git(tree, "symbolic-ref", "refs/heads/alias", "refs/heads/main")
    world.git(tree, "symbolic-ref", "HEAD", "refs/heads/alias")
    new = world.commit(tree)
    (event,) = take_events(client)
    assert event.new == new


def test_sha256_repositories(world: World) -> None:
    world.git(world.root, "init", "-q", "--object-format=sha256", "long")
    (world.root / "long" / "Gzlfile").write_text("on commit: t\n")
    client = world.install(world.root / "long", server=False)
    new = world.commit(world.root / "long")
    (event,) = take_events(client)
    assert len(event.new or "") == 64
    assert event.new == new


@pytest.mark.parametrize("broken", ["spool", "gzl"])
def test_a_commit_stands_whatever_is_wrong(world: World, client: Repo, broken: str) -> None:
    if broken == "spool":
        client.layout.spool.rename(client.layout.root / "away")
    else:
        os.unlink(world.gzl)
    done = world.run(_tree(client), "git", "commit", "--allow-empty", "-m", "x")
    assert "gzl: " in done.stderr
    assert done.stderr.count("\n") == 1
