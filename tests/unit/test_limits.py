"""When a stage or a job is stopped: by a clock that tests move, and by what a Gzlfile says."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from gzl.agent.limits import Limits, Moment, Overdue, Watch, limits_of
from gzl.gzlfile import matches, parse
from gzl.model.event import Event, EventKind
from gzl.model.pipeline import Stage
from gzl.planning.triggers import limits, rules_for

EPOCH = 1_700_000_000.0


@dataclass
class Clock:
    """Both clocks; each can be moved alone."""

    steady: float = 1000.0
    wall: float = EPOCH

    def after(self, seconds: float) -> Moment:
        self.steady += seconds
        self.wall += seconds
        return Moment(self.steady, self.wall)

    @property
    def now(self) -> Moment:
        return self.after(0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stage(tmp_path: Path, clock: Clock) -> Path:
    directory = tmp_path / "s.1"
    directory.mkdir()
    say(directory, clock, "")
    return directory


def say(directory: Path, clock: Clock, text: str = "x") -> None:
    """Append to the log, at the time of the wall clock."""
    with (directory / "log").open("a") as log:
        log.write(text)
    os.utime(directory / "log", (clock.wall, clock.wall))


def reasons(found: list[Overdue]) -> list[str]:
    return [overdue.reason for overdue in found]


def test_without_limits_there_is_no_deadline(clock: Clock, stage: Path) -> None:
    watch = Watch(Limits(), clock.now)
    watch.begin(stage, Limits(), clock.now)
    assert watch.next_deadline() is None
    assert watch.overdue(clock.after(1e9)) == []


def test_a_timeout_is_exact_and_said_once(clock: Clock, stage: Path) -> None:
    watch = Watch(Limits(), clock.now)
    watch.begin(stage, Limits(timeout=600), clock.now)
    assert watch.next_deadline() == clock.steady + 600
    assert watch.overdue(clock.after(599.9)) == []
    say(stage, clock)
    assert watch.overdue(clock.after(0.3)) == [Overdue(stage, "timeout=10m: stopped after 600.2 s")]
    assert watch.overdue(clock.after(1)) == []
    assert watch.next_deadline() is None


def test_output_and_heartbeats_put_idle_off(clock: Clock, stage: Path) -> None:
    watch = Watch(Limits(), clock.now)
    watch.begin(stage, Limits(idle=60), clock.now)
    clock.after(20)
    say(stage, clock)
    assert watch.overdue(clock.after(40)) == []
    assert watch.next_deadline() == clock.steady + 20, "60 s after the output, not after the look"
    clock.after(15)
    os.utime(stage / "log", (clock.wall, clock.wall))
    assert watch.overdue(clock.after(5)) == []
    assert watch.next_deadline() == clock.steady + 55
    assert watch.overdue(clock.after(54.9)) == []
    assert reasons(watch.overdue(clock.after(0.1))) == ["idle=1m: no output for 60 s"]


def test_what_ended_is_not_looked_at(clock: Clock, stage: Path) -> None:
    watch = Watch(Limits(), clock.now)
    watch.begin(stage, Limits(timeout=1, idle=1), clock.now)
    watch.end(stage, clock.now)
    assert watch.next_deadline() is None
    assert watch.overdue(clock.after(9)) == []


def test_a_later_agent_counts_from_the_journal(clock: Clock, stage: Path) -> None:
    clock.after(400)
    watch = Watch(Limits(timeout=1000), clock.now, began=EPOCH)
    watch.begin(stage, Limits(timeout=600), clock.now, began=EPOCH)
    assert watch.next_deadline() == clock.steady + 200
    watch.begin(stage, Limits(idle=410), clock.now, began=EPOCH)
    assert watch.overdue(clock.after(9.9)) == []
    assert reasons(watch.overdue(clock.after(0.2))) == ["idle=6m50s: no output for 410 s"]
    assert watch.next_deadline() == pytest.approx(clock.steady + 1000 - 410.1)


def test_an_adopted_stage_has_a_moment_to_speak(clock: Clock, stage: Path) -> None:
    clock.after(7200)  # no agent was there, or the machine slept: nobody knows
    watch = Watch(Limits(), clock.now)
    watch.begin(stage, Limits(idle=60), clock.now, began=EPOCH)
    assert watch.overdue(clock.after(9.9)) == []
    say(stage, clock)
    assert watch.overdue(clock.after(0.2)) == []
    assert watch.overdue(clock.after(60)) != []


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_a_clock_that_is_set_stops_nothing(clock: Clock, stage: Path, jump: float) -> None:
    watch = Watch(Limits(timeout=7200), clock.now)
    watch.begin(stage, Limits(timeout=900, idle=60), clock.now)
    for _ in range(10):
        clock.after(59)
        say(stage, clock)
        clock.wall += jump  # or, forwards: the machine slept
        assert watch.overdue(clock.after(1)) == []
    assert reasons(watch.overdue(clock.after(61))) == ["idle=1m: no output for 60 s"], "silence is silence"


def test_a_log_from_the_future_is_no_output(clock: Clock, stage: Path) -> None:
    watch = Watch(Limits(), clock.now)
    watch.begin(stage, Limits(idle=60), clock.now)
    os.utime(stage / "log", (clock.wall + 1e6, clock.wall + 1e6))
    assert watch.overdue(clock.after(60)) == [], "it did change"
    assert watch.overdue(clock.after(60)) != []


def test_limits_of_the_whole_job(clock: Clock, stage: Path, tmp_path: Path) -> None:
    other = tmp_path / "t.1"
    other.mkdir()
    watch = Watch(Limits(timeout=3600, idle=60), clock.now)
    assert watch.next_deadline() == clock.steady + 3600, "nothing runs that could print"
    watch.begin(stage, Limits(), clock.now)
    watch.begin(other, Limits(), clock.after(30))
    assert watch.overdue(clock.after(59)) == []
    say(other, clock)
    assert watch.overdue(clock.after(59)) == []
    watch.end(other, clock.now)
    assert watch.overdue(clock.after(59)) == [], "that a stage ended is a sign of life"
    assert watch.overdue(clock.after(1)) == [Overdue(None, "the job's idle=1m: no output of any stage for 60 s")]
    assert (watch.overdue(clock.after(1)), watch.next_deadline()) == ([], None)


def test_the_job_runs_out_of_time(clock: Clock, stage: Path) -> None:
    watch = Watch(Limits(timeout=90), clock.now)
    watch.begin(stage, Limits(timeout=120), clock.now)
    assert watch.overdue(clock.after(90)) == [Overdue(None, "the job's timeout=1m30s: stopped after 90.0 s")]


def test_limits_are_read_from_options() -> None:
    assert limits_of(Stage("s", options={"timeout": "1h30m", "once": "yes"})) == Limits(timeout=5400)
    assert not limits_of(Stage("s"))


RULES = """\
on push main release/[0-9]* [timeout=1h, idle=10m]: a
on push [
    timeout=30m    # everywhere
]: b
on push [abc]*: a
on push [a=b]x: a
a:
b:
"""


def test_rules_have_limits_and_the_smallest_counts() -> None:
    parsed = parse(RULES.encode(), "Gzlfile")
    assert not parsed.mistakes
    assert [(rule.patterns, rule.timeout, rule.idle) for rule in parsed.pipeline.rules] == [
        (("main", "release/[0-9]*"), 3600, 600), ((), 1800, None), (("[abc]*",), None, None), (("[a=b]x",), None, None),
    ]  # fmt: skip
    pushed = Event(EventKind.PUSH, "refs/heads/main", None, "1" * 40)
    assert limits(rules_for(parsed.pipeline, pushed, matches)) == (1800, 600)
    assert limits(rules_for(parsed.pipeline, replace(pushed, ref="refs/heads/topic"), matches)) == (1800, None)
    assert limits(rules_for(parsed.pipeline, replace(pushed, kind=EventKind.TAG), matches)) == (None, None)


def test_all_mistakes_of_a_rules_options_at_once() -> None:
    text = "on push x [timeout=soon, shards=4, idel=3s, timeout=3m, idle]: a\non tag v[timeout=1h]: a\n"
    text += "on push [timeout=1h] main: a\non broken main [idle=1m]: bisect\na:\n"
    found = [(m.line, m.column, m.text) for m in parse(text.encode(), "Gzlfile").errors]
    assert found == [
        (1, 12, "`timeout=soon`: a duration is written like 90s, 10m or 1h30m"),
        (1, 26, "'shards' is a stage's option, not a rule's"),
        (1, 36, "no option 'idel'"),
        (1, 45, "'timeout' is given twice"),
        (1, 57, "'idle' needs a value"),
        (2, 8, "the pattern 'v[timeout=1h]' has options in it"),
        (3, 22, "a rule's options stand last before its `:`"),
        (4, 17, "`on broken` takes no options"),
    ]
