"""Folders of unfinished jobs: whole or not there, and what a killed process left is swept."""

import os
from pathlib import Path

import pytest

from gzl.errors import UserError
from gzl.model.journal import Entry, to_line
from gzl.model.layout import Layout
from gzl.model.pipeline import Stage, Step
from gzl.model.record import JobRecord, StageResult
from gzl.model.request import JobRequest, from_bytes, to_bytes
from gzl.model.result import State
from gzl.records import unfinished

JOB = "01jdf3k2q8v0h6m4c1x9z7n5ra"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    (tmp_path / "gzl/spool").mkdir(parents=True)
    return Layout(tmp_path / "gzl")


@pytest.fixture
def request_of_one() -> JobRequest:
    record = JobRecord(
        JOB, "c" * 40, "d" * 40, "refs/heads/ü", "push", State.WAITING, "w", 1.0, stages={"s": StageResult("s")}
    )  # fmt: skip
    return JobRequest(record, {"s": Stage("s", steps=(Step("true", 2),), family="s")}, {"A": "b"}, 2, True)


def test_what_was_asked_for_comes_back(layout: Layout, request_of_one: JobRequest) -> None:
    assert from_bytes(to_bytes(request_of_one), "here") == request_of_one
    unfinished.create(layout, request_of_one)
    unfinished.create(layout, request_of_one)
    assert unfinished.jobs(layout) == [JOB]
    assert unfinished.request(layout, JOB) == request_of_one
    unfinished.remove(layout, JOB)
    unfinished.remove(layout, JOB)
    assert os.listdir(layout.jobs) == []
    with pytest.raises(UserError, match="gzl list"):
        unfinished.request(layout, JOB)


def test_a_job_stands_where_its_journal_says(layout: Layout, request_of_one: JobRequest) -> None:
    unfinished.create(layout, request_of_one)
    lines = [
        Entry(2.0, "taken", token=1, host="h", pid=7),
        Entry(3.0, "started", "s", 1, 0),
        Entry(4.0, "ended", "s", 1, state=State.LOST, reason="gone"),
        Entry(5.0, "started", "s", 2, 0),
    ]
    layout.job(JOB).journal.write_bytes(b"".join(map(to_line, lines)) + b'{"time":6.0,"what":"ended","sta')
    record = unfinished.read(layout, JOB)
    assert (record.state, record.started, record.agent and record.agent.pid) == (State.RUNNING, 2.0, 7)
    stage = record.stages["s"]
    assert (stage.state, [attempt.state for attempt in stage.attempts]) == (State.RUNNING, [State.LOST, State.RUNNING])


def test_only_the_leavings_of_the_dead_are_swept(layout: Layout) -> None:
    gone = 2**22 + 1  # above what pid_max can be
    for name in (f".new-{JOB}-{gone}", f".new-{JOB}-{os.getpid()}", f".old-{JOB}"):
        (layout.jobs / name).mkdir(parents=True)
    unfinished.sweep(layout)
    assert os.listdir(layout.jobs) == [f".new-{JOB}-{os.getpid()}"]
