"""gzl beside the real pre-commit, husky and lefthook, whichever was first: both keep working."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hook_world import World, make_world, take_events

from gzl.git.repo import Repo
from gzl.githooks.install import heal, uninstall

PRE_COMMIT = """\
repos:
- repo: local
  hooks:
  - {id: mark, name: mark, entry: touch, args: [theirs], language: system, always_run: true, pass_filenames: false,
     stages: [post-commit]}
  - {id: refuse, name: refuse, entry: test, args: ['!', -e, refuse], language: system, always_run: true,
     pass_filenames: false, stages: [pre-commit]}
"""
LEFTHOOK = """\
post-commit:
  jobs:
  - run: touch theirs
pre-commit:
  jobs:
  - run: test ! -e refuse
"""


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the hook managers, each from its own registry."""
    folder = tmp_path_factory.mktemp("tools")
    if shutil.which("npm") is None:
        pytest.fail("this test needs Node's npm (Debian: apt-get install npm)")
    for argv in (
        [sys.executable, "-m", "venv", "venv"],
        ["venv/bin/pip", "install", "--quiet", "--disable-pip-version-check", "pre-commit>=4,<5"],
        ["npm", "install", "--no-fund", "--no-audit", "--silent", "husky@9", "lefthook@2"],
    ):
        subprocess.run(argv, cwd=folder, check=True, timeout=280)
    return folder


@pytest.fixture
def world(tmp_path: Path, tools: Path) -> World:
    world = make_world(tmp_path / "a 'b' $(c)")
    paths = [tools / "venv/bin", tools / "node_modules/.bin", world.env["PATH"]]
    return World(world.root, {**world.env, "PATH": ":".join(map(os.fspath, paths))})


@pytest.fixture
def tree(world: World) -> Path:
    world.git(world.root, "init", "-q", "tree")
    tree = world.root / "tree"
    (tree / "Gzlfile").write_text("on commit: t\n")
    (tree / "package.json").write_text("{}\n")
    return tree


def _both_work(world: World, tree: Path, repo: Repo) -> None:
    """A commit is an event, their post-commit hook runs, and their pre-commit hook can refuse."""
    take_events(repo)
    (tree / "theirs").unlink(missing_ok=True)
    new = world.commit(tree)
    assert [event.new for event in take_events(repo)] == [new]
    assert (tree / "theirs").exists()
    (tree / "refuse").touch()
    world.git(tree, "add", "refuse")  # lefthook passes over a commit without files
    assert world.run(tree, "git", "commit", "--allow-empty", "-m", "x", ok=False).returncode == 1
    world.git(tree, "rm", "-q", "-f", "refuse")
    assert take_events(repo) == []


def _hooks(tree: Path) -> dict[str, tuple[int, bytes]]:
    return {
        path.name: (path.stat().st_mode, path.read_bytes())
        for path in (tree / ".git/hooks").iterdir()
        if path.suffix != ".sample"
    }


def _pre_commit(world: World, tree: Path) -> None:
    (tree / ".pre-commit-config.yaml").write_text(PRE_COMMIT)
    world.git(tree, "add", ".pre-commit-config.yaml")
    world.run(tree, "pre-commit", "install", "-t", "pre-commit", "-t", "post-commit")


def _husky(world: World, tree: Path) -> None:
    world.run(tree, "husky")
    (tree / ".husky/post-commit").write_text("touch theirs\n")
    (tree / ".husky/pre-commit").write_text("test ! -e refuse\n")


def _lefthook(world: World, tree: Path, text: str = LEFTHOOK) -> None:
    (tree / "lefthook.yml").write_text(text)
    world.run(tree, "lefthook", "install")


