"""Repositories with results in them, made without running anything: for tests of how results are kept and exchanged."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

from world import environment

from gzl.git.repo import Repo, open_repo
from gzl.model.ids import new_job_id
from gzl.model.record import Attempt, JobRecord, LogRef, StageResult
from gzl.model.result import State
from gzl.notes import store, writer

T0 = 1_790_000_000.0  # a time that all made-up jobs are near


def git(where: Path, *args: str, ok: bool = True, stdin: str = "") -> str:
    done = subprocess.run(
        ["git", "-C", os.fspath(where), *args],
        capture_output=True, text=True, errors="surrogateescape", input=stdin, check=False, timeout=600,
    )  # fmt: skip
    assert not ok or done.returncode == 0, f"{args}: {done.stderr}"
    return done.stdout.strip()


def isolate(monkeypatch: object, tmp_path: Path) -> None:
    """From here on this process and its children see a fresh user's configuration."""
    for name, value in environment(tmp_path / "home").items():
        monkeypatch.setenv(name, value)  # type: ignore[attr-defined]


def repository(path: Path, *options: str, name: str | None = None, server: bool = False) -> Repo:
    """A new repository that gzl is set up in; `name` is its writer."""
    path.mkdir(parents=True)
    git(path, "init", "--quiet", "--initial-branch=main", *options)
    return set_up(path, name, server=server)


def set_up(path: Path, name: str | None = None, *, server: bool = False) -> Repo:
    repo = open_repo(path)
    if name is not None:
        git(path, "config", "gzl.writer", name)
    store.seed(repo, writer.choose(repo, "host"), server)
    return repo


def commit(where: Path, message: str = "change", **files: str) -> str:
    for name, text in files.items():
        (where / name).write_text(text)
    git(where, "add", "--all")
    git(where, "commit", "--quiet", "--allow-empty", "--message", message)
    return git(where, "rev-parse", "HEAD")


def job(number: int, own: str, commit: str = "c" * 40, *, state: State = State.PASSED, tree: str = "d" * 40,
        ref: str = "refs/heads/main", definition: str = "def", reason: str = "") -> JobRecord:  # fmt: skip
    """The `number`th job: made a minute after the one before it, with three stages."""
    start = T0 + 60 * number
    attempt = Attempt(1, State.PASSED, start, start + 3.2, 0)
    stages = {
        "build": StageResult("build", State.PASSED, start, start + 3.2, 0, (attempt,)),
        "deploy": StageResult("deploy", State.SKIPPED, skipped_because="unchanged since 1f3c9ab"),
        "test": StageResult("test", state, start, start + 12.4, 0 if state is State.PASSED else 1),
    }  # fmt: skip
    return JobRecord(
        new_job_id(start), commit, tree, ref, "push", state, own, start, start, start + 12.4,
        definition=definition, stages=stages, reason=reason,
    )  # fmt: skip


def with_log(record: JobRecord, log: LogRef) -> JobRecord:
    """The record, with a log of its stage `build`."""
    build = record.stages["build"]
    attempt = replace(build.attempts[0], log=log)
    return replace(record, stages={**record.stages, "build": replace(build, attempts=(attempt,))})


def notes_by_git(where: Path, ref: str = "refs/notes/gzl") -> dict[str, str]:
    """Commit → text of its note, as a plain git reads them."""
    listed = (line.split() for line in git(where, "notes", "--ref", ref, "list").splitlines())
    return {noted: git(where, "cat-file", "blob", blob) for blob, noted in listed}


def note_paths(where: Path, ref: str = "refs/notes/gzl") -> list[str]:
    return git(where, "ls-tree", "-r", "--name-only", ref).splitlines()
