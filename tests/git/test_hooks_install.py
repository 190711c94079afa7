"""Installing hooks beside other people's: theirs keep working as they did, and come back to the byte."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hook_world import ODD, World, make_world, take_events

from gzl.errors import UserError
from gzl.githooks.install import heal, install, uninstall
from gzl.githooks.script import hooks_source


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path / ODD)


@pytest.fixture
def tree(world: World) -> Path:
    """A working tree with a Gzlfile and no hooks of gzl's yet."""
    world.git(world.root, "init", "-q", "tree")
    (world.root / "tree" / "Gzlfile").write_text("on commit: t\n")
    world.git(world.root / "tree", "add", ".")
    world.commit(world.root / "tree")
    return world.root / "tree"


Looks = dict[str, tuple[object, ...]]


def _looks(folder: Path, times: bool = True) -> Looks:
    """Everything that tells two states of the hooks and the configuration apart; gzl's own folder is left out."""
    looks: Looks = {}
    for path in [folder / "config", *sorted((folder / "hooks").rglob("*"))]:
        state = path.lstat()
        content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        looks[os.fspath(path.relative_to(folder))] = (state.st_mode, content, state.st_mtime_ns if times else 0)
    return looks


def _plain(world: World, tree: Path) -> None:
    world.script(tree / ".git/hooks/post-commit", "echo mine").chmod(0o711)
    world.script(tree / ".git/hooks/pre-commit", "true")


def _switched_off(world: World, tree: Path) -> None:
    world.script(tree / ".git/hooks/post-commit", "touch ran").chmod(0o644)


def _linked(world: World, tree: Path) -> None:
    world.script(tree / "tools/any-hook", "import sys; print(sys.argv[0])", "#!/usr/bin/env python3")
    (tree / ".git/hooks/post-commit").symlink_to("../../tools/any-hook")


def _no_newline(world: World, tree: Path) -> None:
    config = tree / ".git/config"
    config.write_bytes(config.read_bytes().rstrip(b"\n"))
    config.chmod(0o600)


def _no_folder(world: World, tree: Path) -> None:
    shutil.rmtree(tree / ".git/hooks")


def _tracked(world: World, tree: Path) -> None:
    world.script(tree / ".githooks/post-commit", "echo mine")
    world.git(tree, "config", "core.hooksPath", ".githooks")


def _shared(world: World, tree: Path) -> None:
    shutil.rmtree(tree / ".git/hooks")
    world.script(world.root / "shared/post-commit", "echo mine")
    (tree / ".git/hooks").symlink_to(world.root / "shared")


BEFORE: dict[str, Callable[[World, Path], None]] = {
    "nothing": lambda world, tree: None,
    "plain scripts": _plain,
    "a script that is switched off": _switched_off,
    "links to a program for all hooks": _linked,
    "a configuration without a last newline": _no_newline,
    "no hooks folder": _no_folder,
    "a tracked hooks folder": _tracked,
    "a hooks folder that is a link": _shared,
}


@pytest.mark.parametrize("before", BEFORE.values(), ids=BEFORE)
def test_installing_twice_changes_nothing_and_uninstalling_restores_every_byte(
    world: World, tree: Path, before: Callable[[World, Path], None]
) -> None:
    before(world, tree)
    git_dir = tree / ".git"
    original = _looks(git_dir)
    status = world.git(tree, "status", "--porcelain")
    world.install(tree, server=False)
    first = _looks(git_dir)
    own = {path: path.stat().st_mtime_ns for path in (git_dir / "gzl").rglob("*")}

    repo = world.repo(tree)
    assert install(repo, hooks_source(), world.gzl, False).changed == ()

    assert _looks(git_dir) == first
    assert {path: path.stat().st_mtime_ns for path in (git_dir / "gzl").rglob("*")} == own
    assert world.git(tree, "status", "--porcelain") == status

    assert uninstall(repo).changed

    restored = _looks(git_dir)
    assert {**restored, "config": restored["config"][:2]} == {**original, "config": original["config"][:2]}
    assert uninstall(repo).changed == ()


PREVIOUS = {
    "sh": ("#!/bin/sh", 'echo "$0|$#|$1" >&2; exit 7'),
    "sh with options": ("#!/bin/sh -e", 'echo "$0|$#|$1" >&2; false'),
    "bash": ("#!/usr/bin/env bash", 'x=("$0" "$#" "$1"); (IFS="|"; echo "${x[*]}") >&2; exit 7'),
    "python": ("#!/usr/bin/env python3", "import sys; a = sys.argv; sys.stderr.write(f'{a[0]}|{len(a) - 1}|{a[1]}')"),
}


