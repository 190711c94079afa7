"""Which stages run, in which order, and what their ends add up to: decided without running anything."""

from collections.abc import Mapping

import pytest

from gzl.model.event import Event, EventKind
from gzl.model.pipeline import Dependency, Pipeline, Rule, Stage, StageRef, Step, When
from gzl.model.record import Artifact, JobRecord, StageResult
from gzl.model.result import State
from gzl.planning.definition import definition
from gzl.planning.plan import plan, select
from gzl.planning.progress import Progress, verdict
from gzl.planning.reuse import Received, received, stage_key
from gzl.planning.triggers import asked_for, skip_reason


def pipeline(**stages: str) -> Pipeline:
    """A pipeline from `name="x y! z? a|b"`."""
    made = {name: Stage(name, tuple(map(_dependency, words.split())), family=name) for name, words in stages.items()}
    return Pipeline(made, families={name: (name,) for name in made})


def _dependency(word: str) -> Dependency:
    when = When(word[-1]) if word[-1] in "!?" else When.THEN
    return Dependency(tuple(StageRef(name) for name in word.rstrip("!?").split("|")), when)


def outcome(
    stages: Pipeline, ends: Mapping[str, State], targets: tuple[str, ...] = (), unchanged: tuple[str, ...] = ()
) -> dict[str, State]:
    """Run the stages in the mind; those not in `ends` pass, but for the `unchanged` ones, which are skipped."""
    the_plan = plan(select(stages, targets or tuple(stages.stages)))
    progress = Progress(the_plan)
    states: dict[str, State] = {}
    while not progress.over:
        for skip in progress.skips():
            states[skip.stage] = State.SKIPPED
            progress.end(skip.stage, State.SKIPPED)
        if (stage := progress.pop()) is not None:
            states[stage] = State.SKIPPED if stage in unchanged else ends.get(stage, State.PASSED)
            progress.end(stage, states[stage], stage in unchanged)
    states["="] = verdict(the_plan, states, targets, unchanged)
    return states


def test_what_is_asked_for_brings_what_it_needs_and_its_handlers() -> None:
    stages = pipeline(build="", test="build", deploy="test", smoke="deploy", rollback="deploy!", report="test? deploy?")
    assert list(select(stages, ["deploy"])) == ["build", "test", "deploy", "rollback", "report"]
    assert list(select(stages, ["test"])) == ["build", "test"]


def test_a_failure_skips_what_needs_it_and_wakes_who_catches_it() -> None:
    stages = pipeline(build="", test="build", deploy="test", rollback="deploy!", report="test? deploy?")
    assert outcome(stages, {"deploy": State.FAILED}) == {
        "build": State.PASSED, "test": State.PASSED, "deploy": State.FAILED, "rollback": State.PASSED,
        "report": State.PASSED, "=": State.FAILED,
    }  # fmt: skip
    failed_early = outcome(stages, {"test": State.FAILED})
    assert failed_early["deploy"] is failed_early["rollback"] is State.SKIPPED
    assert failed_early["report"] is State.PASSED


def test_the_first_alternative_to_pass_is_enough() -> None:
    stages = pipeline(a="", b="", c="a|b")
    assert outcome(stages, {"a": State.FAILED}, ("c",))["="] is State.PASSED
    assert outcome(stages, {"a": State.FAILED, "b": State.FAILED}, ("c",))["c"] is State.SKIPPED
    assert outcome(stages, {"a": State.FAILED}, ("a", "c"))["="] is State.FAILED, "asked for by name, it counts"


def test_what_is_unchanged_keeps_nobody_from_running() -> None:
    stages = pipeline(test="", migrate="", deploy="test migrate", undo="migrate!", report="migrate?", other="test")
    assert outcome(stages, {}, unchanged=("migrate",)) == {
        "test": State.PASSED, "migrate": State.SKIPPED, "deploy": State.PASSED, "undo": State.SKIPPED,
        "report": State.PASSED, "other": State.PASSED, "=": State.PASSED,
    }  # fmt: skip
    assert outcome(stages, {"deploy": State.FAILED}, unchanged=("migrate",))["="] is State.FAILED


def test_a_job_in_which_all_is_unchanged_is_skipped() -> None:
    stages = pipeline(a="", b="", undo="a!")
    assert outcome(stages, {}, unchanged=("a", "b"))["="] is State.SKIPPED
    assert outcome(stages, {}, unchanged=("a",))["="] is State.PASSED


def test_an_alternative_that_passes_comes_before_one_that_is_unchanged() -> None:
    the_plan = plan(select(pipeline(a="", b="", c="a|b"), ["c"]))
    progress = Progress(the_plan)
    assert {progress.pop(), progress.pop()} == {"a", "b"}
    progress.end("a", State.SKIPPED, unchanged=True)
    assert progress.pop() is None, "b may still pass"
    progress.end("b", State.FAILED)
    assert progress.pop() == "c"
    ended = {"a": State.SKIPPED, "b": State.FAILED, "c": State.PASSED}
    assert verdict(the_plan, ended, ("c",), ("a",)) is State.PASSED, "b was one of two"
    assert Progress(the_plan, {"a": State.SKIPPED, "b": State.PASSED}, {"a"}).pop() == "c"
    assert Progress(the_plan, {"a": State.SKIPPED, "b": State.SKIPPED}, {"a"}).pop() == "c", "taken up again"
    assert [s.because for s in Progress(the_plan, {"a": State.SKIPPED, "b": State.FAILED}).skips()] == [
        "a skipped; b failed"
    ]


