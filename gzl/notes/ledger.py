"""Reading ledgers: the append-only records of jobs, a ref for each writer.

A ledger is a chain of commits; the tree of its tip holds all its jobs, each in `<4>/<1>/<21>/job.json`. Only its
writer moves it, so there is nothing to merge: reading is a union over this clone's own ledgers (`refs/gzl/ledger/*`)
and those fetched from others (`refs/gzl/remotes/*/ledger/*`). A job that several ledgers hold is one job. Whose word it
is follows from the ledger that holds it, never from what the record says of itself.

All of it goes through git's plumbing, without importing pygit2: reading a hundred new records takes two short git
processes, finding that there are none takes one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from gzl.errors import UserError
from gzl.git import blobs
from gzl.git.refs import read
from gzl.git.repo import Repo
from gzl.model.ids import is_job_id
from gzl.model.record import Attempt, JobRecord, StageResult, from_json
from gzl.model.refs import decode, job_path

OWN = "refs/gzl/ledger/"
FETCHED = "refs/gzl/remotes/"
_LEDGER = re.compile(r"(?:refs/gzl/ledger|refs/gzl/remotes/(?P<remote>[^/]+)/ledger)/(?P<writer>[^/]+)\Z")
_OBJECT_ID = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_LATEST = 253402300800  # the year 10000, in seconds since the epoch: what time.gmtime and people can read


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a ledger: its path, and its bytes (None where it was removed)."""

    path: str
    data: bytes | None
    replaced: bool = False
    """Whether there were other bytes before, which a ledger's own writer never does."""


def heads(repo: Repo) -> dict[str, str]:
    """Ledger ref → its tip, of all ledgers that this clone knows."""
    return {ref: oid for ref, oid in read(repo, OWN, FETCHED).items() if _LEDGER.match(ref)}


def ledgers(repo: Repo) -> dict[str, list[str]]:
    """Writer → the refs that hold its ledger, this clone's own first."""
    found: dict[str, list[str]] = {}
    for ref in heads(repo):
        found.setdefault(writer_of(ref), []).append(ref)
    return found


def writer_of(ref: str) -> str:
    """The writer whose ledger a ref is."""
    match = _LEDGER.match(ref)
    if match is None:
        raise UserError(f"{ref}: is no ledger")
    return decode(match["writer"])


def remote_of(ref: str) -> str | None:
    """The remote that a ledger was fetched from; None for this clone's own."""
    match = _LEDGER.match(ref)
    return decode(match["remote"]) if match and match["remote"] else None


def read_job(repo: Repo, job: str) -> JobRecord | None:
    """The record of a job by its whole id, from whichever ledger has it; its own writer's where several do."""
    found = [(writer_of(ref), oid) for ref, oid in heads(repo).items()]
    path = f"{job_path(job)}/job.json"
    records = []
    for (writer, _), data in zip(found, blobs.read(repo, [f"{oid}:{path}" for _, oid in found]), strict=True):
        if data is not None and (record := valid_or_none(Entry(path, data))) is not None:
            records.append((record.writer != writer, writer, record))
    return min(records, key=lambda found: found[:2])[2] if records else None


def changes(repo: Repo, tip: str, since: str | None) -> Iterator[Entry]:
    """The files of the ledger at `tip` that are new, changed or gone since the tip `since` (None: all of them).

    Raises CommandFailed where `since` is no longer in the repository.
    """
    if since is None:
        yield from _with_data(repo, _listed(repo.git("ls-tree", "-r", "-z", tip)))
    else:
        printed = repo.git("diff-tree", "-r", "-z", "--raw", "--no-renames", since, tip)
        yield from _with_data(repo, _differing(printed))


def records(repo: Repo, tip: str) -> Iterator[JobRecord]:
    """Every valid record of the ledger at `tip`."""
    for entry in changes(repo, tip, None):
        record = valid_or_none(entry)
        if record is not None:
            yield record


