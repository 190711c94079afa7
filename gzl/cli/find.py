"""Which job does a person mean? An id, a unique beginning of one, or a commit-ish, which stands for its latest job."""

import difflib
import os
from collections.abc import Iterable
from dataclasses import dataclass

from gzl.cli.context import App
from gzl.errors import UserError
from gzl.git.repo import Repo
from gzl.kit.text import escaped
from gzl.model.ids import JOB_ID_PREFIX
from gzl.model.record import JobRecord
from gzl.notes.index import open_index
from gzl.records.index import Index

_SHORTEST = 8  # characters of an id that are shown at least


@dataclass(frozen=True, slots=True)
class Found:
    """A job, and how it was found where that is not plain: `of the same tree`, of a snapshot."""

    record: JobRecord
    remark: str = ""


def job(app: App, name: str) -> JobRecord:
    """The job that `name` means. UserError says what there is instead."""
    return find(app, name).record


def job_and_stage(app: App, name: str) -> tuple[JobRecord, str | None]:
    """The job and the stage of it that `HEAD/test` means; the stage is None where only a job is named.

    Branch names have slashes too: the longest part at the end that is a stage of the job before it is the stage.
    """
    with open_index(app.initialised) as index:
        return _job_and_stage(app.repo, index, name)


def find(app: App, name: str) -> Found:
    """As `job`, with a remark on how it was found."""
    with open_index(app.initialised) as index:
        return find_in(app.repo, index, name)


def unfinished(repo: Repo) -> list[JobRecord]:
    """The jobs that are not in a ledger yet, newest first."""
    if not repo.layout.jobs.is_dir() or not os.listdir(repo.layout.jobs):
        return []
    from gzl.records import unfinished as unfinished_jobs  # 10 ms: seldom is there one when somebody asks

    return list(unfinished_jobs.unfinished(repo.layout))[::-1]


def of_commits(repo: Repo, index: Index, trees: dict[str, str]) -> dict[str, list[Found]]:
    """Commit → its jobs, newest first; `trees` gives the tree of each commit.

    A commit that has none of its own has those of its tree: it was amended or rebased since they ran.
    """
    waiting = unfinished(repo)
    wanted = set(trees)
    jobs: dict[str, list[Found]] = {}
    for record in _newest_first(waiting, index.by_commits(wanted)):
        if record.commit in wanted:
            jobs.setdefault(record.commit, []).append(Found(record))
        elif record.snapshot_of in wanted:
            jobs.setdefault(record.snapshot_of, []).append(Found(record, "of the working tree"))
    for commit in wanted - jobs.keys():
        same = _newest_first((r for r in waiting if r.tree == trees[commit]), index.by_tree(trees[commit], 5))
        if same:
            jobs[commit] = [Found(record, f"of {record.commit[:12]}, which has the same tree") for record in same]
    return jobs


def id_width(index: Index, records: Iterable[JobRecord], waiting: Iterable[JobRecord]) -> int:
    """How many characters of their ids tell `records` from every other job."""
    others = sorted({record.id for record in waiting})
    width = _SHORTEST
    for record in records:
        before, after = index.neighbours(record.id)
        near = [other for other in (before, after, *others) if other is not None and other != record.id]
        width = max(width, *(1 + _common(record.id, other) for other in near), _SHORTEST)
    return width


def find_in(repo: Repo, index: Index, name: str) -> Found:
    """As `find`, for who has the index open."""
    waiting = unfinished(repo)
    if JOB_ID_PREFIX.match(name.lower()):
        prefix = name.lower()
        matches = _newest_first((r for r in waiting if r.id.startswith(prefix)), index.by_prefix(prefix, 5))
        if len(matches) == 1:
            return Found(matches[0])
        if matches:
            raise UserError(f"{name!r} could be any of {', '.join(record.id for record in matches)}; type more of it")
    commit = repo.resolve(name)
    if commit is None:
        raise UserError(f"{escaped(name)!r}: no job and no commit of this name; `gzl list` shows what there is")
    tree = repo.git("rev-parse", "--verify", f"{commit}^{{tree}}").decode().strip()
    jobs = of_commits(repo, index, {commit: tree}).get(commit)
    if not jobs:
        raise UserError(
            f"{escaped(name)}: no job has run for commit {commit[:12]}; `gzl run --commit {escaped(name)}` runs one"
        )
    return jobs[0]


def _job_and_stage(repo: Repo, index: Index, name: str) -> tuple[JobRecord, str | None]:
    try:
        return find_in(repo, index, name).record, None
    except UserError as error:
        if "/" not in name:
            raise
        whole = error
    lacking: UserError | None = None
    slash = name.find("/")
    while slash != -1:
        left, stage = name[:slash], name[slash + 1 :]
        slash = name.find("/", slash + 1)
        try:
            record = find_in(repo, index, left).record
        except UserError:
            continue  # `topic` of `topic/x/test` is no job; the next slash is tried, and `whole` is what is said last
        if stage in record.stages:
            return record, stage
        lacking = UserError(_no_stage(record, stage))
    raise lacking or whole


def _no_stage(record: JobRecord, stage: str) -> str:
    names = [escaped(name) for name in record.stages]
    near = difflib.get_close_matches(stage, names, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(names) or 'none'}"
    return f"{record.id}: no stage {escaped(stage)!r}; {hint}"


def _newest_first(*groups: Iterable[JobRecord]) -> list[JobRecord]:
    # A job that is being recorded right now may be in both: the unfinished ones come first in `groups`, and the record
    # in the ledger is the one that counts.
    found = {record.id: record for group in groups for record in group}
    return sorted(found.values(), key=lambda record: record.id, reverse=True)


def _common(one: str, other: str) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
