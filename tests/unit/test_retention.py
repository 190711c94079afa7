"""Which jobs keep what they left."""

from gzl.model.result import State
from gzl.planning.retention import DAY, Holding, Policy, judge

NOW = 1000 * DAY
MAIN = "refs/heads/main"


def holding(number: int, *objects: str, days: float = 1, ref: str = MAIN, state: State = State.PASSED,
            tags: tuple[str, ...] = ()) -> Holding:  # fmt: skip
    return Holding(f"{number:04}", ref, state, NOW - days * DAY, frozenset(objects), tags)


def kept(policy: Policy, *holdings: Holding, branches: tuple[str, ...] = (MAIN,)) -> dict[int, str]:
    """Number → why, with a minus before it where it goes."""
    sizes = {digest: int(digest[1:]) for one in holdings for digest in one.objects}
    verdicts = judge(holdings, sizes, policy, branches, NOW)
    return {int(job): ("" if verdict.kept else "-") + verdict.because for job, verdict in verdicts.items()}


def test_age() -> None:
    found = kept(Policy(days=10), holding(1, days=11), holding(2, days=9), holding(3, days=8))
    assert found == {1: "-older than 10 days", 2: "within all limits", 3: "the newest of main"}
    assert "older" not in str(kept(Policy(days=None), holding(1, days=900), holding(2)))


def test_the_newest_of_a_branch_and_its_newest_pass_stay_as_long_as_the_branch() -> None:
    jobs = [holding(n, days=100, state=state) for n, state in enumerate([State.PASSED, State.FAILED, State.FAILED])]
    assert kept(Policy(), *jobs) == {
        0: "the newest of main that passed", 1: "-older than 90 days", 2: "the newest of main",
    }  # fmt: skip
    assert set(kept(Policy(), *jobs, branches=()).values()) == {"-older than 90 days"}


def test_count_is_of_each_branch() -> None:
    other = holding(9, ref="refs/heads/topic/x")
    found = kept(Policy(jobs=2), *(holding(n) for n in range(4)), other)
    assert found[0] == found[1] == "-not among the 2 newest of main"
    assert found[2] == "within all limits"
    assert found[9] == "within all limits"


def test_size_is_of_each_branch_and_counts_an_object_once() -> None:
    jobs = [holding(1, "a5"), holding(2, "b40"), holding(3, "c90"), holding(4, "d50", "e7"), holding(5, "e7")]
    found = kept(Policy(size=60), *jobs)
    assert found[4] == "within all limits", "50 + 7, which the newest has counted"
    assert {found[n] for n in (1, 2, 3)} == {"-the newer ones of main fill its size"}, "no smaller one outlives it"
    shared = kept(Policy(size=60), holding(1, "c90"), holding(2, "c90"), holding(3, "a5"))
    assert shared[1] == shared[2] == "-the newer ones of main fill its size"
    assert kept(Policy(size=60), holding(1, "c90"))[1] == "the newest of main"
    assert kept(Policy(size=60), holding(1), holding(2, "c90"))[1] == "within all limits", "it has nothing"


def test_a_tag_keeps_all() -> None:
    found = kept(Policy(days=1, jobs=1, size=1), holding(1, "a5", days=900, tags=("v1", "v1.0")), holding(2, "b5"))
    assert found[1] == "its commit is tagged v1, v1.0"
