"""Where logs of ended attempts are: small ones compressed in git, large ones as files named by their digest.

A log goes into the month's log ref of its writer (`gzl.notes.store.record` puts it there, in the job's transaction) if
it compresses to 1 MiB; then every clone can have it. A larger one stays on this machine. Either way its record holds
the length and the SHA-256 of its bytes.
"""

import hashlib
import io
import os
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from gzl.errors import UserError
from gzl.git.refs import read
from gzl.git.repo import Repo
from gzl.kit.proc import CommandFailed
from gzl.model.ids import job_month
from gzl.model.record import Attempt, JobRecord, LogRef
from gzl.model.refs import decode, encode, job_path

MAX_IN_REF = 1 << 20  # compressed bytes
MAX_TRIED = 16 << 20  # bytes; more seldom compresses to 1 MiB, and finding out takes a second for each 50 MB
_CHUNK = 1 << 20
_LEVEL = 6
_OF_NOTHING = hashlib.sha256().hexdigest()


def name(stage: str, attempt: int) -> str:
    """What a log is called in its job's folder."""
    return f"{encode(stage)}.{attempt}.log.zz"


def store(repo: Repo, data_path: Path) -> tuple[LogRef, bytes | None]:
    """Keep a log that is complete: gives what a record says of it, and the compressed bytes to hand to `record`.

    Bytes None: the log is empty, or it was large and is now a file in the repository's gzl folder too. `data_path`
    stays, so that all of it can be done again after a crash; it goes with the job's folder once the record is written.
    """
    size = data_path.stat().st_size
    if not size:
        return LogRef(0, _OF_NOTHING, "ref"), None
    digest, compressed = _read(data_path, compress=size <= MAX_TRIED)
    if compressed is not None:
        return LogRef(size, digest, "ref"), compressed
    _keep(data_path, file_path(repo, digest))
    return LogRef(size, digest, "file"), None


def file_path(repo: Repo, digest: str) -> Path:
    """Where a large log with this SHA-256 is on this machine."""
    return repo.layout.logs / digest[:2] / digest[2:]


def open_log(repo: Repo, record: JobRecord, stage: str, attempt: int) -> BinaryIO:
    """The log of an attempt, open for reading at its start. UserError where it is not to be had here, and why."""
    what = f"{record.id}/{stage}, attempt {attempt}"
    log = _attempt(record, stage, attempt, what).log
    if log is None:
        raise UserError(f"{what}: has no log: nothing of it was executed")
    if not log.bytes:
        return io.BytesIO()
    if log.store == "file":
        return _open_file(repo, log, what, record.writer)
    for data in candidates(repo, record, stage, attempt):
        if hashlib.sha256(data).hexdigest() == log.sha256:
            return io.BytesIO(data)
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


def _read(path: Path, *, compress: bool) -> tuple[str, bytes | None]:
    digest, compressor, out = hashlib.sha256(), zlib.compressobj(_LEVEL), bytearray()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            if compress and len(out) <= MAX_IN_REF:
                out += compressor.compress(chunk)
    out += compressor.flush()
    return digest.hexdigest(), bytes(out) if compress and len(out) <= MAX_IN_REF else None


def _keep(source: Path, target: Path) -> None:
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.{os.getpid()}")
    aside.unlink(missing_ok=True)
    try:
        os.link(source, aside)
    except OSError:  # on another device, or a file system without links
        shutil.copyfile(source, aside)
    os.replace(aside, target)
    aside.unlink(missing_ok=True)  # rename(2) leaves it where another process has just linked the same file


def _attempt(record: JobRecord, stage: str, number: int, what: str) -> Attempt:
    result = record.stages.get(stage)
    if result is None:
        raise UserError(f"{record.id}: has no stage {stage!r}; it has {', '.join(record.stages) or 'none at all'}")
    for attempt in result.attempts:
        if attempt.number == number:
            return attempt
    raise UserError(f"{what}: there were {len(result.attempts)} attempts; `gzl show {record.id}` lists them")


def _open_file(repo: Repo, log: LogRef, what: str, writer: str) -> BinaryIO:
    try:
        return file_path(repo, log.sha256).open("rb")
    except FileNotFoundError:
        raise UserError(
            f"{what}: its log ({log.bytes} bytes) is too large for git and lies on the machine of {writer}; "
            "read it there, or with --remote"
        ) from None


def _why_missing(repo: Repo, record: JobRecord) -> str:
    month = job_month(record.id)
    if any(decode(ref.split("/")[-2]) == record.writer for ref in month_refs(repo, month)):
        return "its log is not, or not whole, in the log ref of its month; `gzl fsck` tells more"
    return f"the logs that {record.writer} kept in {month} are not here: `gzl sync` fetches them if they still exist"
