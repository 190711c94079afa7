"""What people see of results: found by any name, named in few characters, and never more than text."""

import json
import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from store_world import T0, commit, git, isolate, job, repository

from gzl.cli.context import App
from gzl.cli.find import find, id_width, job_and_stage
from gzl.cli.group import gzl
from gzl.cli.render import Paper, advance_told, ago, human_size, job_line, job_page, seconds
from gzl.errors import UserError
from gzl.git.repo import Repo
from gzl.kit.text import escaped
from gzl.model.record import (
    Advance,
    Agent,
    Artifact,
    Attempt,
    JobRecord,
    StageResult,
    StepResult,
    Totals,
    to_data,
)
from gzl.model.request import JobRequest
from gzl.model.result import State
from gzl.notes import store
from gzl.notes.index import open_index
from gzl.records import unfinished

PLAIN = Paper(colour=False, unicode=True, width=None, now=T0 + 3600)


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    isolate(monkeypatch, tmp_path)
    return repository(tmp_path / "repo", name="me")


def app(repo: Repo) -> App:
    return App(directory=repo.worktree or repo.git_dir, clock=lambda: T0 + 3600)


def ran(repo: Repo, *args: str) -> str:
    result = CliRunner().invoke(gzl, ["-C", str(repo.worktree), *args], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.output


def record(repo: Repo, number: int, noted: str, **changes: object) -> JobRecord:
    done: JobRecord = replace(job(number, "me", noted, tree=tree(repo, noted)), **changes)  # type: ignore[arg-type]
    store.record(repo, "me", done)
    return done


def tree(repo: Repo, noted: str) -> str:
    return git(repo.common_dir, "rev-parse", f"{noted}^{{tree}}")


def work(repo: Repo) -> Path:
    assert repo.worktree is not None
    return repo.worktree


def start(repo: Repo, number: int, noted: str) -> JobRecord:
    """A job that runs."""
    waiting = replace(job(number, "me", noted, tree=tree(repo, noted)), state=State.WAITING, finished=None, stages={})
    unfinished.create(repo.layout, JobRequest(waiting, {}))
    return waiting


def test_a_job_is_found_by_every_name(repo: Repo) -> None:
    first = commit(work(repo), "1", file="1")
    second = commit(work(repo), "2", file="2")
    git(work(repo), "branch", "topic/x", first)
    old, new, other = record(repo, 1, first), record(repo, 2, first), record(repo, 3, second)
    running = start(repo, 9, second)
    here = app(repo)
    for name, wanted in (
        (new.id, new), (new.id.upper(), new), (old.id[:12], old), ("topic/x", new), (first[:10], new), ("HEAD~1", new),
        ("HEAD", running), (running.id, running), (other.id[:14], other),
    ):  # fmt: skip
        assert find(here, name).record.id == wanted.id, name
    for name, stage in (
        ("HEAD~1/test", "test"),
        ("topic/x/build", "build"),
        (f"{old.id}/test", "test"),
        ("topic/x", None),
    ):
        assert job_and_stage(here, name)[1] == stage


def test_what_is_not_found_is_said(repo: Repo) -> None:
    noted = commit(work(repo))
    here = app(repo)
    with pytest.raises(UserError, match="no job has run for"):
        find(here, "HEAD")
    done = [record(repo, number, noted) for number in (1, 2)]
    for name, said in (
        ("nowhere", "gzl list"), ("--all", "no job and no commit"), (done[0].id[:5], "type more of it"),
        ("\x1b[2J", r"\\x1b\[2J"), ("x" * 5000, "no job and no commit"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=said):
            find(here, name)
    with pytest.raises(UserError, match="did you mean 'test'"):
        job_and_stage(here, "HEAD/tset")
    with pytest.raises(UserError, match="it has build, deploy, test"):
        job_and_stage(here, "HEAD/x/y")


def test_amended_commits_find_their_result_and_say_so(repo: Repo) -> None:
    noted = commit(work(repo), file="x")
    done = record(repo, 1, noted)
    git(work(repo), "commit", "--quiet", "--amend", "--message", "in other words")
    assert find(app(repo), "HEAD").record == done
    assert f"of {noted[:12]}, which has the same tree" in ran(repo, "show")
    listed = ran(repo, "list")
    assert "in other words" in listed
    assert "same tree" in listed


def test_a_snapshots_job_is_listed_with_its_commit(repo: Repo) -> None:
    noted = commit(work(repo), file="x")
    git(work(repo), "commit", "--quiet", "--allow-empty", "--message", "next")
    done = record(repo, 1, noted, commit="e" * 40, tree="f" * 40, snapshot_of=noted)
    assert find(app(repo), noted).record == done
    assert "of the working tree" in ran(repo, "list")
    assert f"snapshot of a working tree on {noted}" in ran(repo, "show", done.id)


def test_list_shows_commits_their_jobs_and_what_runs_elsewhere(repo: Repo) -> None:
    first = commit(work(repo), "first", file="1")
    second = commit(work(repo), "second", file="2")
    git(work(repo), "switch", "--quiet", "-c", "other", first)
    third = commit(work(repo), "third", file="3")
    git(work(repo), "switch", "--quiet", "main")
    failed = record(repo, 1, first, state=State.FAILED)
    passed = record(repo, 2, second, writer="somebody")
    elsewhere = start(repo, 3, third)
    listed = ran(repo, "list")
    with open_index(repo) as index:
        width = id_width(index, [failed, passed, elsewhere], [elsewhere])
    short = [one.id[:width] for one in (failed, passed, elsewhere)]
    assert len(set(short)) == 3
    lines = listed.splitlines()
    assert re.match(rf"  {short[2]}  ○ waiting .* commit {third[:12]}", lines[0])
    assert lines[1].endswith("  second")
    assert re.match(rf"  {short[1]}  ✓ passed +12\.4s  push main  .*skipped: deploy  somebody", lines[2])
    assert lines[3].endswith("  first")
    assert re.match(rf"  {short[0]}  ✗ failed", lines[4])
    assert "third" in ran(repo, "list", "other")
    assert len(re.findall("first|second|third", ran(repo, "list", "--all"))) == 3
    assert ran(repo, "ls", "-n1").count("\n") == 3
    assert [one["id"] for one in json.loads(ran(repo, "list", "--json"))] == [elsewhere.id, passed.id, failed.id]
    assert [one["id"] for one in json.loads(ran(repo, "list", "--jobs", "-n2", "--json"))] == [elsewhere.id, passed.id]
    assert "first" not in ran(repo, "list", "-n1", "main")
    with pytest.raises(UserError, match="no such commit"):
        ran(repo, "list", "nowhere")
    with pytest.raises(UserError, match="no such commit"):
        ran(repo, "list", "--", "--output=pwned")


def test_json_is_the_record_and_what_was_said_of_it(repo: Repo) -> None:
    done = record(repo, 1, commit(work(repo)))
    assert json.loads(ran(repo, "show", "--json")) == json.loads(json.dumps({**to_data(done), "comments": []}))


def test_an_empty_repository_has_nothing_to_list(repo: Repo) -> None:
    for options in ((), ("--all",), ("--jobs",)):
        assert "gzl run" in ran(repo, "list", *options)
    assert json.loads(ran(repo, "list", "--json")) == []
    with pytest.raises(UserError):
        find(app(repo), "HEAD")


def test_a_failing_step_is_shown_where_it_is_written(repo: Repo) -> None:
    steps = (StepResult(1, 0, T0, 4, "make"), StepResult(2, 9, T0 + 1, 5, "if x; then\n    y\nfi"))
    lost = Attempt(1, State.LOST, T0, T0 + 1, reason="host lost")
    failed = Attempt(2, State.FAILED, T0 + 1, T0 + 4, 3, steps)
    stages = {
        "test": StageResult("test", State.FAILED, T0, T0 + 4, 3, (lost, failed)),
        "after": StageResult("after", State.SKIPPED, skipped_because="test failed"),
    }
    page = job_page(replace(job(1, "me"), state=State.FAILED, stages=stages), PLAIN, subject="s")
    assert page.splitlines()[-8:] == [
        "✗ failed     test      4.0s  exit 3  2 attempts",
        "    attempt 1  lost  1.0s  host lost",
        "    attempt 2  failed  3.0s  exit 3",
        "    Gzlfile:5",
        "    | if x; then",
        "    |     y",
        "    | fi",
        "– skipped    after  test failed",
    ]


def test_what_stages_told_is_shown_below_them() -> None:
    running = Attempt(1, State.RUNNING, T0, advance=Advance(42, 100, "compiling"))
    stages = {
        "build": StageResult(
            "build", State.PASSED, T0, T0 + 3, 0, outputs={"url": "https://x", "a": EVIL},
            artifacts=(Artifact("prog", "file", "ab" * 32, 1_234_567), Artifact("dist", "tree", "cd" * 32, 512)),
        ),
        "test": StageResult("test", State.RUNNING, T0, None, attempts=(running,), tests=Totals(200, 2, 1)),
        "lint": StageResult("lint", State.PASSED, reused_from="7" * 26, skipped_because="same inputs"),
        "many": StageResult("many", State.PASSED, T0, T0 + 1, outputs={f"k{n}": "v" for n in range(25)}),
    }  # fmt: skip
    made = replace(job(1, "me"), state=State.RUNNING, finished=None, stages=stages)
    page = job_page(made, PLAIN, subject="s").splitlines()
    at = page.index("✓ passed     build     3.0s")
    assert page[at + 1 : at + 6] == [
        "    outputs    url=https://x",
        f"               a={escaped(EVIL)}",
        "    artifacts  prog  1.2 MiB  abababababab",
        "               dist/  512 B  cdcdcdcdcdcd",
        "● running    test     1h00m  203 tests, 2 failed, 1 skipped  42/100 compiling",
    ]
    assert f"✓ passed     lint   reused from {'7' * 26}" in page
    assert page[-1] == "               and 5 more; --json lists them all"
    assert "running: test 42/100 compiling" in job_line(made, PLAIN, id_width=8, own="me")


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1 << 30, "1.0 GiB"), (1 << 52, "4096.0 TiB")]
)
def test_sizes(size: int, text: str) -> None:
    assert human_size(size) == text


