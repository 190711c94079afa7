"""The part of `gzl fsck` that is about logs: does what the records say of them hold?"""

import hashlib
from collections.abc import Iterable, Iterator

from gzl.git.repo import Repo
from gzl.logs import store
from gzl.model.ids import job_month
from gzl.model.record import JobRecord, LogRef


def problems(repo: Repo, own: str, records: Iterable[JobRecord]) -> Iterator[str]:
    """A sentence for each log of `records` that this machine should have and has not, or that has other bytes.

    Only the logs of `own` can be expected here as files; a month of anybody's whose ref is gone was dropped on purpose.
    """
    months: dict[str, bool] = {}
    for record in records:
        month = job_month(record.id)
        if month not in months:
            months[month] = bool(store.month_refs(repo, month))
        for stage, attempt, log in _logs(record):
            wrong = _wrong(repo, record, stage, attempt, log, here=record.writer == own, month_kept=months[month])
            if wrong:
                yield f"{record.id}/{stage}: the log of attempt {attempt} {wrong}; run the job again to have one"


def _logs(record: JobRecord) -> Iterator[tuple[str, int, LogRef]]:
    for name, stage in record.stages.items():
        for attempt in stage.attempts:
            if attempt.log is not None:
                yield name, attempt.number, attempt.log


def _wrong(
    repo: Repo, record: JobRecord, stage: str, attempt: int, log: LogRef, *, here: bool, month_kept: bool
) -> str | None:
    if log.store == "file":
        path = store.file_path(repo, log.sha256)
        if not path.exists():
            return f"is missing: {path}" if here else None
        with path.open("rb") as file:
            return None if hashlib.file_digest(file, "sha256").hexdigest() == log.sha256 else f"was changed: {path}"
    if not month_kept:
        return None
    found = [hashlib.sha256(data).hexdigest() for data in store.candidates(repo, record, stage, attempt)]
    if log.sha256 in found:
        return None
    return "has other bytes than its digest says" if found else "is missing from the log ref of its month"
