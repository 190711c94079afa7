"""What a Gzlfile says, as values. `gzlfile` makes them, `planning` decides over them, `agent` carries them out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gzl.model.event import EventKind


class When(StrEnum):
    """The promise that a dependency waits for."""

    THEN = ""
    """`x`: runs if x passed."""
    CATCH = "!"
    """`x!`: runs if x failed."""
    FINALLY = "?"
    """`x?`: runs whatever became of x."""


@dataclass(frozen=True, slots=True)
class StageRef:
    """A stage that a dependency names: `stage`, `repo//stage` or `repo@branch//stage`."""

    stage: str
    repo: str | None = None
    branch: str | None = None

    def __str__(self) -> str:
        if self.repo is None:
            return self.stage
        at = f"@{self.branch}" if self.branch is not None else ""
        return f"{self.repo}{at}//{self.stage}"


@dataclass(frozen=True, slots=True)
class Dependency:
    """One word after a stage's colon. More than one alternative (`x|y`) means the first of them to pass."""

    alternatives: tuple[StageRef, ...]
    when: When = When.THEN
    line: int = 0

    def __str__(self) -> str:
        return "|".join(map(str, self.alternatives)) + self.when


@dataclass(frozen=True, slots=True)
class Step:
    """One whole shell command of a stage's body: its text without the body's indentation, and its first line."""

    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Stage:
    """A node of the pipeline, after `matrix.*` was expanded."""

    name: str
    dependencies: tuple[Dependency, ...] = ()
    steps: tuple[Step, ...] = ()
    interpreter: str | None = None
    """What follows `#!` in the first line of the body; then `steps` is one step, the whole body with that line."""
    shell: str = "sh"
    once: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    """Every option as it was written, `shell` and `once` too; `gzlfile.options` says what each means."""
    matrix: Mapping[str, str] = field(default_factory=dict)
    """For a stage that `matrix.*` made: its combination."""
    family: str = ""
    """The name that the Gzlfile declares; differs from `name` for a stage that `matrix.*` made."""
    line: int = 0

    @property
    def handler(self) -> bool:
        """Whether the stage only reacts to others (all its dependencies are `x!` or `x?`)."""
        return bool(self.dependencies) and all(d.when is not When.THEN for d in self.dependencies)

    def repeats(self, other: "Stage") -> bool:
        """Whether this declares `other` once more, which may have come to wait for others besides since."""
        needs = [list(map(str, stage.dependencies)) for stage in (self, other)]
        return needs[0] == needs[1][: len(needs[0])] and _body(self) == _body(other)


def _body(stage: Stage) -> tuple[object, ...]:
    """What a stage does, without where its lines stand."""
    steps = [step.text for step in stage.steps]
    return stage.name, stage.family, steps, stage.interpreter, dict(stage.options), dict(stage.matrix)


@dataclass(frozen=True, slots=True)
class Rule:
    """An `on` line: for events of `kind` whose short ref name matches a pattern (none: any), run `stages`.

    For a cron rule the pattern is the schedule, five fields as crontab(5) has them.
    """

    kind: EventKind
    patterns: tuple[str, ...]
    stages: tuple[str, ...]
    line: int = 0
    timeout: int | None = None
    """Seconds that the whole job may take; None: no limit."""
    idle: int | None = None
    """Seconds that it may go on without any output; None: no limit."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """All that a Gzlfile declares: stages by name in the order of the file, rules, environment, pin."""

    stages: Mapping[str, Stage]
    rules: tuple[Rule, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    """Values as written; `$NAME` in them is expanded where the stage runs."""
    pin: str | None = None
    families: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Declared name → the stages it stands for: itself, or all that its `matrix.*` made."""
