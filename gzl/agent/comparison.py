"""A job's commit beside what came before it: what changed since a stage passed, and what its result depends on.

The half of `conditions` that needs the Gzlfile's patterns, which cost an agent's start 10 ms; the ledgers' index, which
costs 55 more, is imported only where a question cannot be answered without it.
"""

from collections.abc import Mapping, Sequence

from gzl.git import changes
from gzl.git.changes import Base, File
from gzl.git.repo import Repo
from gzl.gzlfile import values
from gzl.model import refs
from gzl.model.pipeline import Stage
from gzl.model.record import JobRecord, StageResult
from gzl.planning.plan import Plan
from gzl.planning.reuse import received, stage_key


class Comparison:
    """Of the commit of one job. Raises GzlError where something cannot be found out."""

    def __init__(self, repo: Repo, job: JobRecord, env: Mapping[str, str]) -> None:
        """`env` is the Gzlfile's, as written."""
        self._repo = repo
        self._commit = job.commit
        self._branch = refs.short_branch(job.ref)
        self._env = env
        self._files: list[File] | None = None

    def changed(self, stage: str, globs: Sequence[str]) -> list[str] | None:
        """See `conditions.Conditions.changed`."""
        base = self._base(stage)
        return None if base is None else changes.changed(self._repo, base, self._commit, globs)

    def unchanged_since(self, stage: Stage) -> str | None:
        """The commit since which nothing of the stage's `paths=` changed; None if something did, or may have."""
        base = self._base(stage.name)
        globs = values.globs(stage.options["paths"])
        return None if base is None or changes.changed(self._repo, base, self._commit, globs) else base.passed

    def key(self, stage: Stage, record: JobRecord, plan: Plan) -> str:
        """The key of a stage with `inputs=`, in the job as it stands. Empty if no file matches: a mistake in the globs
        must not make the first pass stand for ever."""
        if self._files is None:
            self._files = changes.files(self._repo, self._commit)
        files = changes.matching(self._files, values.globs(stage.options["inputs"]))
        if not files:
            return ""
        given = received(stage.name, plan, record)
        return stage_key(stage, files, env=self._env, runner=record.runner, given=given)

    def reusable(self, key: str) -> tuple[JobRecord, StageResult] | None:
        """The latest pass with this key, by the word of trusted writers."""
        from gzl.agent import earlier

        return earlier.reusable(self._repo, key)

    def _base(self, stage: str) -> Base | None:
        ref = None if self._branch is None else refs.passed(stage, self._branch)
        return changes.base(self._repo, ref, self._commit, lambda: self._nearest(stage))

    def _nearest(self, stage: str) -> str | None:
        from gzl.agent import earlier

        return earlier.nearest_pass(self._repo, stage, self._commit)
