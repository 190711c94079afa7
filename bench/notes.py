"""What keeping results costs: `python bench/notes.py [--quick] [JOBS…]`.

For repositories with 1,000, 10,000 and 100,000 recorded jobs, each on a commit of its own, prints in one run: a note
written by gzl (the tree, in process) beside `git notes add`, a whole job recorded (ledger, note, log, one ref
transaction), reading the notes with `git log`, `gzl list`, and filling the index. Medians, and ratios over the first
line of each table. Every round does every case once, so that a busy moment of the machine meets all of them.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [os.fspath(ROOT), os.fspath(ROOT / "tests"), os.fspath(ROOT / "tests" / "git")]

from store_world import T0, git, job, repository  # noqa: E402
from world import environment  # noqa: E402

from gzl.git import trees  # noqa: E402
from gzl.git.repo import Repo  # noqa: E402
from gzl.model.ids import new_job_id  # noqa: E402
from gzl.model.record import JobRecord  # noqa: E402
from gzl.notes import fanout, store, text  # noqa: E402
from gzl.notes.index import rebuild  # noqa: E402

GZL = os.fspath(Path(sys.executable).parent / "gzl")
BUDGETS = {"note, gzl": 0.005, "gzl list": 0.2}
Cases = dict[str, Callable[[int], object]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rounds, and 1,000 jobs unless sizes are given")
    parser.add_argument("sizes", metavar="JOBS", type=int, nargs="*", help="how many jobs a repository has")
    options = parser.parse_args()
    rounds = 5 if options.quick else 20
    sizes = options.sizes or ((1_000,) if options.quick else (1_000, 10_000, 100_000))
    with tempfile.TemporaryDirectory(prefix="gzl-bench-") as folder:
        os.environ.update(environment(Path(folder) / "home"))
        # Compiled modules as an installed gzl has them, whatever the environment says, and none left in the checkout.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = os.path.join(folder, "pycache")
        for size in sizes:
            repo = repository(Path(folder) / str(size), name="bench")
            commits = _filled(repo, size)
            print(f"\n{size:,} jobs", flush=True)
            begun = time.perf_counter()
            rebuild(repo).close()
            print(f"  {'index filled from nothing':34} {time.perf_counter() - begun:9.3f} s")
            _table(_writes(repo, commits), rounds)
            _table(_reads(repo), rounds)


def _table(cases: Cases, rounds: int) -> None:
    times: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(rounds + 1):
        for name, case in cases.items():
            begun = time.perf_counter()
            case(number)
            if number:  # the first warms caches
                times[name].append(time.perf_counter() - begun)
    base = statistics.median(next(iter(times.values())))
    for name, taken in times.items():
        median = statistics.median(taken)
        budget = BUDGETS.get(name)
        verdict = "" if budget is None else f"  budget {budget * 1000:.0f} ms, best {min(taken) * 1000:.1f} ms"
        print(f"  {name:34} {median * 1000:9.2f} ms  {median / base:7.2f}x{verdict}", flush=True)


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

    return {"note, git notes add": note_by_git, "note, gzl": note_by_gzl, "job recorded by gzl, all of it": record}


def _reads(repo: Repo) -> Cases:
    work = repo.worktree
    assert work is not None

    def run(*argv: str) -> Callable[[int], object]:
        return lambda _: subprocess.run(argv, cwd=work, stdout=subprocess.DEVNULL, check=True)

    return {
        "git log -1000": run("git", "log", "-1000", "main"),
        "git log -1000 --notes=gzl": run("git", "log", "-1000", "--notes=gzl", "main"),
        "gzl --version": run(GZL, "--version"),
        "python -c 'import click, peewee'": run(sys.executable, "-c", "import click, peewee"),
        "gzl list": run(GZL, "list"),
        "gzl show HEAD": run(GZL, "show", "main"),
    }


if __name__ == "__main__":
    main()
