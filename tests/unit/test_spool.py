"""The spool's reader: an event is handled once, found again after a crash, and garbage is set aside."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gzl.errors import UserError
from gzl.githooks import spool
from gzl.model.event import Event, EventKind
from gzl.model.ids import new_job_id
from gzl.model.layout import Layout

A, B = "a" * 40, "b" * 40
JOB = new_job_id(1.0, bytes(10))


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    for folder in spool.FOLDERS:
        (tmp_path / "spool" / folder).mkdir(parents=True)
    return Layout(tmp_path)


def _push(ref: str = "refs/heads/main", **more: object) -> Event:
    return Event(EventKind.PUSH, ref, None, A, **more)  # type: ignore[arg-type]


def _raw(layout: Layout, name: str, data: bytes) -> None:
    (layout.spool / "new" / name).write_bytes(data)


def test_an_event_is_claimed_read_and_done(layout: Layout) -> None:
    event = _push(actor="ann", options=("gzl.wait", "gzl.run=test"))
    name = spool.deposit(layout, event)
    assert spool.pending(layout) == [name]

    taken = spool.claim(layout, name, JOB)

    assert taken is not None
    assert spool.pending(layout) == []
    assert spool.read(layout, taken) == event
    spool.done(layout, taken)
    assert spool.claimed(layout) == []


def test_the_second_claimer_gets_nothing(layout: Layout) -> None:
    name = spool.deposit(layout, _push())
    assert spool.claim(layout, name, JOB) is not None
    assert spool.claim(layout, name, new_job_id(2.0)) is None


def test_a_claim_outlives_its_manager_with_its_job(layout: Layout) -> None:
    name = spool.deposit(layout, _push())
    spool.claim(layout, name, JOB)
    assert spool.claimed(layout) == [spool.Claimed(JOB, name)]


def test_events_come_in_the_order_of_arrival(layout: Layout) -> None:
    names = [spool.deposit(layout, _push(f"refs/heads/{number}")) for number in range(5)]
    for age, name in enumerate(names):
        os.utime(layout.spool / "new" / name, ns=(age, age))
    assert spool.pending(layout) == names


def test_a_repository_without_a_spool_has_no_events(tmp_path: Path) -> None:
    assert spool.pending(Layout(tmp_path)) == []
    assert spool.claimed(Layout(tmp_path)) == []


GARBAGE = {
    "empty": b"",
    "torn": f"event push\nold {A}\nnew {B}\nref refs/heads/ma".encode(),
    "no end": f"event push\nold {A}\nnew {B}\nref refs/heads/main\n".encode(),
    "unknown kind": f"event party\nold {A}\nnew {B}\nref refs/heads/main\nend\n".encode(),
    "no object id": f"event push\nold --help\nnew {B}\nref refs/heads/main\nend\n".encode(),
    "twice": f"event push\nevent push\nold {A}\nnew {B}\nref refs/heads/main\nend\n".encode(),
    "no ref": f"event push\nold {A}\nnew {B}\nend\n".encode(),
    "escape": f"event push\nold {A}\nnew {B}\nref refs/heads/\x1b[2J\nend\n".encode(),
    "binary": bytes(range(256)) + b"\nend\n",
    "too long": b"option x\n" * 200_000 + b"end\n",
}


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_kept_with_the_reason_and_never_comes_back(layout: Layout, data: bytes) -> None:
    _raw(layout, "x.1.1", data)
    taken = spool.claim(layout, "x.1.1", JOB)
    assert taken is not None

    assert spool.read(layout, taken) is None

    assert (layout.spool / "bad" / "x.1.1").read_bytes() == data
    assert "push the branch again" in (layout.spool / "bad" / "x.1.1.why").read_text(errors="replace")
    assert spool.claimed(layout) == []


@given(
    kind=st.sampled_from(EventKind),
    ref=st.binary(min_size=1, max_size=30).map(lambda raw: "refs/heads/" + raw.decode(errors="surrogateescape")),
    old=st.sampled_from([None, A, "c" * 64]),
    actor=st.text(max_size=10),
    options=st.lists(st.text(max_size=10).map("gzl.run=".__add__), max_size=3),
)
def test_what_is_written_comes_back(kind: EventKind, ref: str, old: str | None, actor: str, options: list[str]) -> None:
    event = Event(kind, ref, old, "d" * len(old or A), actor, tuple(options))
    try:
        data = spool.serialise(event)
    except (UserError, UnicodeEncodeError):
        return  # control characters, or text that no bytes stand for
    assert spool.parse(data, "here") == event


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    try:
        spool.parse(data + b"\nend\n", "here")
    except UserError as error:
        assert "here" in str(error)


def test_values_are_single_lines(layout: Layout) -> None:
    with pytest.raises(UserError, match="actor"):
        spool.deposit(layout, _push(actor="ann\nref refs/heads/other"))
    assert spool.pending(layout) == []


def test_what_is_whole_is_told_and_what_a_killed_hook_left_half_is_dropped(layout: Layout) -> None:
    tmp, gone = layout.spool / "tmp", 2**22 + 1  # above what pid_max can be
    (tmp / f"u.{gone}.1").write_bytes(spool.serialise(_push()))
    (tmp / f"u.{gone}.2").write_bytes(b"event push\n")
    (tmp / f"u.{os.getpid()}.3").write_bytes(b"event push\n")

    assert spool.pending(layout) == [f"u.{gone}.1"]
    assert [path.name for path in tmp.iterdir()] == [f"u.{os.getpid()}.3"]


def test_an_outcome_waits_for_a_day(layout: Layout) -> None:
    spool.outcome(layout, "x", "job passed")
    assert spool.read_outcome(layout, "x") == "job passed"
    assert spool.read_outcome(layout, "y") is None
    os.utime(layout.spool / "done" / "x", (1, 1))
    spool.outcome(layout, "y", "other")
    assert spool.read_outcome(layout, "x") is None


def test_seen_tips_come_back(layout: Layout) -> None:
    assert spool.read_seen(layout) == {}
    tips = {"refs/heads/main": A, "refs/heads/\udcff": B}
    spool.write_seen(layout, tips)
    assert spool.read_seen(layout) == tips


def test_what_moved_unseen_is_missed() -> None:
    seen = {"refs/heads/same": A, "refs/heads/moved": A, "refs/heads/gone": A}
    tips = {"refs/heads/same": A, "refs/heads/moved": B, "refs/heads/new": B, "refs/tags/v1": A}
    assert [(event.ref, event.old, event.new) for event in spool.missed(tips, seen)] == [
        ("refs/heads/gone", A, None),
        ("refs/heads/moved", A, B),
        ("refs/heads/new", None, B),
    ]