def test_how_far_a_stage_is_is_data() -> None:
    assert advance_told(None) == ""
    assert advance_told(Advance(3)) == "3"
    assert advance_told(Advance(3, 4, EVIL)).isprintable()


EVIL = "x\x1b]0;pwned\x07\r\n\u202e\u2028\udcff"


def test_data_never_reaches_the_terminal_raw() -> None:
    stage = StageResult(EVIL, State.FAILED, T0, T0, 1, (Attempt(1, State.LOST, reason=EVIL),
                        Attempt(2, State.FAILED, T0, T0, 1, (StepResult(1, 0, T0, 1, EVIL),))))  # fmt: skip
    skipped = replace(stage, name="s", state=State.SKIPPED, skipped_because=EVIL)
    done = replace(job(1, EVIL), ref=EVIL, reason=EVIL, actor=EVIL, event=EVIL, runner=EVIL, agent=Agent(EVIL, 1),
                   stages={EVIL: stage, "s": skipped})  # fmt: skip
    page = job_page(done, PLAIN, subject=EVIL)
    line = job_line(done, PLAIN, id_width=8, own="me", remark=EVIL)
    assert all(text.isprintable() for text in (*page.split("\n"), line))
    assert "\\x1b" in line


def test_messages_of_commits_are_data(repo: Repo) -> None:
    record(repo, 1, commit(work(repo), EVIL.replace("\udcff", "").replace("\r\n", " ")))
    for command in ("list", "show"):
        assert all(line.isprintable() for line in ran(repo, command).splitlines())


