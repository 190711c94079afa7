"""What a running stage may add to its job, and what it may wait for."""

import time
from collections.abc import Collection, Mapping

import pytest

from gzl.errors import UserError
from gzl.gzlfile import GzlfileError, load
from gzl.gzlfile.fragment import fragment
from gzl.model.pipeline import Stage, When
from gzl.model.request import Added, added, added_data, with_added
from gzl.model.result import State
from gzl.planning.extend import extend, would_deadlock
from gzl.planning.plan import plan
from gzl.planning.progress import Progress

JOB = """\
plan:
    ./plan
build [matrix.os="a b"]:
    make
deploy: build plan
    ./deploy
report: deploy?
    ./report
"""


def job(text: str = JOB) -> dict[str, Stage]:
    return dict(load(text.encode(), "Gzlfile").stages)


def adding(
    text: str,
    *before: str,
    to: Mapping[str, Stage] | None = None,
    begun: Collection[str] = ("plan",),
    asker: str = "plan",
) -> Added:
    stages = job() if to is None else to
    return extend(stages, fragment(text.encode(), "<stdin>", stages), before, begun, asker)


def mistakes(text: str) -> list[str]:
    with pytest.raises(GzlfileError) as caught:
        fragment(text.encode(), "<stdin>", job())
    return [f"{mistake.line}:{mistake.column}: {mistake.text}" for mistake in caught.value.mistakes]


def test_a_fragment_has_stages_that_know_those_of_the_job() -> None:
    stages = fragment(b'unit [matrix.n="1 2"]: build plan?\n    make unit\nall: unit build@a\n', "<stdin>", job())
    assert list(stages) == ["unit@1", "unit@2", "all"]
    assert [str(dependency) for dependency in stages["unit@1"].dependencies] == ["build", "plan?"]


def test_all_mistakes_of_a_fragment_are_said_with_their_places() -> None:
    assert mistakes("""\
on push: x
env:
    A = 1
gzl: stable
x [image=alpine]: biuld
    true
y: z
z: y
plan:
    true
build:
""") == [
        "1:1: a rule says when a job begins; this one runs already",
        "2:1: `env:` is the Gzlfile's, for all of a job's stages",
        "4:1: `gzl:` is the Gzlfile's, for the whole job",
        "5:4: `image=alpine` is not available in this version",
        "5:19: no stage 'biuld'",
        "8:4: stages that wait for each other: y → z → y",
        "9:1: the job has a stage 'plan' already",
        "11:1: the job has a stage 'build' already",
    ]  # fmt: skip
    assert mistakes("") == ["1:1: no stage is declared here"]
    assert mistakes("# only a comment\n") == ["1:1: no stage is declared here"]


def test_stages_are_added_and_others_wait_for_them() -> None:
    found = adding("one: plan\n    ./one\ntwo: one\n    ./two\n", "deploy", "report")
    assert [stage.name for stage in found.stages] == ["one", "two"]
    assert [str(needed) for needed in found.before["deploy"]] == ["one", "two"]
    assert {needed.when for needed in found.before["report"]} == {When.FINALLY}, "it takes others as they come, too"
    kept = added(added_data(found))
    grown = plan(with_added(job(), kept))
    assert plan(with_added(job(), found)).needs == grown.needs, "as the journal keeps it"
    assert set(grown.dependents["two"]) == {"deploy", "report"}


def test_a_family_waits_and_is_waited_for_as_one() -> None:
    found = adding('unit [matrix.n="1 2"]:\n    ./unit\n', "build", begun=["plan"])
    assert list(found.before) == ["build@a", "build@b"]
    assert [str(needed) for needed in found.before["build@a"]] == ["unit"]
    assert plan(with_added(job(), found)).needs["build@a"][0].alternatives == (("unit@1", "unit@2"),)


@pytest.mark.parametrize(
    ("text", "before", "said"),
    [
        ("one: deploy\n    true\n", ["deploy"], "one → deploy → one"),
        ("one: report\n    true\ntwo:\n    true\n", ["deploy"], "one → report → deploy → one"),
        ("one:\n    true\n", ["deplyo"], "did you mean 'deploy'?"),
        ("one:\n    true\n", ["one"], "no stage of this name"),
        ("one:\n    true\n", ["plan"], "the stage that asks"),
        ("one:\n    true\n", ["build@a"], "it has begun already"),
        ("one:\n    true\n", ["build"], "it has begun already"),
    ],
)
def test_what_cannot_be_is_refused_there_and_then(text: str, before: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said.replace("?", r"\?")):
        adding(text, *before, begun=["plan", "build@a"])


def test_what_the_asker_waits_for_cannot_wait_for_what_it_adds() -> None:
    stages = job("a:\n    true\nb:\n    true\nc: a|b\n    true\n")
    with pytest.raises(UserError, match="c, which asks, waits for b itself"):
        adding("one:\n    true\n", "b", to=stages, begun=["a", "c"], asker="c")


def test_names_are_looked_at_again_when_the_job_has_changed_meanwhile() -> None:
    new = fragment(b"one:\n    true\n", "<stdin>", job())
    stages = with_added(job(), extend(job(), new, [], ["plan"], "plan"))
    other = fragment(b"one:\n    false\n", "<stdin>", job())
    with pytest.raises(UserError, match="a stage 'one' already"):
        extend(stages, other, [], ["plan"], "plan")
    orphan = {"two": fragment(b"two: one\n    true\n", "<stdin>", stages)["two"]}
    with pytest.raises(UserError, match="needs 'one': the job has no stage"):
        extend(job(), orphan, [], ["plan"], "plan")


