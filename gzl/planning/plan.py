"""From a pipeline and the stages that were asked for to the plan of a job: which stages, who waits for whom, in what
order of urgency."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from gzl.model.pipeline import Dependency, Pipeline, Stage, When


@dataclass(frozen=True, slots=True)
class Need:
    """A dependency with its families resolved: each alternative is the stages that it stands for."""

    alternatives: tuple[tuple[str, ...], ...]
    when: When

    @property
    def stages(self) -> Iterable[str]:
        return chain.from_iterable(self.alternatives)

    def __str__(self) -> str:
        return "|".join(" ".join(stages) for stages in self.alternatives)


@dataclass(frozen=True, slots=True)
class Plan:
    """The stages of one job and how they hang together; `dependents` is `needs` the other way round."""

    stages: Mapping[str, Stage]
    needs: Mapping[str, tuple[Need, ...]]
    dependents: Mapping[str, tuple[str, ...]]
    urgency: Mapping[str, float]
    """Seconds (or stages, where no durations are known) of the longest path from a stage's start to the job's end."""


def select(pipeline: Pipeline, targets: Sequence[str]) -> dict[str, Stage]:
    """The stages of a job: `targets`, all that they need, and the handlers of these.

    A handler, a stage that only reacts (all its dependencies are `x!` or `x?`), comes along when every stage that it
    handles is in the job; a plain dependent comes only if it was asked for. Raises KeyError for an unknown target.
    """
    chosen: set[str] = set()
    _add(pipeline, chain.from_iterable(stages_of(pipeline, target) for target in targets), chosen)
    grown = True
    while grown:
        handlers = [
            name
            for name, stage in pipeline.stages.items()
            if name not in chosen and stage.handler and _named(pipeline, stage) <= chosen
        ]
        _add(pipeline, handlers, chosen)
        grown = bool(handlers)
    return {name: stage for name, stage in pipeline.stages.items() if name in chosen}


def stages_of(pipeline: Pipeline, name: str) -> tuple[str, ...]:
    """The stages that a name stands for: a declared name, or one that `matrix.*` made. KeyError if none."""
    return (name,) if name in pipeline.stages else pipeline.families[name]


def _add(pipeline: Pipeline, names: Iterable[str], chosen: set[str]) -> None:
    todo = list(names)
    while todo:
        name = todo.pop()
        if name not in chosen:
            chosen.add(name)
            todo += _named(pipeline, pipeline.stages[name])


def _named(pipeline: Pipeline, stage: Stage) -> set[str]:
    return {
        name
        for dependency in stage.dependencies
        for ref in dependency.alternatives
        if ref.repo is None
        for name in stages_of(pipeline, ref.stage)
    }


def families_of(stages: Mapping[str, Stage]) -> dict[str, tuple[str, ...]]:
    """Name → the stages of a job that it stands for, for every name that a dependency may use."""
    members: dict[str, list[str]] = {}
    for name, stage in stages.items():
        members.setdefault(stage.family or name, []).append(name)
    families = {family: tuple(names) for family, names in members.items()}
    families.update({name: (name,) for name in stages})
    return families


def plan(stages: Mapping[str, Stage], durations: Mapping[str, float] | None = None) -> Plan:
    """The plan for the selected `stages`, which hold all that they need and no cycle.

    `durations` are seconds by stage, as recorded; without any, all count the same.
    """
    families = families_of(stages)
    known: dict[int, Need] = {}  # by identity: stages share their dependencies, and a hash would look at all of each

    def need(dependency: Dependency) -> Need:
        if id(dependency) not in known:
            alternatives = tuple(families[str(ref)] for ref in dependency.alternatives)
            known[id(dependency)] = Need(alternatives, dependency.when)
        return known[id(dependency)]

    needs = {name: tuple(map(need, stage.dependencies)) for name, stage in stages.items()}
    dependents: dict[str, list[str]] = {name: [] for name in stages}
    for name, wanted in needs.items():
        for needed in dict.fromkeys(chain.from_iterable(need.stages for need in wanted)):
            dependents[needed].append(name)
    frozen = {name: tuple(names) for name, names in dependents.items()}
    return Plan(stages, needs, frozen, _urgency(needs, frozen, durations or {}))


def _urgency(
    needs: Mapping[str, tuple[Need, ...]], dependents: Mapping[str, tuple[str, ...]], durations: Mapping[str, float]
) -> dict[str, float]:
    """Longest path to the end for every stage: Kahn's topological order, from the last stages to the first."""
    typical = sorted(durations.values())[len(durations) // 2] if durations else 1.0
    waiting = {name: len(names) for name, names in dependents.items()}
    ready = [name for name, count in waiting.items() if not count]
    urgency: dict[str, float] = {}
    while ready:
        name = ready.pop()
        after = max((urgency[dependent] for dependent in dependents[name]), default=0.0)
        urgency[name] = after + durations.get(name, typical)
        for needed in dict.fromkeys(chain.from_iterable(need.stages for need in needs[name])):
            waiting[needed] -= 1
            if not waiting[needed]:
                ready.append(needed)
    return urgency
