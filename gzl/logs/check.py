"""The part of `gzl fsck` that is about logs: does what the records say of them hold?"""

import hashlib
import itertools
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gzl.git import blobs
from gzl.git.repo import Repo
from gzl.logs import frames, store
from gzl.logs.frames import BadFrames
from gzl.logs.store import Objects
from gzl.model.ids import job_month
from gzl.model.record import JobRecord, LogRef
from gzl.model.refs import job_path
from gzl.objects import opening
from gzl.objects.base import ObjectDamaged, ObjectNotFound, ObjectStore
from gzl.objects.streams import blob_of
from gzl.records import retired


@dataclass(frozen=True, slots=True)
class _Log:
    record: JobRecord
    stage: str
    attempt: int
    said: LogRef

    @property
    def path(self) -> str:
        return f"{job_path(self.record.id)}/{store.name(self.stage, self.attempt)}"


def problems(repo: Repo, own: str, records: Iterable[JobRecord], objects: Objects) -> Iterator[str]:
    """A sentence for each log of `records` that should be there and is not, or that has other bytes.

    Only the logs of `own` can be expected here as files or objects, and not those that retention took; a month of
    anybody's whose ref is gone was dropped on purpose. Objects of a remote store are only asked for, not read.
    """
    taken = retired.read(repo.layout)
    for batch in blobs.batched(log for record in records for log in _logs(record)):
        in_refs = [log for log in batch if log.said.store == "ref"]
        ours = [log for log in batch if log.record.writer == own and log.record.id not in taken]
        wrong = [*((log, _wrong_file(repo, log)) for log in ours if log.said.store == "file"),
                 *((log, _wrong_object(repo, log, objects())) for log in ours if log.said.store == "object"),
                 *zip(in_refs, _wrong_in_refs(repo, in_refs), strict=True)]  # fmt: skip
        for log, what in wrong:
            if what is not None:
                yield f"{log.record.id}/{log.stage}: the log of attempt {log.attempt} {what}; run the job again for one"


def _logs(record: JobRecord) -> Iterator[_Log]:
    for name, stage in record.stages.items():
        for attempt in stage.attempts:
            if attempt.log is not None and attempt.log.bytes:
                yield _Log(record, name, attempt.number, attempt.log)


def _wrong_file(repo: Repo, log: _Log) -> str | None:
    path = store.file_path(repo, log.said.sha256)
    if not path.exists():
        return f"is missing: {path}"
    with path.open("rb") as file:
        return None if hashlib.file_digest(file, "sha256").hexdigest() == log.said.sha256 else f"was changed: {path}"


def _wrong_object(repo: Repo, log: _Log, objects: ObjectStore) -> str | None:
    try:
        if not opening.embedded(repo):
            there = objects.has(log.said.object) is not None
            return None if there else f"is missing: {objects.url} has no object {log.said.object}"
        with frames.decompressed(objects.get(log.said.object)) as file:
            return (
                None
                if blob_of(file).digest == log.said.sha256
                else f"has other bytes than its digest says, in object {log.said.object}"
            )
    except ObjectNotFound:
        return f"is missing: {objects.url} has no object {log.said.object}"
    except (ObjectDamaged, BadFrames) as error:
        return f"is damaged ({error})"


def _wrong_in_refs(repo: Repo, logs: list[_Log]) -> Iterator[str | None]:
    months = {job_month(log.record.id) for log in logs}
    refs = {month: store.month_refs(repo, month) for month in months}
    places = [[f"{ref}:{log.path}" for ref in refs[job_month(log.record.id)]] for log in logs]
    found = blobs.read(repo, [place for some in places for place in some])
    for log, some in zip(logs, places, strict=True):
        held = [data for data in itertools.islice(found, len(some)) if data is not None]
        yield _wrong(log, held) if some else None


def _wrong(log: _Log, held: list[bytes]) -> str | None:
    if any(_digest(data) == log.said.sha256 for data in held):
        return None
    return "has other bytes than its digest says" if held else "is missing from the log ref of its month"


def _digest(data: bytes) -> str:
    try:
        return hashlib.sha256(store.decompressed(data)).hexdigest()
    except zlib.error:
        return "not compressed"