def test_whoever_is_started_again_may_add_the_same_again() -> None:
    text = "one: plan\n    ./one\ntwo: one\n    ./two\n"
    first = adding(text, "deploy")
    stages = with_added(with_added(job(), added(added_data(first))), adding("zero:\n    true\n", "two", to=job() | {
        stage.name: stage for stage in first.stages
    }))  # fmt: skip
    assert adding(text, "deploy", to=stages) == Added(()), "two has come to wait for zero, too, and is still the same"
    more = adding(text + "three: two\n    ./three\n", "report", to=stages)
    assert [stage.name for stage in more.stages] == ["three"]
    with pytest.raises(GzlfileError, match="a stage 'one' already"):
        adding("one: plan\n    ./another\n", to=stages)


def test_progress_grows_with_the_plan() -> None:
    progress = Progress(plan(job()))
    assert {progress.pop() for _ in range(3)} == {"plan", "build@a", "build@b"}
    found = adding("one: plan\n    ./one\n", "deploy")
    progress.grow(plan(with_added(job(), found)))
    assert progress.pop() is None
    for name in ("build@a", "build@b", "plan"):
        progress.end(name, State.PASSED)
    assert [progress.pop(), progress.pop()] == ["one", None], "deploy waits for what was put before it"
    progress.end("one", State.PASSED)
    assert progress.pop() == "deploy"
    progress.end("deploy", State.PASSED)
    assert progress.pop() == "report"
    progress.end("report", State.PASSED)
    assert progress.over


def test_what_is_ready_but_has_not_begun_can_be_made_to_wait() -> None:
    stages = job("ask:\n    true\nlater:\n    true\n")
    progress = Progress(plan(stages))
    assert progress.pop() == "ask"
    found = adding("one:\n    true\n", "later", to=stages, begun=["ask"], asker="ask")
    progress.grow(plan(with_added(stages, found)))
    assert [progress.pop(), progress.pop()] == ["one", None]
    assert progress.unstarted() == ["later"]
    progress.end("one", State.FAILED)
    assert [skip.stage for skip in progress.skips()] == ["later"]


def test_a_stage_added_behind_one_that_failed_is_skipped_with_the_reason() -> None:
    stages = job("ask:\n    true\nbroken:\n    false\n")
    progress = Progress(plan(stages))
    progress.claim(["ask", "broken"])
    progress.end("broken", State.FAILED)
    found = adding("one: broken\n    true\nfix: broken!\n    true\n", to=stages, begun=["ask", "broken"], asker="ask")
    progress.grow(plan(with_added(stages, found)))
    assert [(skip.stage, skip.because) for skip in progress.skips()] == [("one", "broken failed")]
    assert progress.pop() == "fix"


def test_growing_by_one_costs_little_in_a_large_job() -> None:
    """50 calls of one stage each in a job of 1,000: no call may cost what the job's whole run does."""
    stages: dict[str, Stage] = dict(job("ask:\n    true\n" + "".join(f"s{n}: ask\n    true\n" for n in range(1000))))
    progress = Progress(plan(stages))
    progress.claim(["ask"])
    began = time.perf_counter()
    for n in range(50):
        found = adding(f"n{n}:\n    true\n", "s0", to=stages, begun=["ask"], asker="ask")
        stages = with_added(stages, found)
        progress.grow(plan(stages))
    took = time.perf_counter() - began
    began = time.perf_counter()
    for _ in range(50):
        Progress(plan(stages))
    assert took < 10 * (time.perf_counter() - began)
    assert sum(progress.pop() is not None for _ in range(60)) == 50


# -- waiting in the middle of a stage -----------------------------------------------------------------------------


def test_waiting_for_what_waits_for_oneself_is_refused_with_the_chain() -> None:
    the_plan = plan(job("a:\n    true\nb: a\n    true\nc: b\n    true\nd:\n    true\n"))
    assert would_deadlock(the_plan, "a", "d", {}, {"a", "d"}) is None
    refused = would_deadlock(the_plan, "a", "c", {}, {"a", "d"})
    assert refused is not None
    assert "a → c → b → a" in refused
    assert would_deadlock(the_plan, "a", "a", {}, {"a"}) == "a would wait for itself"


def test_two_that_wait_for_each_other_are_found_out() -> None:
    the_plan = plan(job("a:\n    true\nb:\n    true\nc: b\n    true\n"))
    assert would_deadlock(the_plan, "a", "b", {"b": {"c"}}, {"a", "b"}) is None
    chain = would_deadlock(the_plan, "a", "b", {"b": {"a"}}, {"a", "b"})
    assert chain is not None
    assert "a → b → a" in chain
    assert would_deadlock(the_plan, "a", "c", {"b": {"a"}}, {"a", "b"}) is not None, "c needs b, which waits for a"


def test_an_alternative_that_can_pass_holds_nobody_up() -> None:
    the_plan = plan(job("a:\n    true\nb:\n    true\nc: a|b\n    true\nd: c a\n    true\n"))
    assert would_deadlock(the_plan, "a", "c", {}, {"a", "b"}) is None
    assert would_deadlock(the_plan, "a", "d", {}, {"a", "b"}) is not None
    assert would_deadlock(the_plan, "a", "c", {"b": {"a"}}, {"a", "b"}) is not None
    assert would_deadlock(the_plan, "a", "c", {}, {"a", "b", "c"}) is None, "it runs: b has passed"
