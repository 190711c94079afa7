"""What hooks cost: `python bench/hooks.py [--quick]`.

In one run, each round does every case once, so that a busy moment of the machine meets all of them; medians and ratios
over plain git are printed. The manager is idle and alive: a process with a pid file, and its FIFO.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [os.fspath(ROOT), os.fspath(ROOT / "tests")]

from hook_world import World, make_world  # noqa: E402

from gzl.git.repo import Repo  # noqa: E402
from gzl.githooks.install import heal  # noqa: E402
from gzl.kit.proc import start_time  # noqa: E402

WANTED = "on push: t\non commit: t\nt:\n    true\n"
UNWANTED = "on push: t\n\nt:\n" + "    make something of this and that\n" * 20
LONG = "on push: t\n\nt:\n" + "    make something of this and that\n" * 500
BUDGETS = {"push, gzl": 1.3, "commit, gzl, no rule wants it": 1.5, "commit, gzl, an event": 1.5}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rounds, and no tools from registries")
    quick = parser.parse_args().quick
    rounds = 10 if quick else 60
    with tempfile.TemporaryDirectory(prefix="gzl-bench-") as folder:
        world = make_world(Path(folder) / "world")
        manager = subprocess.Popen(["sleep", "3600"])
        try:
            tools = None if quick else _tools(Path(folder) / "tools")
            _table("push of one commit to a local bare repository", _pushes(world, manager.pid), rounds)
            _table("push of 500 new branches", _branches(world, manager.pid), 3 if quick else 10)
            _table("empty commit", _commits(world, manager.pid, tools), rounds)
            _table("gzl's own look at its hooks, all being well", _heals(world), rounds)
        finally:
            manager.kill()
            manager.wait()


def _table(title: str, cases: dict[str, Callable[[int], None]], rounds: int) -> None:
    times: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(rounds + 2):
        for name, case in cases.items():
            begun = time.perf_counter()
            case(number)
            if number >= 2:  # the first ones warm caches
                times[name].append(time.perf_counter() - begun)
    base = statistics.median(next(iter(times.values())))
    print(f"\n{title} ({rounds} rounds)")
    for name, measured in times.items():
        median = statistics.median(measured)
        budget = f"  budget {BUDGETS[name]}×" if name in BUDGETS else ""
        print(f"  {name:34} {median * 1000:8.1f} ms  {median / base:5.2f}×{budget}")


def _pushes(world: World, manager: int) -> dict[str, Callable[[int], None]]:
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


def _branches(world: World, manager: int) -> dict[str, Callable[[int], None]]:
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


def _commits(world: World, manager: int, tools: Path | None) -> dict[str, Callable[[int], None]]:
    cases = {"commit, plain git": _commit_of(world, _tree(world, "plain", WANTED))}
    for name, gzlfile in (
        ("commit, gzl, no rule wants it", UNWANTED),
        ("commit, gzl, the same, a long Gzlfile", LONG),
        ("commit, gzl, an event", WANTED),
    ):
        tree = _tree(world, name, gzlfile)
        _manage(world.install(tree, server=False), manager)
        cases[name] = _commit_of(world, tree)
    if tools is None:
        return cases
    path = f"{tools / 'venv/bin'}:{tools / 'node_modules/.bin'}:{world.env['PATH']}"
    for tool, command in (
        ("pre-commit", ["pre-commit", "install", "-t", "pre-commit"]),
        ("lefthook", ["lefthook", "install"]),
        ("husky", ["husky"]),
    ):
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


def _heals(world: World) -> dict[str, Callable[[int], None]]:
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


def _tools(folder: Path) -> Path | None:
    if shutil.which("npm") is None:
        print("no npm on this machine: pre-commit, lefthook and husky are left out")
        return None
    folder.mkdir()
    for argv in (
        [sys.executable, "-m", "venv", "venv"],
        ["venv/bin/pip", "install", "--quiet", "--disable-pip-version-check", "pre-commit>=4,<5"],
        ["npm", "install", "--no-fund", "--no-audit", "--silent", "husky@9", "lefthook@2"],
    ):
        subprocess.run(argv, cwd=folder, check=True)
    return folder


if __name__ == "__main__":
    main()
