"""Dependencies on stages of other repositories: `lib//package`, `lib@branch//package`.

Each becomes a stage of the job, called as it is written. What it runs waits for, or starts, that stage at that branch's
tip in the other repository (`cli.foreign`), and hands its outputs on. So it is started, watched, stopped and taken over
like any other stage, and whoever depends on it knows nothing of repositories.
"""

import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gzl.errors import UserError
from gzl.git import neighbours
from gzl.git import source as git_source
from gzl.git.repo import Repo
from gzl.gzlfile import parse
from gzl.model.pipeline import Pipeline, Stage, StageRef, Step
from gzl.planning.plan import select

_DEEPEST = 50  # repositories that need one another


@dataclass(frozen=True, slots=True)
class Foreign:
    """Stages that stand for stages of other repositories, and for each the commit that it would take now; None where
    that is not known before it runs, because it is on another machine."""

    stages: Mapping[str, Stage]
    tips: Mapping[str, str | None]


def resolve(repo: Repo, stages: Iterable[Stage], branch: str) -> Foreign:
    """What the foreign dependencies of `stages` become in a job of `branch` (may be empty).

    Raises UserError, a line for each that cannot be: no such repository, branch or stage, or a circle.
    """
    found: dict[str, Stage] = {}
    tips: dict[str, str | None] = {}
    problems: list[str] = []
    walk = _Walk()
    for ref, line, needing in _references(stages):
        name = str(ref)
        if name in found:
            continue
        found[name] = _stand_in(repo, ref, line)
        try:
            tips[name] = walk.look(repo, ref, branch, [needing.family or needing.name])
        except UserError as error:
            problems.append(f"line {line}: `{name}`: {error}")
    if problems:
        raise UserError("\n".join(problems))
    return Foreign(found, tips)


def complete(repo: Repo, new: Mapping[str, Stage], stages: Mapping[str, Stage], branch: str) -> dict[str, Stage]:
    """Stages that are to be added to a job of `stages`, and what their foreign dependencies become. UserError as for
    `resolve`."""
    missing = resolve(repo, new.values(), branch).stages
    return {**{name: stage for name, stage in missing.items() if name not in stages}, **new}


def parse_reference(text: str) -> StageRef:
    """The reference that a foreign stage is called by."""
    head, _, stage = text.rpartition("//")
    name, at, branch = head.partition("@")
    return StageRef(stage, name, branch if at else None)


def _references(stages: Iterable[Stage]) -> Iterator[tuple[StageRef, int, Stage]]:
    for stage in stages:
        for dependency in stage.dependencies:
            for ref in dependency.alternatives:
                if ref.repo is not None:
                    yield ref, dependency.line, stage


def _stand_in(repo: Repo, ref: StageRef, line: int) -> Stage:
    # -P: the current folder is a checkout, and one that has a folder `gzl` must not take gzl's place.
    argv = [sys.executable, "-P", "-m", "gzl.cli.foreign", str(repo.common_dir), str(ref)]
    step = Step(f"exec {shlex.join(argv)}", line)
    return Stage(str(ref), steps=(step,), options={"runner": "local"}, family=str(ref), line=line)


class _Circle(UserError):
    """Stages that would wait for each other."""


class _Walk:
    """Looks from repository to repository, as far as they are on this machine, at what their stages need: stages that
    would wait for each other through other repositories are found before any of them waits."""

    def __init__(self) -> None:
        self._pipelines: dict[tuple[Path, str], Pipeline] = {}
        self._finished: set[tuple[Path, str, str]] = set()
        self._path: list[tuple[Path, str, str]] = []

    def look(self, repo: Repo, ref: StageRef, branch: str, names: list[str]) -> str | None:
        """The commit that `ref` means in a job of `branch` in `repo`; None if it is on another machine. UserError for a
        circle, or if there is no such stage. `names` is how one came here."""
        there = neighbours.find(repo, str(ref.repo)).repo
        if there is None:
            return None
        at = neighbours.tip(there, ref, branch)
        node, names = (there.common_dir, at.commit, ref.stage), [*names, str(ref)]
        if node in self._path:
            raise _Circle(f"stages of several repositories would wait for each other: {' → '.join(names)}")
        if len(self._path) == _DEEPEST:
            raise _Circle(f"more than {_DEEPEST} stages of other repositories need one another: {' → '.join(names)}")
        if node not in self._finished:
            self._path.append(node)
            try:
                self._look_on(there, ref, at, names)
            finally:
                self._path.pop()
            self._finished.add(node)
        return at.commit

    def _look_on(self, there: Repo, ref: StageRef, at: neighbours.Tip, names: list[str]) -> None:
        pipeline = self._pipeline(there, at, str(ref.repo))
        if ref.stage not in pipeline.families and ref.stage not in pipeline.stages:
            raise UserError(f"{ref.repo} has no stage {ref.stage!r} at {at}; it has {', '.join(pipeline.families)}")
        for other, _, _ in _references(select(pipeline, [ref.stage]).values()):
            try:
                self.look(there, other, at.branch, names)
            except _Circle:
                raise
            except UserError:
                continue  # of no concern here: the job there says so, or has an answer already

    def _pipeline(self, there: Repo, at: neighbours.Tip, name: str) -> Pipeline:
        key = (there.common_dir, at.commit)
        if key not in self._pipelines:
            source = git_source.read(there, at.commit)
            if source is None or source.gzlfile is None:
                raise UserError(f"{name} has no Gzlfile at {at}")
            parsed = parse(source.gzlfile, "Gzlfile")
            if parsed.errors:
                raise UserError(f"the Gzlfile of {name} at {at} has mistakes; `gzl check` there shows them")
            self._pipelines[key] = parsed.pipeline
        return self._pipelines[key]
