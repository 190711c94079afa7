"""Where logs of ended attempts are: small ones compressed in git, large ones in the object store; both are masked.

A log goes into the month's log ref of its writer (`gzl.notes.store.record` puts it there, in the job's transaction) if
it compresses to 1 MiB; then every clone can have it. A larger one becomes an object (`frames`). Either way its record
holds the length and the SHA-256 of its bytes as they are once secrets are masked; the workload's own are kept nowhere.
"""

import hashlib
import io
import os
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gzl.errors import UserError
from gzl.git.refs import read
from gzl.git.repo import Repo
from gzl.kit.fs import open_regular
from gzl.kit.mask import Masker
from gzl.kit.proc import CommandFailed
from gzl.logs.masking import Masking, Moved
from gzl.model.ids import job_month
from gzl.model.record import Attempt, JobRecord, LogRef
from gzl.model.refs import decode, encode, job_path
from gzl.objects.base import ObjectNotFound, ObjectStore
from gzl.records import retired

MAX_IN_REF = 1 << 20  # compressed bytes
MAX_TRIED = 16 << 20  # bytes; more seldom compresses to 1 MiB, and finding out takes a second for each 50 MB
_LEVEL = 6
_OF_NOTHING = hashlib.sha256().hexdigest()

Objects = Callable[[], ObjectStore]
"""Opens the object store: only a large log needs it."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of a log: what a record says of it, the compressed bytes to hand to `record` (None: it is empty, or
    an object), and where marked places of the workload's log are in it."""

    log: LogRef
    blob: bytes | None
    moved: Moved


def name(stage: str, attempt: int) -> str:
    """What a log is called in its job's folder."""
    return f"{encode(stage)}.{attempt}.log.zz"