@pytest.mark.parametrize(("shebang", "body"), PREVIOUS.values(), ids=PREVIOUS)
def test_a_previous_hook_gets_its_name_its_arguments_and_its_way(
    world: World, tree: Path, shebang: str, body: str
) -> None:
    hook = world.script(tree / ".git/hooks/post-merge", body, shebang)
    alone = world.run(tree, ".git/hooks/post-merge", "0", ok=False)
    world.install(tree, server=False)

    chained = world.run(tree, ".git/hooks/post-merge", "0", ok=False)

    assert chained.returncode == alone.returncode
    # A program that is no shell script sees its own name, in a folder beside.
    name = alone.stderr.replace("hooks/", "hooks/before-gzl/") if "python" in shebang else alone.stderr
    assert chained.stderr == name
    assert hook.read_bytes().startswith(b"#!/bin/sh\n# gzl hook post-merge")


def test_a_hook_that_was_switched_off_stays_off(world: World, tree: Path) -> None:
    _switched_off(world, tree)
    repo = world.install(tree, server=False)
    world.commit(tree)
    assert len(take_events(repo)) == 1
    assert not (tree / "ran").exists()


@pytest.mark.needs("git-lfs")
def test_git_lfs_hooks_work_and_come_back(world: World, tree: Path) -> None:
    world.git(tree, "lfs", "install", "--local")
    original = _looks(tree / ".git", times=False)
    repo = world.install(tree, server=False)
    world.git(tree, "init", "-q", "--bare", str(world.root / "store.git"))
    world.git(tree, "remote", "add", "store", (world.root / "store.git").as_uri())
    world.git(tree, "lfs", "track", "*.bin")
    (tree / "big.bin").write_bytes(b"large")
    world.git(tree, "add", ".")

    world.commit(tree, GIT_TRACE="1")
    world.git(tree, "push", "-q", "store", "HEAD")

    assert len(take_events(repo)) == 1
    assert len([path for path in (world.root / "store.git/lfs/objects").rglob("*") if path.is_file()]) == 1
    world.git(tree, "remote", "remove", "store")
    uninstall(repo)
    assert {name: look for name, look in _looks(tree / ".git", times=False).items() if "hooks" in str(name)} == {
        name: look for name, look in original.items() if "hooks" in str(name)
    }


def test_stdin_of_a_previous_hook_is_whole(world: World, tree: Path) -> None:
    world.script(tree / ".git/hooks/post-rewrite", "cat >rewritten")
    world.install(tree, server=False)
    old = world.git(tree, "rev-parse", "HEAD")
    world.git(tree, "commit", "-q", "--amend", "--allow-empty", "-m", "new")
    assert (tree / "rewritten").read_text() == f"{old} {world.git(tree, 'rev-parse', 'HEAD')}\n"


def test_a_tracked_hooks_folder_is_passed_on_to_and_not_touched(world: World, tree: Path) -> None:
    world.script(tree / ".githooks/post-commit", 'echo "$0" >ran')
    world.script(tree / ".githooks/commit-msg", 'grep -q ok "$1"')
    world.script(tree / ".githooks/post-index-change", "touch indexed")
    world.git(tree, "add", ".")
    world.git(tree, "config", "core.hooksPath", ".githooks")
    world.commit(tree, "ok")
    repo = world.install(tree, server=False)

    new = world.commit(tree, "ok")

    assert [event.new for event in take_events(repo)] == [new]
    assert (tree / "ran").read_text() == ".githooks/post-commit\n"
    assert (tree / "indexed").exists()
    assert world.run(tree, "git", "commit", "--allow-empty", "-m", "bad", ok=False).returncode == 1
    assert world.git(tree, "status", "--porcelain", "--untracked-files=no") == ""


def test_a_hook_that_joins_a_tracked_folder_later_runs(world: World, tree: Path) -> None:
    _tracked(world, tree)
    world.install(tree, server=False)
    world.script(tree / ".githooks/pre-commit", "exit 1")
    assert world.run(tree, "git", "commit", "--allow-empty", "-m", "x", ok=False).returncode == 1


def test_one_hooks_folder_for_all_repositories_stays_out_of_it(world: World, tree: Path) -> None:
    world.script(world.root / "home/hooks/post-commit", "touch ran")
    world.git(tree, "config", "--global", "core.hooksPath", "~/hooks")
    repo = world.repo(tree)
    # gzl reads the configuration that its own environment names.
    world.git(tree, "config", "core.hooksPath", os.fspath(world.root / "home/hooks"))
    install(repo, hooks_source(), world.gzl, False)
    world.commit(tree)
    assert (tree / "ran").exists()
    assert len(take_events(repo)) == 1
    assert [path.name for path in (world.root / "home/hooks").iterdir()] == ["post-commit"]


def test_linked_worktrees_have_the_standing_in_hooks_too(world: World, tree: Path) -> None:
    _tracked(world, tree)
    repo = world.install(tree, server=False)
    world.git(tree, "worktree", "add", "-q", "../linked", "-b", "side")
    world.commit(tree.parent / "linked")
    assert len(take_events(repo)) == 1


