"""What hooks cost: pushes to a local bare repository and empty commits, with gzl's hooks, other tools', and none.

The manager is idle and alive: a process with a pid file, and its FIFO.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from common import ROOT, Machine, Table, compare, in_turns, python_packages, timed

sys.path[:0] = [os.fspath(ROOT / "tests")]

from hook_world import World, make_world  # noqa: E402

from gzl.git.repo import Repo  # noqa: E402
from gzl.githooks.install import heal  # noqa: E402
from gzl.kit.proc import start_time  # noqa: E402

WANTED = "on push: t\non commit: t\nt:\n    true\n"
UNWANTED = "on push: t\n\nt:\n" + "    make something of this and that\n" * 20
LONG = "on push: t\n\nt:\n" + "    make something of this and that\n" * 500
BUDGETS = {"push, gzl": 1.3, "commit, gzl, no rule wants it": 1.5, "commit, gzl, an event": 1.5}
TOOLS = {
    "pre-commit": ["pre-commit", "install", "-t", "pre-commit"],
    "lefthook": ["lefthook", "install"],
    "husky": ["husky"],
}
Cases = dict[str, Callable[[int], None]]


def tables(machine: Machine) -> Iterator[Table]:
    """A table each for pushes, large pushes, commits, and gzl's look at its own hooks."""
    rounds = machine.rounds(60, 10)
    world = make_world(machine.folder / "hooks")
    pid = machine.start("sleep", "3600", log=machine.folder / "sleep.log").pid
    path, missing = _tools(machine)
    yield _table("push of one commit to a local bare repository", _pushes(world, pid), rounds)
    yield _table("push of 500 new branches", _branches(world, pid), machine.rounds(10))
    yield _table("empty commit", _commits(world, pid, path, missing), rounds, missing)
    yield _table("gzl's own look at its hooks, all being well", _heals(world), rounds)


def _table(title: str, cases: Cases, rounds: int, missing: dict[str, str] | None = None) -> Table:
    contestants = {name: _timed_by_round(case) for name, case in cases.items()}
    timings = in_turns(contestants, rounds)
    absent = {f"commit, {tool}": why for tool, why in (missing or {}).items()}
    return Table(f"{title}, {rounds} rounds", list(compare(timings, next(iter(cases)), BUDGETS, absent)))


def _timed_by_round(case: Callable[[int], None]) -> Callable[[], float]:
    numbers = iter(range(1_000_000))
    return lambda: timed(lambda: case(next(numbers)))


def _pushes(world: World, manager: int) -> Cases:
    cases = {}
    for name in ("push, plain git", "push, gzl"):
        server = _server(world, name, manager if "gzl" in name else None)
        work = world.clone(server, f"{name} work")
        cases[name] = _push_of(world, work)
    return cases


def _push_of(world: World, work: Path) -> Callable[[int], None]:
    # Two commits are there already; the push alternates between them.
    first, second = world.commit(work), world.commit(work)
    world.git(work, "push", "-q", "origin", f"{first}:refs/heads/main")

    def push(number: int) -> None:
        _quiet(world, work, "git", "push", "-q", "-f", "origin", f"{(second, first)[number % 2]}:refs/heads/main")

    return push


def _branches(world: World, manager: int) -> Cases:
    cases = {}
    for name in ("500 branches, plain git", "500 branches, gzl"):
        server = _server(world, name, manager if "gzl" in name else None)
        work = world.clone(server, f"{name} work")
        world.commit(work)
        cases[name] = _branches_of(world, work)
    return cases


def _branches_of(world: World, work: Path) -> Callable[[int], None]:
    def push(number: int) -> None:
        _quiet(world, work, "git", "push", "-q", "origin", *[f"HEAD:refs/heads/{number}-{x}" for x in range(500)])

    return push


def _commits(world: World, manager: int, path: str, missing: dict[str, str]) -> Cases:
    cases = {"commit, plain git": _commit_of(world, _tree(world, "plain", WANTED))}
    for name, gzlfile in (
        ("commit, gzl, no rule wants it", UNWANTED),
        ("commit, gzl, the same, a long Gzlfile", LONG),
        ("commit, gzl, an event", WANTED),
    ):
        tree = _tree(world, name, gzlfile)
        _manage(world.install(tree, server=False), manager)
        cases[name] = _commit_of(world, tree)
    for tool, command in TOOLS.items():
        if tool in missing:
            continue
        for beside in ("", " and gzl"):
            tree = _tree(world, f"{tool}{beside}", WANTED)
            (tree / ".pre-commit-config.yaml").write_text("repos: []\n")
            (tree / "lefthook.yml").write_text("pre-commit:\n  jobs:\n  - run: 'true'\n")
            (tree / ".husky").mkdir()
            (tree / ".husky/pre-commit").write_text("true\n")
            world.run(tree, *command, PATH=path)
            if beside:
                _manage(world.install(tree, server=False), manager)
            cases[f"commit, {tool}{beside}"] = _commit_of(world, tree, path)
    return cases


def _heals(world: World) -> Cases:
    repo = world.client("healed")
    return {"one `git config --get`": lambda _: _ask(repo), "heal": lambda _: _heal(repo)}


def _ask(repo: Repo) -> None:
    repo.config("core.hooksPath")


def _heal(repo: Repo) -> None:
    assert heal(repo) is None


def _commit_of(world: World, tree: Path, path: str = "") -> Callable[[int], None]:
    def commit(_: int) -> None:
        _quiet(world, tree, "git", "commit", "-q", "--allow-empty", "-m", "x", path=path)

    return commit


def _server(world: World, name: str, manager: int | None) -> Path:
    if manager is None:
        world.git(world.root, "init", "-q", "--bare", name)
    else:
        _manage(world.server(name), manager)
    return world.root / name


def _tree(world: World, name: str, gzlfile: str) -> Path:
    world.git(world.root, "init", "-q", name)
    (world.root / name / "Gzlfile").write_text(gzlfile)
    return world.root / name


def _manage(repo: Repo, pid: int) -> None:
    repo.layout.manager_pid.write_text(f"{pid} {start_time(pid)}\n")
    os.mkfifo(repo.layout.manager_wake)
    os.open(repo.layout.manager_wake, os.O_RDWR | os.O_NONBLOCK)


def _quiet(world: World, directory: Path, *argv: str, path: str = "") -> None:
    environment = {**world.env, "PATH": path} if path else dict(world.env)
    subprocess.run(
        argv, cwd=directory, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def _tools(machine: Machine) -> tuple[str, dict[str, str]]:
    """The PATH on which other hook managers are, and why those that are not there are missing."""
    bin_folder, missing = python_packages(machine, "pre-commit>=4,<5")
    missing = {package.partition(">")[0]: why for package, why in missing.items()}
    modules = machine.folder / "peers"
    for tool, package in {"husky": "husky@9", "lefthook": "lefthook@2"}.items():
        if shutil.which("npm") is None:
            missing[tool] = "this machine has no npm to install it with"
            continue
        try:
            machine.run("npm", "install", "--no-fund", "--no-audit", "--silent", package, cwd=modules)
        except RuntimeError as error:
            missing[tool] = f"npm install {package} failed: {str(error).splitlines()[-1]}"
    return f"{bin_folder}:{modules}/node_modules/.bin:{machine.env['PATH']}", missing
