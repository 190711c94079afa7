"""Which jobs keep what they left in the object store, and which do not: decided here, carried out by `gzl gc`.

A record always stays. What retention takes from a job is its artifacts, its large logs and its test reports.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from gzl.model.refs import short_branch
from gzl.model.result import State

DAY = 86400.0  # seconds


@dataclass(frozen=True, slots=True)
class Policy:
    """What is kept; each limit takes by itself, None takes nothing."""

    days: float | None = 90.0
    jobs: int | None = None
    """Of each branch, the newest."""
    size: int | None = None
    """Bytes of each branch's newest jobs together."""
    cache_days: float | None = 30.0
    """Days for which a cache of a stage need not be used."""
    cache_size: int | None = 10 << 30
    """Bytes of all caches together."""


@dataclass(frozen=True, slots=True)
class Holding:
    """A recorded job, and the objects that its record names."""

    job: str
    ref: str
    state: State
    ended: float  # seconds since the epoch
    objects: frozenset[str]
    tags: tuple[str, ...] = ()
    """The tags on its commit."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a job keeps what it has, and why."""

    kept: bool
    because: str


def judge(
    holdings: Iterable[Holding], sizes: Mapping[str, int], policy: Policy, branches: Collection[str], now: float
) -> dict[str, Verdict]:
    """The verdict on each job, by its id.

    `sizes` has the bytes of objects that exist; `branches` are the full names of those that there are. The newest job
    of a branch and the newest that passed keep what they have as long as there is the branch.
    """
    lanes: dict[str, list[Holding]] = {}
    for holding in sorted(holdings, key=lambda holding: holding.job, reverse=True):
        lanes.setdefault(holding.ref, []).append(holding)
    verdicts: dict[str, Verdict] = {}
    for ref, lane in lanes.items():
        verdicts |= _lane(ref, lane, sizes, policy, ref in branches, now)
    return verdicts


def _lane(
    ref: str, lane: list[Holding], sizes: Mapping[str, int], policy: Policy, alive: bool, now: float
) -> dict[str, Verdict]:
    name = short_branch(ref) or ref
    newest = lane[0] if alive else None
    passed = next((holding for holding in lane if holding.state is State.PASSED), None) if alive else None
    verdicts: dict[str, Verdict] = {}
    counted: set[str] = set()
    total = 0
    for number, holding in enumerate(lane):
        more = holding.objects - counted
        bytes_more = sum(sizes.get(digest, 0) for digest in more)
        if holding.tags:
            verdict = Verdict(True, f"its commit is tagged {', '.join(holding.tags)}")
        elif holding is newest or holding is passed:
            verdict = Verdict(True, f"the newest of {name}" + ("" if holding is newest else " that passed"))
        elif policy.days is not None and holding.ended < now - policy.days * DAY:
            verdict = Verdict(False, f"older than {policy.days:g} days")
        elif policy.jobs is not None and number >= policy.jobs:
            verdict = Verdict(False, f"not among the {policy.jobs} newest of {name}")
        elif policy.size is not None and holding.objects and total + bytes_more > policy.size:
            verdict = Verdict(False, f"the newer ones of {name} fill its size")
        else:
            verdict = Verdict(True, "within all limits")
        if verdict.kept or (policy.size is not None and total + bytes_more > policy.size):
            # One that did not fit takes what is left, or an older and smaller one would outlive it.
            counted |= more
            total += bytes_more
        verdicts[holding.job] = verdict
    return verdicts
