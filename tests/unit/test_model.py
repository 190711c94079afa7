"""Ids, ref names and records: what goes in comes out."""

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gzl.errors import UserError
from gzl.model import refs
from gzl.model.ids import is_job_id, job_time, new_job_id, next_job_id
from gzl.model.record import Attempt, JobRecord, LogRef, StageResult, StepResult, from_json, to_json
from gzl.model.result import State


def test_job_ids_sort_by_time_and_tell_it() -> None:
    early, late = new_job_id(1_700_000_000.123), new_job_id(1_700_000_000.124)
    assert is_job_id(early)
    assert len(early) == 26
    assert early < late
    assert job_time(early) == pytest.approx(1_700_000_000.123)
    ids = [early]
    for _ in range(50):
        ids.append(next_job_id(1_700_000_000.123, ids[-1]))
    assert ids == sorted(set(ids))
    assert next_job_id(1_600_000_000.0, early) > early, "a clock that was set back"


@given(st.text(st.characters(blacklist_categories=("Cs",)), max_size=20))
def test_encoded_names_come_back(name: str) -> None:
    assert refs.decode(refs.encode(name)) == name
    assert "/" not in refs.encode(name)
    assert refs.decode(refs.encode_path(name)) == name


@pytest.mark.parametrize(
    "name",
    ["a b", "x..y", ".hidden", "ends.lock", "a~1", "q^", "c:d", "w*?[", "-dash", "@", "a@{b", "%41", "ü", "", "a/b"],
)
def test_git_accepts_encoded_names(name: str) -> None:
    for ref in (refs.last(name, name), refs.ledger(name), refs.remote(name, "ledger/x")):
        assert subprocess.run(["git", "check-ref-format", ref], check=False).returncode == 0, ref


def test_records_come_back() -> None:
    attempt = Attempt(1, State.FAILED, 1.0, 2.5, 1, (StepResult(1, 0, 1.0, 7, "false"),), LogRef(3, "ab" * 32))
    stages = {"build": StageResult("build", State.FAILED, 1.0, 2.5, 1, (attempt,))}
    record = JobRecord("0" * 26, "c" * 40, "d" * 40, "refs/heads/ü", "push", State.FAILED, "w", 1.0, stages=stages)
    assert from_json(to_json(record), "x") == record
    assert to_json(from_json(to_json(record), "x")) == to_json(record)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"id":1}', b"\xff"])
def test_what_is_no_record_is_named(data: bytes) -> None:
    with pytest.raises(UserError, match="somewhere"):
        from_json(data, "somewhere")