def test_width_and_colours_are_the_terminals() -> None:
    done = job(1, "me", reason="a long story " * 20)
    narrow = job_line(done, replace(PLAIN, width=60), id_width=10, own="me")
    assert len(narrow) == 60
    assert narrow.endswith("…")
    assert "\x1b[32m✓" in job_line(done, replace(PLAIN, colour=True), id_width=10, own="me")
    assert "✓" not in job_line(done, replace(PLAIN, unicode=False), id_width=10, own="me")


def test_no_colours_in_a_pipe_and_none_on_request(repo: Repo) -> None:
    record(repo, 1, commit(work(repo)))
    run = ["gzl", "-C", str(work(repo)), "list"]
    assert "\x1b" not in subprocess.run(run, capture_output=True, text=True, check=True).stdout
    for extra, coloured in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
        env = {**os.environ, "TERM": "xterm", "COLUMNS": "100", **extra}
        shown = subprocess.run(
            ["script", "-qec", " ".join(run), "/dev/null"], capture_output=True, text=True, check=True, env=env
        ).stdout
        assert ("\x1b[" in shown) is coloured, extra


@pytest.mark.parametrize(("took", "text"), [(0.04, "0.0s"), (59.94, "59.9s"), (61, "1m01s"), (3_725, "1h02m")])
def test_durations(took: float, text: str) -> None:
    assert seconds(1.0, 1.0 + took) == text
    assert seconds(None, 1.0) == ""


@pytest.mark.parametrize(
    ("age", "text"),
    [
        (-5, "0 seconds ago"),
        (1, "1 second ago"),
        (60, "1 minute ago"),
        (7200, "2 hours ago"),
        (86400 * 400, "1 year ago"),
    ],
)
def test_ages(age: float, text: str) -> None:
    assert ago(1_000_000_000 - age, 1_000_000_000) == text
