"""Note lines: what they look like, that data stays data, and that merging them is what git does."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gzl.kit.text import escaped
from gzl.model.ids import new_job_id
from gzl.model.record import Attempt, JobRecord, StageResult, Totals, from_json, to_json
from gzl.model.result import State
from gzl.notes import text

JOB = "01jdf3k2q8v0h6m4c1x9z7n5ra"


def record(**changes: object) -> JobRecord:
    stages = {
        "build": StageResult("build", State.PASSED, 1.0, 4.2, 0),
        "deploy": StageResult("deploy", State.SKIPPED, skipped_because="unchanged since 1f3c9ab"),
        "test": StageResult("test", State.PASSED, 4.2, 13.1, 0),
    }
    made = JobRecord(JOB, "c" * 40, "d" * 40, "refs/heads/main", "push", State.PASSED, "w", 1.0, 1.0, 13.4,
                     runner="docker", stages=stages)  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def test_a_note_is_for_people() -> None:
    assert "\n".join(text.render(record())) == (
        f"{JOB}  passed  12.4s  push main  3 stages  docker\n"
        f"{JOB}/build   passed   3.2s\n"
        f"{JOB}/deploy  skipped  unchanged since 1f3c9ab\n"
        f"{JOB}/test    passed   8.9s"
    )


def test_what_a_ledger_gives_back_makes_the_same_note() -> None:
    """Whatever the clock said: the text was made from the record before it was rounded, and is made again after."""
    for number in range(2000):
        started = 1_790_000_000 + number * 0.00037
        stage = StageResult("build", State.PASSED, started, started + 0.04996 + number * 0.0000021)
        made = record(started=started, finished=started + 0.2496, stages={"build": stage})
        assert text.render(from_json(to_json(made), "here")) == text.render(made)


def test_failures_say_how() -> None:
    lost = Attempt(1, State.LOST, 1.0, 2.0, reason="host lost")
    failed = Attempt(2, State.FAILED, 2.0, 13.0, 7)
    stages = {
        "a": StageResult("a", State.FAILED, 2.0, 13.0, 7, (lost, failed)),
        "b": StageResult("b", State.TIMED_OUT, 1.0, 2.0, None, (replace(lost, reason="no output for 60s"),)),
    }
    lines = text.render(record(stages=stages, state=State.FAILED, reason="stopped by me"))
    assert lines[0].endswith("2 stages  docker  stopped by me")
    assert lines[1] == f"{JOB}/a  failed     11.0s  exit 7  2 attempts"
    assert lines[2] == f"{JOB}/b  timed-out   1.0s  no output for 60s"


def test_a_stages_tests_and_where_a_result_came_from_are_told() -> None:
    tests = [Totals(231), Totals(1), Totals(200, 2, 1, 30.5)]
    stages = {str(n): StageResult(str(n), State.PASSED, 1.0, 9.9, 0, tests=one) for n, one in enumerate(tests)}
    stages["r"] = StageResult("r", State.PASSED, reused_from="01jdf3k2q8v0h6m4c1x9z7n5rb", skipped_because="reused")
    assert text.render(record(stages=stages))[1:] == [
        f"{JOB}/0  passed  8.9s  231 tests",
        f"{JOB}/1  passed  8.9s  1 test",
        f"{JOB}/2  passed  8.9s  203 tests, 2 failed, 1 skipped",
        f"{JOB}/r  passed        reused from 01jdf3k2q8v0h6m4c1x9z7n5rb",
    ]


NASTY = st.text(st.characters(), max_size=40)


@given(NASTY, NASTY, NASTY)
def test_data_stays_in_its_line(name: str, ref: str, reason: str) -> None:
    stages = {name: StageResult(name, State.SKIPPED, skipped_because=reason)}
    lines = text.render(record(stages=stages, ref=ref, reason=reason))
    assert len(lines) == 2
    assert all(line.isprintable() and line.startswith(JOB) for line in lines)
    whole = text.encoded(lines)
    assert text.merged(whole) == whole, "sorted, unique, no empty lines: git's merge leaves it as it is"
    assert [text.job_of(line) for line in whole.splitlines()] == [JOB, JOB]


def test_a_job_is_replaced_and_the_rest_is_kept() -> None:
    other = record(id=new_job_id(5.0))
    before = text.merged(
        text.with_job(b"reviewed by a person\n", record(state=State.FAILED)), text.with_job(b"", other)
    )
    after = text.with_job(before, record())
    assert after == text.merged(
        b"reviewed by a person", text.encoded(text.render(record())), text.encoded(text.render(other))
    )


@given(st.lists(st.lists(st.binary(max_size=3).filter(lambda b: b"\n" not in b), max_size=4), max_size=3))
def test_merging_is_a_union(notes: list[list[bytes]]) -> None:
    texts = [b"\n".join(lines) for lines in notes]
    once = text.merged(*texts)
    assert text.merged(once, *texts) == once == text.merged(*reversed(texts))


@pytest.mark.parametrize("line", [b"", b"reviewed", b"01jdf3k2q8v0h6m4c1x9z7n5rax  passed", b"\xff\xfe"])
def test_other_lines_are_not_gzls(line: bytes) -> None:
    assert text.job_of(line) is None


@given(st.text(st.characters()))
def test_a_terminal_only_prints_what_was_escaped(data: str) -> None:
    assert escaped(data).isprintable()
    assert len(escaped(data, 10)) <= 10
