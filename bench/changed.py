"""`changed` and `last-run` on 75,000 commits: what the agent asks before a stage with `paths=` or `inputs=`, beside the
plain git commands that answer the same question."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from common import ROOT, Machine, Table, compare, in_turns, timed

sys.path[:0] = [os.fspath(ROOT / "tests"), os.fspath(ROOT / "tests" / "git")]

from store_world import T0, job  # noqa: E402

from gzl.agent.conditions import Conditions  # noqa: E402
from gzl.git.repo import Repo, open_repo  # noqa: E402
from gzl.model import refs  # noqa: E402
from gzl.model.pipeline import Stage, Step  # noqa: E402
from gzl.model.record import JobRecord, StageResult  # noqa: E402
from gzl.model.request import JobRequest  # noqa: E402
from gzl.model.result import State  # noqa: E402
from gzl.notes import store, writer  # noqa: E402
from gzl.planning.plan import plan  # noqa: E402

FILES = 4000
GLOBS = ("part7/**", "*.toml", "**/module39.txt")
STEPS = (Step("true", 1),)
STAGES = {
    "build": Stage("build", steps=STEPS, options={"paths": " ".join(GLOBS)}),
    "keyed": Stage("keyed", steps=STEPS, options={"inputs": " ".join(GLOBS)}),
}
Question = Callable[[Path, Repo], tuple[Callable[[], object], Callable[[], object]]]


def tables(machine: Machine) -> Iterator[Table]:
    """A table for each question: git's commands first, gzl's answer as a multiple of them."""
    commits = 5_000 if machine.quick else 75_000
    path = _repository(machine, commits)
    repo = open_repo(path)
    rounds = machine.rounds(30, 5)
    for title, question in _questions(commits).items():
        by_git, by_gzl = question(path, repo)
        timings = in_turns({"git": lambda q=by_git: timed(q), "gzl": lambda q=by_gzl: timed(q)}, rounds)
        yield Table(f"{title}, {commits:,} commits, {FILES:,} files, {rounds} rounds", list(compare(timings, "git")))


def _questions(commits: int) -> dict[str, Question]:
    return {
        "changed since 10 commits ago (ancestor? and diff)": lambda path, repo: _changed(path, repo, 10),
        "changed since 1,000 commits ago": lambda path, repo: _changed(path, repo, 1000),
        f"changed since {commits - 100:,} commits ago": lambda path, repo: _changed(path, repo, commits - 100),
        "changed, on a rewritten branch (merge base and two diffs)": _rewritten,
        "changed, on a new branch (rev-list, and the ledger's index)": _new_branch,
        "last-run (for-each-ref)": _last,
        "the key of inputs= (ls-tree, and the ledger's index)": _key,
    }


def _changed(path: Path, repo: Repo, back: int) -> tuple[Callable[[], object], Callable[[], object]]:
    tip, passed = _git(path, "rev-parse", "main", f"main~{back}").split()
    branch = f"back{back}"
    _git(path, "update-ref", refs.passed("build", branch), passed)

    def by_git() -> None:
        _git(path, "merge-base", "--is-ancestor", passed, tip)
        _git(path, "diff", "--name-only", passed, tip, "--", *_pathspecs())

    return by_git, lambda: _conditions(repo, tip, branch).changed("build", GLOBS)


def _rewritten(path: Path, repo: Repo) -> tuple[Callable[[], object], Callable[[], object]]:
    tip = _git(path, "rev-parse", "main")
    side = _git(path, "commit-tree", "-p", "main~50", "-m", "old line", "main~20^{tree}")
    _git(path, "update-ref", refs.passed("build", "rewritten"), side)

    def by_git() -> None:
        base = _git(path, "merge-base", side, tip)
        for end in (side, tip):
            _git(path, "diff", "--name-only", base, end, "--", *_pathspecs())

    return by_git, lambda: _conditions(repo, tip, "rewritten").changed("build", GLOBS)


def _new_branch(path: Path, repo: Repo) -> tuple[Callable[[], object], Callable[[], object]]:
    tip, passed = _git(path, "rev-parse", "main", "main~200").split()
    done = job(1, writer.own(repo), passed)
    store.record(repo, done.writer, done)

    def by_git() -> None:
        _git(path, "rev-list", "--max-count=1000", tip)
        _git(path, "diff", "--name-only", passed, tip, "--", *_pathspecs())

    return by_git, lambda: _conditions(repo, tip, "new").changed("build", GLOBS)


def _last(path: Path, repo: Repo) -> tuple[Callable[[], object], Callable[[], object]]:
    tip = _git(path, "rev-parse", "main")
    updates = "".join(
        f"create {name(f'stage{stage}', f'topic/{branch}')} {tip}\n"
        for name in (refs.last, refs.passed)
        for stage in range(20)
        for branch in range(100)
    )
    subprocess.run(["git", "-C", path, "update-ref", "--stdin"], input=updates.encode(), check=True)
    _git(path, "pack-refs", "--all")

    def by_git() -> None:
        _git(path, "for-each-ref", "refs/gzl/last/*/topic/7", "refs/gzl/passed/*/topic/7")

    return by_git, lambda: _conditions(repo, tip, "topic/7").last("stage3")


def _key(path: Path, repo: Repo) -> tuple[Callable[[], object], Callable[[], object]]:
    tip = _git(path, "rev-parse", "main")
    record = _record(tip, "main")

    def by_gzl() -> None:
        _conditions(repo, tip, "main").decide(STAGES["keyed"], record, plan(STAGES))

    return lambda: _git(path, "ls-tree", "-r", tip), by_gzl


def _conditions(repo: Repo, commit: str, branch: str) -> Conditions:
    return Conditions(repo, JobRequest(_record(commit, branch), STAGES), lambda digest: True)


def _record(commit: str, branch: str) -> JobRecord:
    made = job(2, "bench", commit, ref=f"refs/heads/{branch}", state=State.RUNNING)
    return replace(made, stages={name: StageResult(name) for name in STAGES})


def _pathspecs() -> list[str]:
    return [f":(glob){pattern}" for pattern in GLOBS]


def _git(path: Path, *args: str) -> str:
    done = subprocess.run(["git", "-C", path, *args], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _repository(machine: Machine, commits: int) -> Path:
    path = machine.server("history.git", gzl=True)
    process = subprocess.Popen(["git", "-C", path, "fast-import", "--quiet"], stdin=subprocess.PIPE, env=machine.env)
    assert process.stdin is not None
    with process.stdin as stream:
        for number in range(commits):
            when = int(T0) - 60 * (commits - number)
            stream.write(b"commit refs/heads/main\ncommitter b <b@b> %d +0000\ndata 7\nchange\n\n" % when)
            for file in range(FILES) if number == 0 else [number * 7 % FILES]:
                text = b"%d in %d\n" % (file, number)
                name = b"part%d/group%d/module%d.txt" % (file % 40, file % 7, file)
                stream.write(b"M 100644 inline %s\ndata %d\n%s\n" % (name, len(text), text))
    if process.wait():
        raise RuntimeError("git fast-import failed")
    return path