def keep(path: Path, masker: Masker, objects: Objects, marks: Iterable[int] = ()) -> Kept:
    """Keep a log that is complete.

    The file stays, so that all of it can be done again after a crash; it goes with the job's folder once the record is
    written. `marks` are the offsets that `Kept.moved` will be asked for. Raises UserError if the file is no plain one,
    FileNotFoundError, and what the object store raises.
    """
    with open(open_regular(path), "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        marked = list(marks)
        if size <= MAX_TRIED:
            masking = Masking(file, size, masker, marked)
            tally = _Tally(masking.pieces())
            blob = _small(tally)
            if not tally.bytes and blob is not None:
                return Kept(LogRef(0, _OF_NOTHING), None, masking.moved)
            if blob is not None:
                return Kept(LogRef(tally.bytes, tally.sha256.hexdigest()), blob, masking.moved)
            file.seek(0)
        return _large(Masking(file, size, masker, marked), objects())


def file_path(repo: Repo, digest: str) -> Path:
    """Where a log is on this machine that an older version found too large for git."""
    return repo.layout.logs / digest[:2] / digest[2:]


def open_log(repo: Repo, record: JobRecord, stage: str, attempt: int, objects: Objects, *, offset: int = 0) -> BinaryIO:
    """The log of an attempt, to be read from this byte on. UserError where it is not to be had here, and why."""
    what = f"{record.id}/{stage}, attempt {attempt}"
    log = _attempt(record, stage, attempt, what).log
    if log is None:
        raise UserError(f"{what}: has no log: nothing of it was executed")
    if offset >= log.bytes:
        return io.BytesIO()
    if log.store == "object":
        return _open_object(repo, log, what, record, objects(), offset)
    if log.store == "file":
        return _open_file(repo, log, what, record, offset)
    for data in candidates(repo, record, stage, attempt):
        if hashlib.sha256(data).hexdigest() == log.sha256:
            return io.BytesIO(data[offset:])
    raise UserError(f"{what}: {_why_missing(repo, record)}")


def candidates(repo: Repo, record: JobRecord, stage: str, attempt: int) -> Iterator[bytes]:
    """What the log refs of the job's month hold under the log's name, this clone's own first, decompressed."""
    path = f"{job_path(record.id)}/{name(stage, attempt)}"
    for ref in month_refs(repo, job_month(record.id)):
        try:
            yield decompressed(repo.git("cat-file", "blob", f"{ref}:{path}"))
        except (CommandFailed, zlib.error):  # not in this one, or no log of gzl's
            continue


def decompressed(data: bytes) -> bytes:
    """A log's bytes. A log that claims to be far larger than any that gzl puts into a ref is cut off there."""
    return zlib.decompressobj().decompress(data, MAX_TRIED)


def month_refs(repo: Repo, month: str) -> list[str]:
    """The log refs of a month, own and fetched."""
    found = read(repo, "refs/gzl/logs/", "refs/gzl/remotes/")
    return [ref for ref in found if ref.endswith(f"/{month}") and "/logs/" in ref]


def gone(repo: Repo, record: JobRecord) -> str | None:
    """Why something of the job that its record names is not here, if that is as it should be."""
    if record.id in retired.read(repo.layout):
        return "was removed by retention (`gzl gc`); run the job again for a new one"
    if record.writer != repo.config("gzl.writer"):
        return f"is on the machine of {record.writer}; read it there, or with --remote"
    return None


def remark(repo: Repo, record: JobRecord) -> str | None:
    """A sentence on what retention has taken of a job; None if it has all that it left, as far as can be seen here."""
    if record.id in retired.read(repo.layout):
        return "artifacts and large logs were removed by retention (`gzl gc`)"
    month = job_month(record.id)
    logs = (attempt.log for stage in record.stages.values() for attempt in stage.attempts)
    small = any(log is not None and log.store == "ref" and log.bytes for log in logs)
    if small and record.writer == repo.config("gzl.writer") and not month_refs(repo, month):
        return f"logs were removed by retention, with all of {month}"
    return None


class _Tally:
    """Counts and hashes pieces on their way."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self.sha256 = hashlib.sha256()
        self.bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.sha256.update(piece)
            self.bytes += len(piece)
            yield piece


def _small(pieces: Iterable[bytes]) -> bytes | None:
    """The pieces compressed, or None if that is too long for a ref."""
    compressor, out = zlib.compressobj(_LEVEL), bytearray()
    for piece in pieces:
        out += compressor.compress(piece)
        if len(out) > MAX_IN_REF:
            return None
    out += compressor.flush()
    return bytes(out) if len(out) <= MAX_IN_REF else None


def _large(masking: Masking, store: ObjectStore) -> Kept:
    from gzl.logs import frames  # with zstandard 7 ms: few logs are large
    from gzl.objects.streams import stream

    tally = _Tally(masking.pieces())
    stored = store.put(stream(frames.compress(tally)))
    return Kept(LogRef(tally.bytes, tally.sha256.hexdigest(), "object", stored.digest), None, masking.moved)


def _attempt(record: JobRecord, stage: str, number: int, what: str) -> Attempt:
    result = record.stages.get(stage)
    if result is None:
        raise UserError(f"{record.id}: has no stage {stage!r}; it has {', '.join(record.stages) or 'none at all'}")
    for attempt in result.attempts:
        if attempt.number == number:
            return attempt
    raise UserError(f"{what}: there were {len(result.attempts)} attempts; `gzl show {record.id}` lists them")


def _open_object(repo: Repo, log: LogRef, what: str, record: JobRecord, store: ObjectStore, offset: int) -> BinaryIO:
    from gzl.logs import frames

    try:
        if not offset:
            return frames.decompressed(store.get(log.object))
        # From the middle: the table of frames is at the end, so the object has to be a file. Nobody else needs it.
        repo.layout.objects.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="log-", dir=repo.layout.objects) as folder:
            target = Path(folder, "log")
            store.get_file(log.object, target, 0o600)
            return frames.decompressed_from(target.open("rb"), offset)
    except ObjectNotFound as error:
        why = gone(repo, record) or f"is not in {store.url}; `gzl fsck` tells what else is missing"
        raise UserError(f"{what}: its log ({log.bytes} bytes) {why}") from error


def _open_file(repo: Repo, log: LogRef, what: str, record: JobRecord, offset: int) -> BinaryIO:
    path = file_path(repo, log.sha256)
    try:
        file = path.open("rb")
    except FileNotFoundError:
        why = gone(repo, record) or f"is missing: {path}; run the job again for one"
        raise UserError(f"{what}: its log ({log.bytes} bytes) {why}") from None
    file.seek(offset)
    return file


def _why_missing(repo: Repo, record: JobRecord) -> str:
    month = job_month(record.id)
    if any(decode(ref.split("/")[-2]) == record.writer for ref in month_refs(repo, month)):
        return "its log is not, or not whole, in the log ref of its month; `gzl fsck` tells more"
    if record.writer == repo.config("gzl.writer"):
        return f"its log was removed by retention, with all of {month}; a clone that fetched it may still have it"
    return f"the logs that {record.writer} kept in {month} are not here: `gzl sync` fetches them if they still exist"
