"""What may run next. `Progress` is told how stages end and says which stages that makes ready, and which will never be.

Kept by counting: a stage is looked at again only when something that it waits for has ended, so that a graph of a
thousand stages costs a thousand looks and not a million.

A stage that was skipped because nothing changed since it passed (`unchanged`) is as good as a pass to those that wait
for it, and is none itself: `x!` does not run, and of alternatives (`x|y`) one that passes in this job comes before one
that is unchanged, which counts when all the others have ended.
"""

import heapq
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice

from gzl.model.pipeline import When
from gzl.model.result import State
from gzl.planning.plan import Need, Plan

_FAILED = (State.FAILED, State.TIMED_OUT, State.LOST)
_WORST_FIRST = (State.STOPPED, *_FAILED)

NOTHING_CHANGED = "nothing that its stages look at has changed"
"""Why a job is skipped whose stages all ended without being stopped."""


@dataclass(frozen=True, slots=True)
class Skip:
    """A stage that will not run in this job, and why."""

    stage: str
    because: str


class Progress:
    """The states of a job's stages, and a queue of those that may start, the most urgent first."""

    def __init__(self, plan: Plan, ended: Mapping[str, State] | None = None, unchanged: Collection[str] = ()) -> None:
        """`ended` are the stages that had ended before, for a job that is taken up again, and of these `unchanged`
        those that were skipped because nothing changed."""
        self._plan = plan
        self._states: dict[str, State] = {}
        self._unchanged = set(unchanged)
        self._undecided = set(plan.stages)
        self._open = {name: len({s for need in plan.needs[name] for s in need.stages}) for name in plan.stages}
        self._choosing = {name for name in plan.stages if any(len(n.alternatives) > 1 for n in plan.needs[name])}
        self._ready: list[tuple[float, int, str]] = []
        self._order = {name: number for number, name in enumerate(plan.stages)}
        self._skips: list[Skip] = []
        for name, state in (ended or {}).items():
            self._undecided.discard(name)
            self._states[name] = state
        for name in list(self._states):
            for dependent in self._plan.dependents[name]:
                self._open[dependent] -= 1
        self._look(plan.stages)

    def end(self, stage: str, state: State, unchanged: bool = False) -> None:
        """Say that `stage` ended in the final `state`, as skipped perhaps because it is `unchanged`."""
        self._states[stage] = state
        if unchanged:
            self._unchanged.add(stage)
        self._undecided.discard(stage)
        for dependent in self._plan.dependents[stage]:
            self._open[dependent] -= 1
        # A pass decides nothing for a stage that waits for others too, unless it is an alternative's; anything else
        # may already rule it out.
        self._look(
            dependent
            for dependent in self._plan.dependents[stage]
            if state is not State.PASSED or not self._open[dependent] or dependent in self._choosing
        )

    def pop(self) -> str | None:
        """The most urgent stage that may start, which the caller now starts; None if none may."""
        return heapq.heappop(self._ready)[2] if self._ready else None

    def claim(self, stages: Iterable[str]) -> None:
        """Count stages as popped that an earlier agent had started."""
        claimed = set(stages)
        self._undecided -= claimed
        self._ready = [entry for entry in self._ready if entry[2] not in claimed]
        heapq.heapify(self._ready)

    def put_back(self, stage: str) -> None:
        """Queue a stage that was popped or claimed once more."""
        heapq.heappush(self._ready, (-self._plan.urgency[stage], self._order[stage], stage))

    def grow(self, plan: Plan) -> None:
        """The job's plan has become `plan`: stages were added after those that it had, and some that have neither been
        popped nor ended may wait for them. Costs what was added, and a look at what is ready."""
        added = list(islice(plan.stages, len(self._order), None))
        behind = {name for new in added for name in plan.dependents[new]}.difference(added)
        self._plan = plan
        self._order.update({name: number for number, name in enumerate(added, len(self._order))})
        ready = {entry[2] for entry in self._ready}
        waiting = behind & (self._undecided | ready)
        self._undecided.update(added, waiting)
        for name in (*added, *waiting):
            self._open[name] = len({s for need in plan.needs[name] for s in need.stages} - self._states.keys())
            if any(len(need.alternatives) > 1 for need in plan.needs[name]):
                self._choosing.add(name)
        self._ready.clear()
        for name in ready - waiting:  # what else waits for them now may have made them more urgent
            self.put_back(name)
        self._look((*added, *waiting))

    def skips(self) -> list[Skip]:
        """The stages found since the last call that will never run. Each must be ended as skipped by the caller."""
        found, self._skips = self._skips, []
        return found

    @property
    def over(self) -> bool:
        """Whether every stage has ended."""
        return len(self._states) == len(self._plan.stages)

    def unstarted(self) -> list[str]:
        """The stages that have neither ended nor been popped."""
        return sorted(self._undecided | {entry[2] for entry in self._ready}, key=self._order.__getitem__)

    def _look(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self._undecided:
                continue
            verdicts = [_verdict(need, self._states, self._unchanged) for need in self._plan.needs[name]]
            never = next((because for because in verdicts if isinstance(because, str)), None)
            if never is not None:
                self._undecided.discard(name)
                self._skips.append(Skip(name, never))
            elif all(verdicts):
                self._undecided.discard(name)
                self.put_back(name)


def _verdict(need: Need, states: Mapping[str, State], unchanged: Collection[str]) -> bool | str:
    """True: fulfilled; False: not yet; a text: never, and why."""
    if need.when is When.THEN:
        return _then(need, states, unchanged)
    known = [(name, states.get(name)) for name in need.stages]
    if need.when is When.CATCH and any(state in _FAILED for _, state in known):
        return True
    if any(state is None for _, state in known):
        return False
    return True if need.when is When.FINALLY else "; ".join(_said(name, states, unchanged) for name, _ in known)


def _then(need: Need, states: Mapping[str, State], unchanged: Collection[str]) -> bool | str:
    waiting, as_good, ruled_out = False, False, []
    for stages in need.alternatives:
        if all(states.get(name) is State.PASSED for name in stages):
            return True
        ended = [name for name in stages if states.get(name) not in (None, State.PASSED) and name not in unchanged]
        if ended:
            ruled_out.append(_said(ended[0], states, unchanged))
        elif any(name not in states for name in stages):
            waiting = True
        else:
            as_good = True
    return False if waiting else as_good or "; ".join(ruled_out)


def _said(name: str, states: Mapping[str, State], unchanged: Collection[str]) -> str:
    return f"{name} {'unchanged' if name in unchanged else states[name]}"


def verdict(
    plan: Plan, states: Mapping[str, State], asked: Iterable[str] = (), unchanged: Collection[str] = ()
) -> State:
    """What a job whose stages all ended has come to: the worst of them; skipped, if nothing in it ran because all of
    it is unchanged.

    A failed stage does not count where it was one alternative of several (`x|y`), another one passed, and nothing else
    asked for it.
    """
    forgiven = {
        name
        for name in plan.stages
        if states[name] in _FAILED and name not in set(asked) and _only_alternative(plan, name, states, unchanged)
    }
    counted = {states[name] for name in plan.stages if name not in forgiven}
    worst = next((state for state in _WORST_FIRST if state in counted), State.PASSED)
    return State.SKIPPED if counted == {State.SKIPPED} else worst


def _only_alternative(plan: Plan, name: str, states: Mapping[str, State], unchanged: Collection[str]) -> bool:
    needs = [need for other in plan.dependents[name] for need in plan.needs[other] if name in need.stages]
    plain = [need for need in needs if need.when is When.THEN]
    return bool(plain) and all(len(need.alternatives) > 1 and _then(need, states, unchanged) is True for need in plain)
