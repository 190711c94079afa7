"""What a job was made to run: written once as `request.json` when the job is made, so that whichever agent takes the
job up, now or after a crash, runs the same."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from gzl.errors import UserError
from gzl.model.journal import Entry
from gzl.model.pipeline import Dependency, Stage, StageRef, Step, When
from gzl.model.record import JobRecord, from_data, to_data


@dataclass(frozen=True, slots=True)
class JobRequest:
    """The job as it was asked for."""

    record: JobRecord
    """With the state `waiting`, and the results of stages that an earlier job's verdict is kept for."""
    stages: Mapping[str, Stage]
    env: Mapping[str, str] = field(default_factory=dict)
    """The Gzlfile's `env:`, as written."""
    slots: int = 1
    """How many stages may run at once."""
    follow_up: bool = False
    """Whether an event asked for it: then a newer one of the same ref takes its place while it waits."""
    timeout: int | None = None
    """Seconds after which all that still runs is stopped; None: no limit."""
    idle: int | None = None
    """Seconds without output of any stage after which all is stopped; None: no limit."""
    again: bool = False
    """Whether somebody wants all of it run, whatever was found out before: nothing is unchanged, nothing is reused."""
    named: bool = False
    """Whether somebody named the record's targets: these run though nothing of their `paths=` changed."""


@dataclass(frozen=True, slots=True)
class Added:
    """Stages that a running stage added to its job, and who waits for them because it said so."""

    stages: tuple[Stage, ...]
    before: Mapping[str, tuple[Dependency, ...]] = field(default_factory=dict)
    """Stage that has not begun → what it waits for besides from now on."""


def with_added(stages: Mapping[str, Stage], added: Added) -> dict[str, Stage]:
    """The stages of a job after some were added."""
    more = {**stages, **{stage.name: stage for stage in added.stages}}
    for name, dependencies in added.before.items():
        more[name] = replace(more[name], dependencies=(*more[name].dependencies, *dependencies))
    return more


def with_all_added(stages: Mapping[str, Stage], journal: Iterable[Entry]) -> dict[str, Stage]:
    """The stages of a job after all that its journal says were added."""
    found = dict(stages)
    for entry in journal:
        if entry.what == "added":
            found = with_added(found, added(entry.data or {}))
    return found


def added_data(added: Added) -> dict[str, Any]:
    """As JSON values: the data of a journal's `added`."""
    return {
        "stages": [_stage_data(stage) for stage in added.stages],
        "before": {name: [_need_data(d) for d in needs] for name, needs in added.before.items()},
    }


def added(raw: Mapping[str, Any]) -> Added:
    """What `added_data` gave as JSON values."""
    return Added(
        tuple(_stage(stage) for stage in raw["stages"]),
        {name: tuple(_dependency(when, *map(tuple, refs)) for when, *refs in needs)
         for name, needs in raw["before"].items()},
    )  # fmt: skip


def to_bytes(request: JobRequest) -> bytes:
    """`request.json`."""
    return json.dumps(
        {
            "record": to_data(request.record),
            "stages": [_stage_data(stage) for stage in request.stages.values()],
            "env": dict(request.env),
            "slots": request.slots,
            "follow_up": request.follow_up,
            "timeout": request.timeout,
            "idle": request.idle,
            "again": request.again,
            "named": request.named,
        },
        ensure_ascii=False,
        separators=(",", ":"),
    ).encode(errors="surrogateescape")


def from_bytes(data: bytes, where: str) -> JobRequest:
    """The request in `data`; UserError naming `where` if it is none."""
    try:
        raw = json.loads(data.decode(errors="surrogateescape"))
        stages = [_stage(stage) for stage in raw["stages"]]
        return JobRequest(
            record=from_data(raw["record"]),
            stages={stage.name: stage for stage in stages},
            env=raw["env"],
            slots=raw["slots"],
            follow_up=raw["follow_up"],
            timeout=raw.get("timeout"),
            idle=raw.get("idle"),
            again=raw.get("again", False),
            named=raw.get("named", False),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{where}: not a gzl job request ({error!r}); remove its folder to drop the job") from error


def _stage_data(stage: Stage) -> dict[str, Any]:
    return {
        "name": stage.name,
        "needs": [_need_data(dependency) for dependency in stage.dependencies],
        "steps": [[step.text, step.line] for step in stage.steps],
        "interpreter": stage.interpreter,
        "shell": stage.shell,
        "once": stage.once,
        "options": dict(stage.options),
        "matrix": dict(stage.matrix),
        "family": stage.family,
        "line": stage.line,
    }


def _need_data(dependency: Dependency) -> list[Any]:
    return [dependency.when, *((ref.stage, ref.repo, ref.branch) for ref in dependency.alternatives)]


def _stage(raw: Mapping[str, Any]) -> Stage:
    return Stage(
        name=raw["name"],
        dependencies=tuple(_dependency(when, *map(tuple, refs)) for when, *refs in raw["needs"]),
        steps=tuple(Step(text, line) for text, line in raw["steps"]),
        interpreter=raw["interpreter"],
        shell=raw["shell"],
        once=raw["once"],
        options=raw["options"],
        matrix=raw["matrix"],
        family=raw["family"],
        line=raw["line"],
    )


@lru_cache(maxsize=4096)
def _dependency(when: str, *refs: tuple[str, str | None, str | None]) -> Dependency:
    """Shared by all stages that need the same: a layered graph has a few hundred, named tens of thousands of times."""
    return Dependency(tuple(StageRef(*ref) for ref in refs), When(when))
