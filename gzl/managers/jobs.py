"""From an event, or a person's wish, to a job: what would run, whether that has been answered already, and the request.

Both the repo manager and `gzl run` make their jobs here, so that both give the same answer to the same question.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from gzl.errors import UserError
from gzl.git import foreign
from gzl.git import refs as git_refs
from gzl.git.foreign import Foreign
from gzl.git.refs import RefUpdate
from gzl.git.repo import Repo
from gzl.git.source import GZLFILE, Source
from gzl.gzlfile import load, unavailable
from gzl.gzlfile.globs import matches
from gzl.kit.crash import point
from gzl.model import refs
from gzl.model.event import Event, EventKind
from gzl.model.pipeline import Pipeline, Rule, Stage
from gzl.model.record import JobRecord, StageResult
from gzl.model.request import JobRequest
from gzl.model.result import State
from gzl.notes import verdicts
from gzl.planning.definition import definition
from gzl.planning.plan import select, stages_of
from gzl.planning.triggers import asked_for, limits, rules_for, skip_reason
from gzl.records import unfinished
from gzl.records.index import Index


@dataclass(frozen=True, slots=True)
class Nothing:
    """No job comes of it, and why."""

    because: str


@dataclass(frozen=True, slots=True)
class Known:
    """It has been answered already."""

    record: JobRecord


@dataclass(frozen=True, slots=True)
class Refused:
    """It cannot run: the job ends before it began, with this record."""

    record: JobRecord


Answer = JobRequest | Nothing | Known | Refused


@dataclass(frozen=True, slots=True)
class Asked:
    """A question to be answered by a job."""

    job: str
    """The id that the job will have."""
    event: Event
    source: Source
    writer: str
    now: float
    slots: int
    targets: tuple[str, ...] | None = None
    """The stages that a person asked for; None: what the `on` rules say."""
    again: bool = False
    """Whether to run though it has been answered already."""
    snapshot_of: str | None = None
    follow_up: bool = False
    runner: str = "local"
    timeout: int | None = None
    """Seconds that the job may take, instead of what the rules say."""
    idle: int | None = None
    """Seconds that it may go on without output, instead of what the rules say."""


def answer(repo: Repo, asked: Asked, index: Index, trusted: frozenset[str] | None) -> Answer:
    """What comes of the question: a job to be run, or why there is none."""
    event, source = asked.event, asked.source
    if source.gzlfile is None:
        return Nothing(f"{source.commit[:12]} has no {GZLFILE}")
    automatic = event.kind is not EventKind.MANUAL and not event.stages
    if automatic and (because := skip_reason(event, source.message)) is not None:
        return Nothing(because)
    where = f"{source.commit[:12]}:{GZLFILE}"
    try:
        pipeline = load(source.gzlfile, where)
        wanted = _wanted(pipeline, asked, where)
        if not wanted:
            return Nothing(f"no `on {event.kind}` rule of {where} matches {event.short_ref}")
        stages = select(pipeline, wanted)
        if problems := unavailable(pipeline, stages):
            raise UserError("\n".join(f"{where}: {problem}" for problem in problems))
        elsewhere = _elsewhere(repo, asked, stages, where)
    except UserError as error:
        return Refused(replace(_record(asked, {}, "", ()), state=State.FAILED, finished=asked.now, reason=str(error)))
    # A name with `//` is no variable's. What another repository is at decides over the verdict, as a variable would.
    wish = definition(stages, {**pipeline.env, **{name: at or "" for name, at in elsewhere.tips.items()}})
    told = None not in elsewhere.tips.values()
    stages = {**elsewhere.stages, **stages}
    if not asked.again and told and not _been_elsewhere(asked, stages, index):
        known = verdicts.find(index, commit=source.commit, tree=source.tree, definition=wish, trusted=trusted)
        if known is not None:
            return Known(known)
    record = _record(asked, stages, wish, wanted)
    timeout, idle = limits(() if asked.targets is not None else _rules(pipeline, event))
    return JobRequest(
        record, stages, pipeline.env, asked.slots, asked.follow_up,
        timeout=asked.timeout or timeout, idle=asked.idle or idle,
        again=asked.again and event.kind is EventKind.MANUAL, named=asked.targets is not None,
    )  # fmt: skip


def only_failed(request: JobRequest, earlier: JobRecord) -> JobRequest:
    """The request, keeping from `earlier` the results of stages that passed (or were unchanged) and depend on none that
    did not."""
    passed = {name for name, r in earlier.stages.items() if r.state is State.PASSED or r.unchanged}
    kept: dict[str, StageResult] = {}
    # Dependencies come before their dependents in no particular file order: repeat until nothing is added.
    grown = True
    while grown:
        grown = False
        for name, stage in request.stages.items():
            if name in passed and name not in kept and _needed(stage, request.stages) <= kept.keys():
                kept[name] = _kept(earlier.stages[name], earlier.id)
                grown = True
    stages = {**request.record.stages, **kept}
    return replace(request, record=replace(request.record, stages=stages))


def _kept(result: StageResult, job: str) -> StageResult:
    """A result of an earlier job, with what it handed over."""
    if result.unchanged:
        return result
    return StageResult(
        result.name, result.state, skipped_because=f"passed in {job}", outputs=result.outputs,
        artifacts=result.artifacts, tests=result.tests,
    )  # fmt: skip


def members(asked: Asked) -> tuple[str, ...]:
    """The stages that are asked for by name, those of a matrix one by one. UserError as `answer` has it."""
    where = f"{asked.source.commit[:12]}:{GZLFILE}"
    pipeline = load(asked.source.gzlfile or b"", where)
    return tuple(dict.fromkeys(chain.from_iterable(stages_of(pipeline, n) for n in _wanted(pipeline, asked, where))))


def create(repo: Repo, request: JobRequest) -> None:
    """Make the job: pin its commit against gc, then its folder, from which any agent can run it."""
    record = request.record
    live = refs.live(record.id)
    git_refs.transaction(repo, [RefUpdate(live, record.commit, git_refs.ANY)])
    point("job.pinned")
    unfinished.create(repo.layout, request)


def _been_elsewhere(asked: Asked, stages: Mapping[str, Stage], index: Index) -> bool:
    """Whether an earlier verdict cannot answer: a stage acts on the world (`once`), or goes by what changed since it
    last passed on this branch (`paths=`), and the branch is not where it was. (A revert brings an old tree back, but
    not what a deployment or a migration made of the world since.)"""
    if not any(stage.once or "paths" in stage.options for stage in stages.values()):
        return False
    newest = index.by_ref(asked.event.ref, 1)
    return bool(newest) and newest[0].tree != asked.source.tree


def _elsewhere(repo: Repo, asked: Asked, stages: Mapping[str, Stage], where: str) -> Foreign:
    """What stands for the stages of other repositories that these depend on."""
    try:
        return foreign.resolve(repo, stages.values(), asked.event.branch or "")
    except UserError as error:
        raise UserError("\n".join(f"{where}: {line}" for line in str(error).splitlines())) from error


def _wanted(pipeline: Pipeline, asked: Asked, where: str) -> tuple[str, ...]:
    names = asked.targets if asked.targets is not None else _by_rules(pipeline, asked.event)
    unknown = [name for name in names if name not in pipeline.families and name not in pipeline.stages]
    if unknown:
        raise UserError(f"{where}: no stage {unknown[0]!r}; there are {', '.join(pipeline.families) or 'none'}")
    return tuple(names)


def _by_rules(pipeline: Pipeline, event: Event) -> tuple[str, ...]:
    """The stages that the rules ask for; all stages where no rule says what a manual run is."""
    if event.stages:
        return asked_for(pipeline, event, matches)
    names = tuple(dict.fromkeys(name for rule in _rules(pipeline, event) for name in rule.stages))
    if names or event.kind is not EventKind.MANUAL:
        return names
    return tuple(dict.fromkeys(stage.family or stage.name for stage in pipeline.stages.values()))


def _rules(pipeline: Pipeline, event: Event) -> tuple[Rule, ...]:
    """The rules that match. A manual run without a rule of its own is what a push to the branch would run."""
    found = rules_for(pipeline, event, matches)
    if found or event.kind is not EventKind.MANUAL:
        return found
    return rules_for(pipeline, replace(event, kind=EventKind.PUSH), matches)


def _record(asked: Asked, stages: Mapping[str, Stage], wish: str, wanted: Sequence[str]) -> JobRecord:
    event = asked.event
    return JobRecord(
        id=asked.job,
        commit=asked.source.commit,
        tree=asked.source.tree,
        ref=event.ref,
        event=str(event.kind),
        state=State.WAITING,
        writer=asked.writer,
        created=asked.now,
        runner=asked.runner,
        definition=wish,
        targets=tuple(wanted),
        stages={name: StageResult(name) for name in stages},
        snapshot_of=asked.snapshot_of,
        actor=event.actor,
    )


def _needed(stage: Stage, stages: Mapping[str, Stage]) -> set[str]:
    named = {str(ref) for dependency in stage.dependencies for ref in dependency.alternatives}
    return {name for name, other in stages.items() if name in named or other.family in named}
