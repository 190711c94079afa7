"""What keeping results costs, with 1,000, 10,000 and 100,000 jobs recorded, each on a commit of its own.

A note written by gzl (the tree, in process) beside `git notes add`, a whole job recorded (ledger, note, log, one ref
transaction), reading the notes with `git log`, `gzl list`, `gzl show`, and filling the index.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

from common import ROOT, Machine, Row, Table, compare, duration, in_turns, timed

sys.path.insert(0, os.fspath(ROOT / "tests"))

from store_world import T0, git, job, repository

from gzl.git import trees
from gzl.git.repo import Repo
from gzl.model.ids import new_job_id
from gzl.model.record import JobRecord
from gzl.notes import fanout, store, text
from gzl.notes.index import rebuild

LARGEST = 100_000  # jobs: what the budgets are for
LIMITS = {"a note, by gzl in process": 0.005, "gzl list": 0.2}  # seconds
BY_GIT = "git log -1000 --notes=plain, which git notes wrote"
BY_GZL = "git log -1000 --notes=gzl"
NO_MORE = 1.1  # times what git's own notes cost
Cases = dict[str, Callable[[int], object]]


def tables(machine: Machine) -> Iterator[Table]:
    """Two tables for each size, writing and reading."""
    rounds = machine.rounds(20, 5)
    for size in (1_000,) if machine.quick else (1_000, 10_000, LARGEST):
        repo = repository(machine.folder / f"notes-{size}", name="bench")
        commits = _filled(repo, size)
        filled = timed(lambda repo=repo: rebuild(repo).close())
        writes = list(_rows(_writes(repo, commits), rounds, size))
        yield Table(f"results written, {size:,} jobs, {rounds} rounds", writes)
        reads = list(_rows(_reads(repo), rounds, size))
        yield Table(
            f"results read, {size:,} jobs, {rounds} rounds",
            [*reads, Row("the index filled from nothing", duration(filled))],
        )


def _rows(cases: Cases, rounds: int, size: int) -> Iterator[Row]:
    """The first case is what the others are compared with."""
    contestants = {name: _timed_by_round(case) for name, case in cases.items()}
    timings = in_turns(contestants, rounds)
    judged = size == LARGEST
    for row in compare(timings, next(iter(cases))):
        seconds = LIMITS.get(row.what)
        if judged and seconds is not None:
            row = replace(row, budget=f"≤ {duration(seconds)}", met=timings[row.what].median <= seconds)
        yield row
    if BY_GZL in timings:
        over = timings[BY_GZL].over(timings[BY_GIT])
        shown = (f"≤ {NO_MORE}×", over <= NO_MORE) if judged else ("", None)
        yield Row("gzl's notes over those that git wrote", "", f"{over:.2f}×", *shown)


def _timed_by_round(case: Callable[[int], object]) -> Callable[[], float]:
    numbers = iter(range(1_000_000))
    return lambda: timed(lambda: case(next(numbers)))


def _filled(repo: Repo, size: int) -> list[str]:
    """Make `size` commits, and a job for each; give the commits, newest first."""
    work = repo.worktree
    assert work is not None
    stream = "".join(
        f"commit refs/heads/main\ncommitter b <b@b> {int(T0) + n} +0000\ndata 7\nchange\n\n" for n in range(size)
    )
    subprocess.run(["git", "-C", work, "fast-import", "--quiet"], input=stream.encode(), check=True)
    commits = git(work, "rev-list", "main").splitlines()
    for start in range(0, size, 10_000):
        batch = [_job(n, commits[n]) for n in range(start, min(size, start + 10_000))]
        store.record_all(repo, "bench", batch)
    git(work, "gc", "--quiet")
    return commits


def _job(number: int, commit: str) -> JobRecord:
    return replace(job(number, "bench", commit), id=new_job_id(T0 + 60 * number))


def _writes(repo: Repo, commits: list[str]) -> Cases:
    work = repo.worktree
    assert work is not None
    git(work, "update-ref", "refs/notes/plain", "refs/notes/gzl")
    fresh = iter(range(10_000_000, 20_000_000))

    def note_by_git(number: int) -> None:
        git(work, "notes", "--ref=plain", "add", "-f", "-m", "a line", commits[number * 7 % len(commits)])

    def note_by_gzl(number: int) -> None:
        objects = trees.open(repo.common_dir)
        commit = commits[number * 7 % len(commits)]
        tip = trees.tip(objects, "refs/notes/gzl")
        tree = trees.tree_of(objects, tip)
        assert tip is not None
        said = text.with_job(fanout.read(objects, tree, commit), _job(next(fresh), commit))
        trees.commit(objects, fanout.write(objects, tree, {commit: said}), [tip], author="b", time=T0, message="x")

    def record(number: int) -> None:
        done = _job(next(fresh), commits[number * 7 % len(commits)])
        store.record(repo, "bench", done, logs={"build.1.log.zz": os.urandom(200)})

    return {
        "a note, by git notes add": note_by_git,
        "a note, by gzl in process": note_by_gzl,
        "a job recorded by gzl, all of it": record,
    }


def _reads(repo: Repo) -> Cases:
    work = repo.worktree
    assert work is not None

    def run(*argv: str) -> Callable[[int], object]:
        return lambda _: subprocess.run(argv, cwd=work, stdout=subprocess.DEVNULL, check=True)

    return {
        "git log -1000": run("git", "log", "-1000", "--no-notes", "main"),
        BY_GIT: run("git", "log", "-1000", "--notes=plain", "main"),
        BY_GZL: run("git", "log", "-1000", "--notes=gzl", "main"),
        "gzl list": run("gzl", "list"),
        "gzl show main": run("gzl", "show", "main"),
    }
