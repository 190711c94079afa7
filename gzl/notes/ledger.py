"""Reading ledgers: the append-only records of jobs, a ref for each writer.

A ledger is a chain of commits; the tree of its tip holds all its jobs, each in `<4>/<1>/<21>/job.json`, and comments
of the same clone in `<4>/<1>/<21>/comments/<id>` of whatever job, also one that another ledger holds. Only its
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
from gzl.model import comment as comment_model
from gzl.model.comment import Comment
from gzl.model.record import JobRecord, from_json
from gzl.model.refs import decode, job_path
from gzl.notes import wellformed

OWN = "refs/gzl/ledger/"
FETCHED = "refs/gzl/remotes/"
_LEDGER = re.compile(r"(?:refs/gzl/ledger|refs/gzl/remotes/(?P<remote>[^/]+)/ledger)/(?P<writer>[^/]+)\Z")
_COMMENT = re.compile(r"[^/]+/[^/]+/[^/]+/comments/[^/]+\Z")


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


def comments(repo: Repo, tip: str) -> Iterator[Comment]:
    """Every valid comment in the ledger at `tip`; nothing else of it is read."""
    listed = _listed(repo.git("ls-tree", "-r", "-z", tip))
    for entry in _with_data(repo, (file for file in listed if _COMMENT.match(file.path))):
        comment = comment_or_none(entry)
        if comment is not None:
            yield comment


def comment_or_none(entry: Entry) -> Comment | None:
    """The comment in a ledger's file, or None for one that is not to be believed; `gzl fsck` says why."""
    try:
        return comment(entry)
    except UserError:
        return None


def comment(entry: Entry) -> Comment | None:
    """The comment in a ledger's file; None for a file that is something else. UserError if it is damaged or forged."""
    if entry.data is None or not _COMMENT.match(entry.path):
        return None
    found = comment_model.from_json(entry.data, entry.path)
    problem = wellformed.comment_problem(found, entry.path)
    if problem:
        raise UserError(f"{entry.path}: {problem}")
    return found


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
    problem = wellformed.record_problem(record, entry.path)
    if problem:
        raise UserError(f"{entry.path}: {problem}")
    return record


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
