"""Where a job stands: its request and its journal, added up, and what that makes ready to run.

Every change is an entry of the journal, written before it counts. An agent that takes a job up reads the journal, and
stands where the one before it stood.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gzl.agent.lease import Journal, Lease
from gzl.kit.clock import Clock
from gzl.model.journal import Entry, replay
from gzl.model.pipeline import Stage
from gzl.model.record import JobRecord
from gzl.model.request import Added, JobRequest, added_data, with_added, with_all_added
from gzl.model.result import State
from gzl.planning.plan import Plan, plan
from gzl.planning.progress import Progress, Skip, verdict

MAX_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Begun:
    """An attempt that was begun and has not ended, and the slot that it has."""

    stage: str
    number: int
    slot: int


class JobState:
    """The job as one agent, the holder of its lease, knows it."""

    def __init__(self, lease: Lease, request: JobRequest, entries: list[Entry], clock: Clock) -> None:
        self._journal = Journal(lease)
        self._request = request
        self._clock = clock
        self._record = request.record
        self._unread = entries
        self._numbers: dict[str, int] = {}
        self._with_outputs = {name for name, kept in request.record.stages.items() if kept.outputs}
        self.stages = with_all_added(request.stages, entries)
        for entry in entries:
            if entry.what == "started":
                self._numbers[entry.stage] = entry.attempt
            elif entry.what in ("output", "reused"):
                self._with_outputs.add(entry.stage)
        self.plan: Plan = plan(self.stages)
        self.states = {name: result.state for name, result in self.record.stages.items() if result.state.final}
        for name in self._lost_but_to_be_tried_again():
            del self.states[name]
        self.unchanged = {name for name, result in self.record.stages.items() if result.unchanged}
        self.progress = Progress(self.plan, self.states, self.unchanged)
        self.begun = {begun.stage: begun for begun in _begun(entries)}
        self.progress.claim(self.begun)

    @property
    def record(self) -> JobRecord:
        """The job as it stands."""
        if self._unread:
            self._record = replay(self._record, self._unread)
            self._unread = []
        return self._record

    @property
    def outputs(self) -> bool:
        """Whether any stage has told an output: where none has, nobody's environment has to be looked through."""
        return bool(self._with_outputs)

    def note(
        self,
        what: str,
        stage: str = "",
        attempt: int = 0,
        *,
        time: float | None = None,
        data: Mapping[str, Any] | None = None,
        **said: Any,
    ) -> None:
        """Write an entry. StaleLease if the job is no longer this agent's."""
        entry = Entry(self._clock() if time is None else time, what, stage, attempt, data=data, **said)
        self._journal.write(entry)
        self._unread.append(entry)
        if what in ("output", "reused"):
            self._with_outputs.add(stage)

    def next_attempt(self, stage: str) -> int:
        """The number that the stage's next attempt has."""
        return self._numbers.get(stage, 0) + 1

    def start(self, begun: Begun, key: str) -> None:
        """An attempt begins."""
        self.note("started", begun.stage, begun.number, slot=begun.slot, key=key)
        self._numbers[begun.stage] = begun.number
        self.begun[begun.stage] = begun

    def may_try_again(self, begun: Begun) -> bool:
        """Whether another attempt follows one that was lost."""
        return another_may_follow(self.stages[begun.stage], begun.number)

    def settle(self, stage: str, state: State, *, unchanged: bool = False) -> None:
        """The stage has come to its final state, as the journal says."""
        self.begun.pop(stage, None)
        self.states[stage] = state
        if unchanged:
            self.unchanged.add(stage)
        self.progress.end(stage, state, unchanged=unchanged)

    def skip(self, skip: Skip) -> None:
        """A stage will not run."""
        self.note("skipped", skip.stage, reason=skip.because)
        self.settle(skip.stage, State.SKIPPED)

    def grow(self, more: Added, stage: str) -> None:
        """Take stages in that a running stage added."""
        self.note("added", stage, data=added_data(more))
        self.stages = with_added(self.stages, more)
        self.plan = plan(self.stages)
        self.progress.grow(self.plan)

    def verdict(self) -> State:
        """What the job has come to, now that every stage has ended."""
        return verdict(self.plan, self.states, self._request.record.targets, self.unchanged)

    def _lost_but_to_be_tried_again(self) -> list[str]:
        return [
            name
            for name, state in self.states.items()
            if state is State.LOST and self.may_try_again(Begun(name, self._numbers.get(name, MAX_ATTEMPTS), 0))
        ]


def another_may_follow(stage: Stage, attempts: int) -> bool:
    """Whether a stage is tried again after so many attempts were lost."""
    return not stage.once and attempts < MAX_ATTEMPTS


def _begun(entries: list[Entry]) -> Iterator[Begun]:
    begun: dict[str, Begun] = {}
    for entry in entries:
        if entry.what == "started":
            begun[entry.stage] = Begun(entry.stage, entry.attempt, entry.slot)
        elif entry.what == "ended":
            begun.pop(entry.stage, None)
    yield from begun.values()
