"""What the result of a stage with `inputs=` depends on, as one number: a pass under an equal key stands for a run.

The key counts what the stage declares and is given, in every clone the same. It does not count what nobody told gzl of:
files that no glob of `inputs=` matches, the machine's own programs and environment, the commit, the branch, the values
of secrets, the network.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gzl.model.pipeline import Stage
from gzl.model.record import JobRecord
from gzl.planning.plan import Plan

_FORMAT = 1  # changes whenever equal keys would no longer mean the same

# Options that say when a stage runs, for how long and with how much, but not what it does. `shell` is counted apart.
_NOT_COUNTED = {"inputs", "paths", "timeout", "idle", "once", "retry-flaky", "cpu", "memory", "shell", "runner"}


@dataclass(frozen=True, slots=True)
class Received:
    """What a stage is given by those that it depends on."""

    outputs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Stage → its outputs, of the stages that it names: they are in its environment."""
    artifacts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Stage → artifact → digest, of all that had to end before it: it can fetch them."""


def received(stage: str, plan: Plan, record: JobRecord) -> Received:
    """What `stage` is given, as the job stands."""
    named = _named(plan, stage)
    todo, before = list(named), set(named)
    while todo:
        fresh = _named(plan, todo.pop()) - before
        before |= fresh
        todo += fresh
    results = record.stages
    return Received(
        {name: results[name].outputs for name in sorted(named) if results[name].outputs},
        {
            name: {a.name: a.digest for a in results[name].artifacts}
            for name in sorted(before)
            if results[name].artifacts
        },
    )


def stage_key(
    stage: Stage,
    files: Iterable[tuple[str, str, str]],
    *,
    env: Mapping[str, str],
    runner: str,
    given: Received,
) -> str:
    """SHA-256 (hex) over all that the result of `stage` depends on.

    `files` are path, mode and object id of what its `inputs=` match, in any order; `env` is the Gzlfile's, as written;
    `runner` is the job's, where the stage does not name one itself.
    """
    said = [
        _FORMAT,
        stage.name,
        [step.text for step in stage.steps],
        stage.interpreter,
        stage.shell,
        stage.options.get("runner", runner),
        {name: value for name, value in stage.options.items() if _counts(name)},
        dict(stage.matrix),
        list(env.items()),  # their order counts: a value may refer to those before it
        sorted(files),
        given.outputs,
        given.artifacts,
    ]
    text = json.dumps(said, separators=(",", ":"), sort_keys=True, default=dict)
    return hashlib.sha256(text.encode()).hexdigest()


def _counts(option: str) -> bool:
    # What a combination is called and holds is counted; that there are others is nothing to it.
    return option not in _NOT_COUNTED and not option.startswith("matrix.")


def _named(plan: Plan, stage: str) -> set[str]:
    return {name for need in plan.needs[stage] for name in need.stages}
