"""Whether a stage has to run at all: `paths=`, `inputs=`, and what else asks when it last ran.

The agent asks before it begins a stage. What cannot be found out (a damaged index, a commit that is not here) makes a
stage run: a skip is what has to be proved. A job whose stages have no such options pays nothing for it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from gzl.errors import GzlError
from gzl.git import refs as git_refs
from gzl.git.repo import Repo
from gzl.model import refs
from gzl.model.event import EventKind
from gzl.model.pipeline import Stage
from gzl.model.record import JobRecord, StageResult, artifact_data, totals_data
from gzl.model.request import JobRequest
from gzl.planning.plan import Plan

if TYPE_CHECKING:
    from gzl.agent.comparison import Comparison


@dataclass(frozen=True, slots=True)
class Go:
    """The stage runs; if it passes, its result may be used again under `key`, which is empty if it may not."""

    key: str = ""
    because: str = ""
    """What kept gzl from finding out whether it has to, for the agent's log."""


@dataclass(frozen=True, slots=True)
class Unchanged:
    """Nothing that the stage looks at has changed: it is skipped, the journal's `skipped` with this reason and data."""

    reason: str

    @property
    def data(self) -> dict[str, Any]:
        return {"unchanged": True}


@dataclass(frozen=True, slots=True)
class Reuse:
    """An earlier pass stands for the stage: the journal's `reused` with this key, reason and data."""

    job: JobRecord
    result: StageResult
    key: str

    @property
    def reason(self) -> str:
        return f"reused from {self.job.id}"

    @property
    def data(self) -> dict[str, Any]:
        return {
            "job": self.job.id,
            "outputs": dict(self.result.outputs),
            "artifacts": [artifact_data(artifact) for artifact in self.result.artifacts],
            "tests": totals_data(self.result.tests) if self.result.tests else None,
        }


Decision = Go | Unchanged | Reuse


class Conditions:
    """Decides for the stages of one job. Threads may share it."""

    def __init__(self, repo: Repo, request: JobRequest, holds: Callable[[str], bool]) -> None:
        """`holds` says whether the repository's object store has the object of a digest: a result whose artifacts are
        gone, or are in another clone's store only, is no use."""
        self._repo = repo
        self._request = request
        self._holds = holds
        self._branch = refs.short_branch(request.record.ref)
        self._last: dict[str, str] | None = None

    def decide(self, stage: Stage, record: JobRecord, plan: Plan) -> Decision:
        """What becomes of a stage that may begin now, in the job as it stands."""
        if not stage.steps:
            return _group(stage, record, plan)
        try:
            if "paths" in stage.options and (unchanged := self._unchanged(stage)) is not None:
                return unchanged
            if "inputs" in stage.options and not stage.once:
                return self._go_or_reuse(stage, record, plan)
        except GzlError as error:
            return Go(because=f"{stage.name}: {error}; so it runs")
        return Go()

    def last(self, stage: str) -> tuple[str, str]:
        """The commits that the stage last ran and last passed on, on the job's branch, before this job; empty if it
        has not, or the job is of no branch."""
        if self._branch is None:
            return "", ""
        if self._last is None:
            self._last = git_refs.read(self._repo, *refs.on_branch(self._branch))
        names = refs.last(stage, self._branch), refs.passed(stage, self._branch)
        ran, passed = (self._last.get(name, "") for name in names)
        return ran, passed

    def changed(self, stage: str, globs: Sequence[str] = ()) -> list[str] | None:
        """The paths that changed since the stage last passed, of those that a glob matches where there are globs.

        None if there is nothing to compare with: then all of them count as changed. Raises GzlError where that cannot
        be found out.
        """
        return self._comparison.changed(stage, globs)

    @cached_property
    def _comparison(self) -> "Comparison":
        from gzl.agent.comparison import Comparison  # 10 ms: only a job with such a stage pays for it

        return Comparison(self._repo, self._request.record, self._request.env)

    def _unchanged(self, stage: Stage) -> Unchanged | None:
        asked = self._request
        if asked.again or (asked.named and {stage.name, stage.family} & {*asked.record.targets}):
            return None
        since = self._comparison.unchanged_since(stage)
        return None if since is None else Unchanged(f"unchanged since {since[:7]}")

    def _go_or_reuse(self, stage: Stage, record: JobRecord, plan: Plan) -> Go | Reuse:
        key = self._comparison.key(stage, record, plan)
        if key and not self._request.again:
            found = self._comparison.reusable(key)
            if found is not None and all(self._holds(artifact.digest) for artifact in found[1].artifacts):
                return Reuse(*found, key)
        # A pull request can change what its stages do without changing what they declare: its passes are its own.
        return Go("" if record.event == EventKind.PULL_REQUEST else key)


def _group(stage: Stage, record: JobRecord, plan: Plan) -> Go | Unchanged:
    """A stage without a body is as unchanged as what it groups."""
    grouped = [record.stages[name] for need in plan.needs[stage.name] for name in need.stages]
    return Unchanged("all of it is unchanged") if grouped and all(one.unchanged for one in grouped) else Go()
