"""What there is already of stages that somebody wants to have run: `gzl run --join`, and with it dependencies on other
repositories. A verdict on them at that commit is taken; a job that is at it is followed; else one has to be started."""

from collections.abc import Collection
from dataclasses import dataclass

from gzl.git.repo import Repo
from gzl.model.record import JobRecord
from gzl.model.result import State
from gzl.notes import verdicts
from gzl.records import unfinished
from gzl.records.index import Index


@dataclass(frozen=True, slots=True)
class Settled:
    """A job of that commit in which all of the stages passed or failed. It may still run."""

    record: JobRecord


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A job of that commit that has the stages still before it."""

    job: str


def find(
    repo: Repo, index: Index, commit: str, stages: Collection[str], trusted: frozenset[str] | None
) -> Settled | UnderWay | None:
    """What the repository has of `stages` at `commit`; None: nothing. `trusted` are the writers whose word counts."""
    there = [record for record in unfinished.unfinished(repo.layout) if _has(record, commit, stages)]
    under_way: UnderWay | None = None
    for record in reversed(there):
        if settled(record, stages):
            return Settled(record)
        if under_way is None and may_settle(record, stages) and not repo.layout.job(record.id).stop.exists():
            under_way = UnderWay(record.id)
    known = verdicts.stage_verdict(index, commit, min(stages), trusted)
    if known is not None and settled(known[0], stages):
        return Settled(known[0])
    return under_way


def settled(record: JobRecord, stages: Collection[str]) -> bool:
    """Whether each of the stages passed or failed in the job."""
    return all(name in record.stages and record.stages[name].state.verdict for name in stages)


def may_settle(record: JobRecord, stages: Collection[str]) -> bool:
    """Whether that may still come: none of them was skipped, stopped or lost."""
    return not record.state.final and all(
        not record.stages[name].state.final or record.stages[name].state.verdict for name in stages
    )


def passed(record: JobRecord, stages: Collection[str]) -> bool:
    """Whether the stages passed in the job."""
    return all(name in record.stages and record.stages[name].state is State.PASSED for name in stages)


def inconclusive(record: JobRecord) -> bool:
    """Whether the job came to an end that says nothing of its stages: it was stopped, lost, or gave way to another."""
    return record.state in (State.STOPPED, State.LOST, State.SKIPPED)


def _has(record: JobRecord, commit: str, stages: Collection[str]) -> bool:
    return record.commit == commit and all(name in record.stages for name in stages)
