"""What earlier jobs say, by the ledgers of trusted writers: the questions of `conditions` that need the index. Imported
only where there is one."""

from gzl.git.repo import Repo
from gzl.model.record import JobRecord, StageResult
from gzl.notes import verdicts
from gzl.notes.index import open_index
from gzl.notes.trust import trusted


def nearest_pass(repo: Repo, stage: str, commit: str) -> str | None:
    """The nearest of `commit` and its ancestors on which the stage passed; None if there is none."""
    with open_index(repo) as index:
        return verdicts.nearest_pass(repo, index, stage=stage, commit=commit, trusted=trusted(repo))


def reusable(repo: Repo, key: str) -> tuple[JobRecord, StageResult] | None:
    """The latest pass of a stage with this key (hex): the job, and its stage; None if there is none."""
    with open_index(repo) as index:
        return verdicts.reusable(index, key, trusted(repo))
