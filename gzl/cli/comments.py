"""Comments on jobs, as `gzl show` and `gzl list` have them: of all ledgers, and of jobs that still run."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gzl.git.repo import Repo
from gzl.model.comment import Comment, to_data
from gzl.model.record import JobRecord

if TYPE_CHECKING:
    from gzl.records.index import Index  # 60 ms, and who only shows a job has it open, or does not need it


@dataclass(frozen=True, slots=True)
class Said:
    """A comment, and the writer of the ledger that holds it: the author is only what the comment says itself."""

    writer: str
    comment: Comment


def of_jobs(repo: Repo, index: "Index", records: Iterable[JobRecord]) -> dict[str, list[Said]]:
    """Job → its comments, oldest first; jobs without any are left out."""
    jobs = {record.id: record for record in records}
    said = [Said(writer, comment) for writer, comment in index.comments(jobs)]
    for record in jobs.values():
        if not record.state.final:
            from gzl.records import unfinished  # 10 ms: seldom is there a job that runs

            said += [Said(record.writer, comment) for comment in unfinished.comments(repo.layout, record.id)]
    found: dict[str, dict[Comment, Said]] = {}
    for one in said:
        # A ledger may be here from several remotes, and a job may be recorded while this is read.
        found.setdefault(one.comment.job, {}).setdefault(one.comment, one)
    return {job: sorted(ones.values(), key=lambda one: one.comment.id) for job, ones in found.items()}


def data(said: Iterable[Said]) -> list[dict[str, Any]]:
    """As JSON values."""
    return [{**to_data(one.comment), "writer": one.writer} for one in said]
