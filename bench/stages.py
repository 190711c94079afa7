"""Graphs of no-op stages: `gzl run` and gzl's agent beside make, ninja, doit and just, on the same commands."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from common import Machine, Row, Table, compare, in_turns, python_packages

from gzl.git import source
from gzl.git.repo import open_repo
from gzl.managers import jobs
from gzl.managers.jobs import Asked
from gzl.model.event import Event, EventKind
from gzl.model.ids import new_job_id
from gzl.model.request import JobRequest
from gzl.notes.index import open_index
from gzl.notes.writer import own

Graph = Mapping[str, tuple[str, ...]]
"""Stage → the stages that it needs."""

COMMAND = "true"
SLOTS = 2
PACKAGES = {"ninja": "ninja", "doit": "doit", "just": "rust-just"}
BUDGET = 2.0


def tables(machine: Machine) -> Iterator[Table]:
    """Three graphs, each with all tools in turns."""
    bin_folder, failed = python_packages(machine, *PACKAGES.values())
    missing = {tool: failed[package] for tool, package in PACKAGES.items() if package in failed}
    if shutil.which("make") is None:
        raise SystemExit("this benchmark compares with make, and there is none: install it")
    for title, graph in graphs():
        rounds = machine.rounds(7, 2)
        rows = _rows(machine, graph, bin_folder, missing, rounds)
        yield Table(f"{title}, {rounds} rounds", list(rows))


def graphs() -> Iterator[tuple[str, Graph]]:
    """The graphs by title."""
    yield "1,000 independent stages", {f"s{n}": () for n in range(1000)}
    yield "a chain of 200 stages", {f"s{n}": (f"s{n - 1}",) if n else () for n in range(200)}
    layers = [[f"s{layer}x{n}" for n in range(30)] for layer in range(30)]
    yield (
        "30 layers of 30 stages, each needing the whole layer before",
        {name: tuple(layers[number - 1]) if number else () for number, layer in enumerate(layers) for name in layer},
    )


def _rows(machine: Machine, graph: Graph, bin_folder: Path, missing: Mapping[str, str], rounds: int) -> Iterator[Row]:
    folder = machine.folder / "graph"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "Makefile").write_text(makefile(graph))
    (folder / "build.ninja").write_text(ninja(graph))
    (folder / "dodo.py").write_text(dodo(graph))
    (folder / "justfile").write_text(justfile(graph))
    tools: dict[str, tuple[str | Path, ...]] = {
        "make": ("make", "--silent", f"-j{SLOTS}", "all"),
        "ninja": (bin_folder / "ninja", "--quiet", f"-j{SLOTS}"),
        "doit": (bin_folder / "doit", f"-n{SLOTS}"),
        "just": (bin_folder / "just", "all"),
    }
    shown = {"make": f"make -j{SLOTS}", "ninja": f"ninja -j{SLOTS}", "doit": f"doit -n{SLOTS}", "just": "just"}
    why = dict(missing)
    contestants = {}
    for tool in (tool for tool in tools if tool not in missing):
        contestant = _in(machine, folder, tools[tool])
        try:
            contestant()
        except subprocess.CalledProcessError as error:
            why[tool] = f"it fails on this graph, with status {error.returncode}"
        else:
            contestants[shown[tool]] = contestant
    gzl = _Gzl(machine, gzlfile(graph))
    contestants["gzl run"] = gzl.run
    contestants["gzl's agent alone"] = gzl.agent
    timings = in_turns(contestants, rounds)
    yield from compare(
        timings, shown["make"], {"gzl run": BUDGET}, {shown[tool]: reason for tool, reason in why.items()}
    )


def _in(machine: Machine, folder: Path, argv: tuple[str | Path, ...]) -> Callable[[], float]:
    return lambda: machine.time(*argv, cwd=folder)


class _Gzl:
    """`gzl run`, and the agent without it, each time in a fresh repository of one commit."""

    def __init__(self, machine: Machine, text: str) -> None:
        self._machine = machine
        self._text = text

    def run(self) -> float:
        path = self._fresh()
        return self._machine.time("gzl", "run", cwd=path)

    def agent(self) -> float:
        path = self._fresh()
        job = _job(path)
        return self._machine.time(sys.executable, "-m", "gzl.cli.agent", path / ".git", job, cwd=path)

    def _fresh(self) -> Path:
        path = self._machine.folder / "fresh"
        shutil.rmtree(path, ignore_errors=True)
        return self._machine.repository("fresh", self._text)


def _job(path: Path) -> str:
    """Make a job of all stages, as `gzl run --detach` does, and leave it without an agent."""
    repo = open_repo(path)
    commit = repo.resolve("HEAD")
    assert commit is not None
    now = time.time()
    event = Event(EventKind.MANUAL, "refs/heads/main", None, commit)
    found = source.read(repo, commit)
    names = tuple(line[: line.index(":")] for line in (path / "Gzlfile").read_text().splitlines() if line[0] != " ")
    with open_index(repo) as index:
        asked = Asked(new_job_id(now), event, found, own(repo), now, SLOTS, names)
        request = jobs.answer(repo, asked, index, None)
    assert isinstance(request, JobRequest), request
    jobs.create(repo, request)
    return request.record.id


def gzlfile(graph: Graph) -> str:
    return "".join(f"{name}:{''.join(f' {n}' for n in needs)}\n    {COMMAND}\n" for name, needs in graph.items())


def makefile(graph: Graph) -> str:
    rules = "".join(f"{name}: {' '.join(needs)}\n\t@{COMMAND}\n" for name, needs in graph.items())
    return f".PHONY: all {' '.join(graph)}\nall: {' '.join(graph)}\n{rules}"


def ninja(graph: Graph) -> str:
    rules = "".join(f"build {name}: run {' '.join(needs)}\n" for name, needs in graph.items())
    return f"rule run\n  command = {COMMAND}\n{rules}"


def dodo(graph: Graph) -> str:
    return (
        f"GRAPH = {dict(graph)!r}\n"
        'DOIT_CONFIG = {"verbosity": 0, "backend": "json"}\n'
        "def task_graph():\n"
        "    for name, needs in GRAPH.items():\n"
        f'        yield {{"basename": name, "actions": ["{COMMAND}"], "task_dep": list(needs)}}\n'
    )


def justfile(graph: Graph) -> str:
    # [parallel] runs a recipe's dependencies at once, all of them: just has no limit like -j.
    rules = "".join(f"[parallel]\n{name}: {' '.join(needs)}\n    @{COMMAND}\n" for name, needs in graph.items())
    return f"[parallel]\nall: {' '.join(graph)}\n{rules}"