@pytest.mark.parametrize("moved", [True, False])
def test_a_moved_or_copied_repository_runs_its_own_hooks_and_heals(world: World, tree: Path, moved: bool) -> None:
    world.script(tree / ".githooks/post-commit", "touch ran")
    world.git(tree, "config", "core.hooksPath", ".githooks")
    first = world.install(tree, server=False)
    elsewhere = tree.with_name("elsewhere")
    if moved:
        tree.rename(elsewhere)
    else:
        shutil.copytree(tree, elsewhere, symlinks=True)

    world.commit(elsewhere)
    assert (elsewhere / "ran").exists()
    assert take_events(first) == []

    repo = world.repo(elsewhere)
    assert heal(repo) is not None
    world.commit(elsewhere)
    assert len(take_events(repo)) == 1


def test_healing_what_is_well_starts_no_process(world: World, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repo = world.install(tree, server=False)
    monkeypatch.setenv("PATH", "/nowhere")
    assert heal(repo) is None


def test_healing_leaves_a_repository_without_gzl_alone(world: World, tree: Path) -> None:
    assert heal(world.repo(tree)) is None
    assert not (tree / ".git/gzl").exists()


def test_a_hook_that_another_tool_overwrote_is_healed_and_chained(world: World, tree: Path) -> None:
    repo = world.install(tree, server=False)
    world.script(tree / ".git/hooks/post-commit", "touch ran")

    report = heal(repo)

    assert report is not None
    assert "post-commit" in report.changed[0]
    world.commit(tree)
    assert (tree / "ran").exists()
    assert len(take_events(repo)) == 1
    assert heal(repo) is None


def test_hooks_that_were_sent_elsewhere_are_followed_there_and_back(world: World, tree: Path) -> None:
    world.script(tree / ".git/hooks/post-commit", "touch usual")
    repo = world.install(tree, server=False)
    world.script(tree / "other/post-commit", "touch other-ran")
    world.git(tree, "config", "core.hooksPath", "other")
    assert heal(repo) is not None
    world.commit(tree)
    assert (tree / "other-ran").exists()
    assert not (tree / "usual").exists()
    assert len(take_events(repo)) == 1

    # The tool sets it again, as husky does at every `npm install`, and in a section that comes after gzl's.
    world.git(tree, "config", "core.hooksPath", "other")
    world.commit(tree)
    assert len(take_events(repo)) == 1
    with (tree / ".git/config").open("a") as config:
        config.write("[core]\n\thooksPath = other\n")
    assert heal(repo) is not None
    world.commit(tree)
    assert len(take_events(repo)) == 1

    world.git(tree, "config", "--unset-all", "core.hooksPath")
    assert heal(repo) is not None
    world.commit(tree)
    assert (tree / "usual").exists()
    assert len(take_events(repo)) == 1


def test_an_interrupted_install_can_be_undone(world: World, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _plain(world, tree)
    original = _looks(tree / ".git", times=False)
    repo = world.repo(tree)

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gzl.githooks.install._drop_others", fail)
    monkeypatch.setattr("gzl.githooks.script.shell_of", fail)
    with pytest.raises(KeyboardInterrupt):
        install(repo, hooks_source(), world.gzl, False)
    monkeypatch.undo()

    uninstall(repo)
    assert _looks(tree / ".git", times=False) == original


def test_a_path_with_a_line_break_works_where_git_can_name_it(world: World) -> None:
    client = world.client("line\nbreak")
    world.commit(world.root / "line\nbreak")
    assert len(take_events(client)) == 1
    world.git(world.root / "line\nbreak", "config", "core.hooksPath", "x")
    with pytest.raises(UserError, match="line break"):
        heal(client)


def test_a_spool_for_a_group_is_open_to_it(world: World) -> None:
    world.git(world.root, "init", "-q", "--bare", "--shared=group", "server.git")
    repo = world.install(world.root / "server.git", server=True)
    assert (repo.layout.spool / "tmp").stat().st_mode == (repo.common_dir / "objects").stat().st_mode


def test_a_server_with_a_working_tree_has_both_kinds_of_hooks(world: World, tree: Path) -> None:
    world.install(tree, server=True)
    mine = {path.name for path in (tree / ".git/hooks").iterdir() if path.suffix != ".sample"}
    assert mine == {"pre-receive", "post-receive", "post-commit", "post-merge", "post-rewrite"}


def test_the_notes_are_shown_and_the_many_refs_hidden(world: World) -> None:
    server = world.server()
    assert server.config("notes.displayRef") == "refs/notes/gzl"
    assert server.config("receive.advertisePushOptions") == "true"
    hidden = world.git(server.git_dir, "config", "--get-all", "uploadpack.hideRefs").split()
    assert hidden == ["refs/gzl/live", "refs/gzl/queue", "refs/gzl/claim", "refs/gzl/remotes"]