@pytest.mark.needs("pypi")
@pytest.mark.needs("npm")
class TestPreCommit:
    def test_before(self, world: World, tree: Path) -> None:
        world.script(tree / ".git/hooks/post-commit", "touch oldest")
        _pre_commit(world, tree)
        original = _hooks(tree)
        repo = world.install(tree, server=False)
        _both_work(world, tree, repo)
        assert (tree / "oldest").exists()

        uninstall(repo)
        assert _hooks(tree) == original

    def test_before_and_again_after(self, world: World, tree: Path) -> None:
        _pre_commit(world, tree)
        repo = world.install(tree, server=False)
        _pre_commit(world, tree)
        _both_work(world, tree, repo)
        assert heal(repo) is None

    def test_after(self, world: World, tree: Path) -> None:
        world.script(tree / ".git/hooks/post-commit", "touch oldest")
        repo = world.install(tree, server=False)
        _pre_commit(world, tree)
        _both_work(world, tree, repo)
        heal(repo)
        _both_work(world, tree, repo)
        assert (tree / "oldest").exists()

    def test_uninstalled_later(self, world: World, tree: Path) -> None:
        _pre_commit(world, tree)
        repo = world.install(tree, server=False)
        world.run(tree, "pre-commit", "uninstall", "-t", "post-commit")
        world.commit(tree)
        assert len(take_events(repo)) == 1
        heal(repo)
        world.commit(tree)
        assert len(take_events(repo)) == 1
        uninstall(repo)
        assert set(_hooks(tree)) == {"pre-commit"}


@pytest.mark.needs("pypi")
@pytest.mark.needs("npm")
class TestHusky:
    def test_before_and_at_every_npm_install(self, world: World, tree: Path) -> None:
        _husky(world, tree)
        original = (tree / ".git/config").read_bytes()
        repo = world.install(tree, server=False)
        _both_work(world, tree, repo)
        world.run(tree, "husky")
        _both_work(world, tree, repo)

        uninstall(repo)
        assert (tree / ".git/config").read_bytes() == original
        assert world.git(tree, "status", "--porcelain", ".husky/_") == ""

    def test_after(self, world: World, tree: Path) -> None:
        repo = world.install(tree, server=False)
        _husky(world, tree)
        world.commit(tree)  # missed by the hooks: a manager finds it by the branch's tip
        assert heal(repo) is not None
        _both_work(world, tree, repo)
        world.run(tree, "husky")
        _both_work(world, tree, repo)


@pytest.mark.needs("pypi")
@pytest.mark.needs("npm")
class TestLefthook:
    def test_before(self, world: World, tree: Path) -> None:
        _lefthook(world, tree)
        original = _hooks(tree)
        repo = world.install(tree, server=False)
        _both_work(world, tree, repo)
        uninstall(repo)
        assert _hooks(tree) == original

    def test_after(self, world: World, tree: Path) -> None:
        repo = world.install(tree, server=False)
        _lefthook(world, tree)
        assert heal(repo) is not None
        _both_work(world, tree, repo)

    def test_its_configuration_changes(self, world: World, tree: Path) -> None:
        repo = world.install(tree, server=False)
        _lefthook(world, tree)
        heal(repo)
        for number in range(2):
            # lefthook writes its hooks anew when it next runs, over gzl's, and must not stumble over it.
            config = tree / "lefthook.yml"
            config.write_text(f"{LEFTHOOK}post-merge:\n  jobs:\n  - run: echo {number}\n")
            later = config.stat().st_mtime + 10 * (number + 1)
            os.utime(config, (later, later))
            assert "could not replace" not in world.run(tree, "git", "commit", "--allow-empty", "-m", "x").stderr
            assert heal(repo) is not None
            _both_work(world, tree, repo)

    def test_it_is_uninstalled(self, world: World, tree: Path) -> None:
        world.script(tree / ".git/hooks/post-commit", "touch oldest")
        _lefthook(world, tree)
        repo = world.install(tree, server=False)
        world.run(tree, "lefthook", "uninstall")
        heal(repo)
        world.commit(tree)
        assert len(take_events(repo)) == 1
        assert (tree / "oldest").exists()
        uninstall(repo)
        assert set(_hooks(tree)) == {"post-commit"}