def valid_or_none(entry: Entry) -> JobRecord | None:
    """The record in a ledger's file, or None for one that is not to be believed; `gzl fsck` says why."""
    try:
        return valid(entry)
    except UserError:
        return None


def valid(entry: Entry) -> JobRecord | None:
    """The record in a ledger's file; None for a file that is something else. UserError if it is damaged or forged.

    Others wrote it: after this every field has the type that it says, and the record is at its own job's path.
    """
    if entry.data is None or not entry.path.endswith("/job.json"):
        return None
    record = from_json(entry.data, entry.path)
    problem = _problem(record, entry.path)
    if problem:
        raise UserError(f"{entry.path}: {problem}")
    return record


def _problem(record: JobRecord, path: str) -> str | None:
    if not isinstance(record.id, str) or not is_job_id(record.id):
        return "its id is no job id"
    if path != f"{job_path(record.id)}/job.json":
        return f"it is the record of another job, {record.id}"
    if not all(isinstance(oid, str) and _OBJECT_ID.match(oid) for oid in (record.commit, record.tree)):
        return "its commit or tree is no object id"
    if not _well_typed(record):
        return "a field has a value of the wrong kind"
    if not record.state.final:
        return f"its state is {record.state}, and a ledger holds only jobs that have ended"
    return None


def _well_typed(record: JobRecord) -> bool:
    stages = record.stages.values()
    attempts = [attempt for stage in stages for attempt in stage.attempts]
    steps = [step for attempt in attempts for step in attempt.steps]
    logs = [attempt.log for attempt in attempts if attempt.log]
    ended: list[StageResult | Attempt] = [*stages, *attempts]
    spans = [record.started, record.finished, *(time for e in ended for time in (e.started, e.finished))]
    times = [record.created, *(step.started for step in steps), *(time for time in spans if time is not None)]
    codes = [e.exit for e in ended if e.exit is not None]
    counts = [*(attempt.number for attempt in attempts), *(log.bytes for log in logs), *codes,
              *(number for step in steps for number in (step.number, step.offset, step.line))]  # fmt: skip
    texts = [record.ref, record.event, record.writer, record.runner, record.definition, record.reason, record.actor,
             record.snapshot_of or "", *record.targets, *(stage.runner for stage in stages),
             *(stage.skipped_because or "" for stage in stages), *(attempt.reason for attempt in attempts),
             *(step.text for step in steps)]  # fmt: skip
    return (
        all(isinstance(time, int | float) and 0 <= time < _LATEST for time in times)
        and all(isinstance(count, int) for count in counts)
        and all(isinstance(text, str) for text in texts)
        and all(isinstance(log.sha256, str) and _SHA256.match(log.sha256) for log in logs)
    )


@dataclass(frozen=True, slots=True)
class _File:
    path: str
    blob: str | None
    replaced: bool = False


def _listed(printed: bytes) -> Iterator[_File]:
    # "<mode> SP <type> SP <oid> TAB <path>"
    for line in printed.split(b"\0"):
        if line:
            about, _, path = line.partition(b"\t")
            yield _File(path.decode(errors="replace"), about.split(b" ")[2].decode())


def _differing(printed: bytes) -> Iterator[_File]:
    # ":<mode> <mode> <old> <new> <status>" NUL "<path>" NUL
    words = printed.split(b"\0")
    for about, path in zip(words[::2], words[1::2], strict=False):
        _, _, _, new, status = about.split(b" ")
        yield _File(path.decode(errors="replace"), None if status == b"D" else new.decode(), status != b"A")


def _with_data(repo: Repo, files: Iterator[_File]) -> Iterator[Entry]:
    for batch in blobs.batched(files):
        data = iter(blobs.read(repo, [file.blob for file in batch if file.blob is not None]))
        for file in batch:
            yield Entry(file.path, None if file.blob is None else next(data), file.replaced)
