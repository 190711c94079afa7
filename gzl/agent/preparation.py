"""What an attempt is given: its environment, and before that whatever its stage has asked for."""

from collections.abc import Mapping
from pathlib import Path

from gzl.agent.environment import inputs, job_env, stage_env
from gzl.agent.state import JobState
from gzl.git import refs as git_refs
from gzl.git.repo import Repo
from gzl.model import refs
from gzl.model.pipeline import Stage
from gzl.model.record import JobRecord
from gzl.model.request import JobRequest


class Preparation:
    """Prepares the attempts of one job."""

    def __init__(self, repo: Repo, request: JobRequest, environ: Mapping[str, str]) -> None:
        self._repo = repo
        self._record = request.record
        self._common = job_env(environ, request.env, request.record)
        self._last: dict[str, tuple[str, str]] = {}

    def env(self, stage: Stage, directory: Path, workspace: Path, state: JobState) -> dict[str, str]:
        """The environment of an attempt."""
        env = stage_env(self._common, stage, attempt=directory, workspace=workspace, last=self._last_of(stage.name))
        if state.outputs:
            env |= inputs(stage.name, state.plan, state.record)
        return env

    def _last_of(self, stage: str) -> tuple[str, str]:
        if not self._last:
            self._last = _last_commits(self._repo, self._record)
        return self._last.get(stage, ("", ""))


def _last_commits(repo: Repo, job: JobRecord) -> dict[str, tuple[str, str]]:
    """For each stage, the commits that it last ran and last passed on, on the job's branch."""
    found = dict.fromkeys(job.stages, ("", ""))
    branch = refs.short_branch(job.ref)
    if branch is not None:
        names = {refs.last(stage, branch): (stage, 0) for stage in job.stages}
        names |= {refs.passed(stage, branch): (stage, 1) for stage in job.stages}
        for name, commit in git_refs.read(repo, "refs/gzl/last", "refs/gzl/passed").items():
            if name in names:
                stage, place = names[name]
                found[stage] = (commit, found[stage][1]) if place == 0 else (found[stage][0], commit)
    return found