def test_a_stage_waits_for_a_whole_family() -> None:
    made = {f"test@{os}": Stage(f"test@{os}", family="test", matrix={"os": os}) for os in ("a", "b")}
    made["deploy"] = Stage("deploy", (_dependency("test"),), family="deploy")
    made["alarm"] = Stage("alarm", (_dependency("test!"),), family="alarm")
    stages = Pipeline(made, families={"test": ("test@a", "test@b"), "deploy": ("deploy",), "alarm": ("alarm",)})
    states = outcome(stages, {"test@b": State.FAILED})
    assert states["deploy"] is State.SKIPPED
    assert states["alarm"] is State.PASSED


def test_the_longest_remaining_path_starts_first() -> None:
    stages = pipeline(short="", long="", after="long", last="after")
    progress = Progress(plan(stages.stages))
    assert [progress.pop(), progress.pop()] == ["long", "short"]
    by_history = Progress(plan(stages.stages, {"short": 100.0, "long": 1.0, "after": 1.0, "last": 1.0}))
    assert by_history.pop() == "short"


def test_a_job_taken_up_again_starts_where_it_was() -> None:
    stages = pipeline(a="", b="a", c="b", d="a")
    progress = Progress(plan(stages.stages), {"a": State.PASSED, "b": State.FAILED})
    progress.claim(["d"])
    assert [skip.stage for skip in progress.skips()] == ["c"]
    assert progress.pop() is None
    progress.put_back("d")
    assert progress.pop() == "d"


def test_a_wide_graph_is_not_looked_at_over_and_over() -> None:
    layers = {f"s{layer}_{n}": " ".join(f"s{layer - 1}_{m}" for m in range(30)) if layer else ""
              for layer in range(30) for n in range(30)}  # fmt: skip
    assert outcome(pipeline(**layers), {})["="] is State.PASSED


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([State.PASSED, State.SKIPPED], State.PASSED),
        ([State.SKIPPED, State.SKIPPED], State.SKIPPED),
        ([State.FAILED, State.LOST], State.FAILED),
        ([State.PASSED, State.TIMED_OUT], State.TIMED_OUT),
        ([State.FAILED, State.STOPPED], State.STOPPED),
    ],
)
def test_a_job_is_as_good_as_its_worst_stage(states: list[State], expected: State) -> None:
    names = dict(zip("ab", states, strict=True))
    assert verdict(plan(pipeline(a="", b="").stages), names) is expected


def test_the_definition_is_what_would_run_and_not_where_it_stands() -> None:
    stage = Stage("a", steps=(Step("make", 3),), line=2)
    moved = Stage("a", steps=(Step("make", 9),), line=8)
    changed = Stage("a", steps=(Step("make all", 3),), line=2)
    assert definition({"a": stage}, {}) == definition({"a": moved}, {})
    assert (
        len({definition({"a": stage}, {}), definition({"a": changed}, {}), definition({"a": stage}, {"A": "1"})}) == 3
    )


def test_rules_add_up_and_a_push_option_takes_their_place() -> None:
    rules = (
        Rule(EventKind.PUSH, ("main",), ("build", "deploy")),
        Rule(EventKind.PUSH, (), ("build", "test")),
        Rule(EventKind.CRON, ("0 3 * * *",), ("nightly",)),
    )
    declared = Pipeline({}, rules)

    def asked(event: Event) -> tuple[str, ...]:
        return asked_for(declared, event, lambda pattern, name: pattern == name)

    push = Event(EventKind.PUSH, "refs/heads/main", None, "1")
    assert asked(push) == ("build", "deploy", "test")
    assert asked(Event(EventKind.PUSH, "refs/heads/x", None, "1")) == ("build", "test")
    assert asked(Event(EventKind.CRON, "refs/heads/main", None, "1", cron="0 3 * * *")) == ("nightly",)
    assert asked(Event(EventKind.PUSH, "refs/heads/x", None, "1", options=("gzl.run=deploy",))) == ("deploy",)
    assert skip_reason(push, "fix\n\n[gzl skip]") is not None
    assert skip_reason(push, "fix") is None
    assert skip_reason(Event(EventKind.PUSH, "r", None, "1", options=("gzl.skip",)), "") is not None


def test_a_stage_is_given_the_outputs_of_whom_it_names_and_the_artifacts_of_all_before_it() -> None:
    stages = pipeline(a="", b="a", c="b? x|y", x="", y="", other="")
    results = {
        name: StageResult(name, State.PASSED, outputs={"k": name}, artifacts=(Artifact("o", "file", name, 1),))
        for name in ("a", "b", "y", "other")
    }
    unset = {name: StageResult(name) for name in ("c", "x")}
    record = JobRecord("1", "c", "t", "r", "push", State.RUNNING, "w", 0.0, stages={**results, **unset})
    given = received("c", plan(stages.stages), record)
    assert given.outputs == {"b": {"k": "b"}, "y": {"k": "y"}}
    assert given.artifacts == {"a": {"o": "a"}, "b": {"o": "b"}, "y": {"o": "y"}}


def test_a_key_is_the_same_in_every_clone() -> None:
    stage = Stage("a", steps=(Step("make", 1),), options={"inputs": "*"})
    files = [("b", "100644", "2"), ("a", "100755", "1"), ("caf\udce9", "100644", "3")]

    def key(found: list[tuple[str, str, str]], env: Mapping[str, str]) -> str:
        return stage_key(stage, found, env=env, runner="local", given=Received())

    assert key(files, {"A": "1", "B": "2"}) == key(files[::-1], {"A": "1", "B": "2"})
    assert key(files, {"A": "1", "B": "2"}) != key(files, {"B": "2", "A": "1"}), "B may refer to A"
    assert key(files, {}) == "de57370bfec1719f161bc0b5c77d20d2e232bdcd77aede0fccc4bc8231613360"
