"""What `gzl gc` would remove, and removing it: objects, logs of months, log files of older versions.

Nothing is removed that a job which retention keeps refers to, nor what an unfinished job has stored, nor an object that
is younger than a day: a job may have put it and not said so yet. If a ledger or a journal cannot be read, nothing is
removed at all, because what it refers to cannot be told. Ledgers are never changed.

Being killed in between is harmless: a job is noted as retired before the first of its objects goes, and the next run
removes the rest. An object that is put once more while it is being removed stays (`unless_after` of a store's
`delete`).

Others may use the same remote store, and this clone need not know their ledgers: there it removes only what its own
jobs left.
"""

import calendar
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gzl.errors import UserError
from gzl.git.refs import RefChanged, RefUpdate, read, transaction
from gzl.git.repo import Repo
from gzl.gzlfile import values
from gzl.kit.crash import point
from gzl.kit.proc import CommandFailed
from gzl.model import refs as names
from gzl.model.ids import job_month
from gzl.model.journal import Entry
from gzl.model.record import SCHEMA, JobRecord
from gzl.notes import ledger
from gzl.objects.base import ObjectStore, Stored
from gzl.planning.retention import DAY, Holding, Policy, Verdict, judge
from gzl.records import caches, retired, unfinished

_MONTH = re.compile(r"(\d{4})-(\d\d)\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True)
class Going:
    """A job that loses what it has: its objects that nothing else keeps."""

    job: str
    ref: str
    because: str
    objects: tuple[Stored, ...]


@dataclass(frozen=True, slots=True)
class Month:
    """A month's log ref that goes, and how many jobs have their small logs in it."""

    ref: str
    oid: str
    jobs: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be removed, and what of the store stays."""

    jobs: tuple[Going, ...]
    orphans: tuple[Stored, ...]
    """Objects that nothing refers to."""
    files: tuple[tuple[Path, int], ...]
    """Log files of older versions, with their bytes."""
    months: tuple[Month, ...]
    caches: tuple[caches.Entry, ...]
    """Caches that are forgotten; their objects are among the orphans."""
    staying: int
    """Bytes in the store."""
    heads: dict[str, str]
    """The tips of the ledgers that this was decided by."""

    @property
    def objects(self) -> Iterator[Stored]:
        for going in self.jobs:
            yield from going.objects
        yield from self.orphans

    @property
    def bytes(self) -> int:
        return sum(stored.size for stored in self.objects) + sum(size for _, size in self.files)


def policy(config: Callable[[str], str | None]) -> Policy:
    """The repository's policy: of each branch `gzl.keepDays` (90), `gzl.keepJobs` and `gzl.keepSize` (all); of caches
    `gzl.cacheDays` (30) and `gzl.cacheSize` (10G)."""
    return Policy(
        days=_setting(config, "gzl.keepDays", "90", _number),
        jobs=_setting(config, "gzl.keepJobs", "all", _number),
        size=_setting(config, "gzl.keepSize", "all", values.size),
        cache_days=_setting(config, "gzl.cacheDays", "30", _number),
        cache_size=_setting(config, "gzl.cacheSize", "10G", values.size),
    )


def plan(repo: Repo, own: str, store: ObjectStore, rules: Policy, now: float, *, alone: bool) -> Plan:
    """What would be removed now. UserError if that cannot be told.

    `alone`: nobody else uses the store, so what nothing refers to goes too.
    """
    kept_by_jobs = _roots(repo)  # first: a job that is recorded meanwhile is then found in its ledger
    heads = ledger.heads(repo)
    held = _held(repo, own, heads)
    listing = {stored.digest: stored for stored in store.list()}
    verdicts = _verdicts(repo, held, rules, {digest: stored.size for digest, stored in listing.items()}, now)
    forgotten = _caches(repo, rules, now, dry_run=True)
    paths = {entry.path for entry in forgotten}
    live = kept_by_jobs | {e.digest for e in caches.all_entries(repo.layout) if e.path not in paths}
    for job, one in held.items():
        if verdicts[job].kept:
            live |= one.holding.objects
    free = {d: s for d, s in listing.items() if d not in live and s.modified < now - DAY}
    going = tuple(_going({job: one for job, one in held.items() if alone or one.own}, verdicts, free))
    referred = {digest for one in held.values() for digest in one.holding.objects}
    unnamed = free.keys() - referred if alone else (free.keys() & {entry.digest for entry in forgotten}) - referred
    orphans = tuple(free[digest] for digest in sorted(unnamed))
    staying = sum(s.size for s in listing.values()) - sum(s.size for g in going for s in g.objects)
    return Plan(
        going, orphans, tuple(_files(repo, live, now)), tuple(_months(repo, own, held, verdicts, now)), forgotten,
        staying - sum(stored.size for stored in orphans), heads,
    )  # fmt: skip


def carry_out(repo: Repo, store: ObjectStore, rules: Policy, decided: Plan, now: float) -> int:
    """Remove what was decided, but for what a job has referred to since; the bytes that are gone. Only the holder of
    `gc_lock` may call it."""
    _caches(repo, rules, now, dry_run=False)
    since = _roots(repo) | _referred_since(repo, decided.heads) | caches.referenced(repo.layout)
    retired.add(repo.layout, [going.job for going in decided.jobs])
    point("gc.retired")
    gone = 0
    for stored in decided.objects:
        if stored.digest not in since and store.delete(stored.digest, unless_after=now - DAY):
            gone += stored.size
            point("gc.deleted")
    for path, size in decided.files:
        if _digest(path) not in since:
            path.unlink(missing_ok=True)
            gone += size
    for month in decided.months:
        with suppress(RefChanged):  # a job of that month was recorded just now
            transaction(repo, [RefUpdate(month.ref, None, month.oid)])
    store.sweep(now - DAY)
    return gone


@dataclass(frozen=True, slots=True)
class _Held:
    holding: Holding
    commit: str
    own: bool  # whether this clone ran it


def _held(repo: Repo, own: str, heads: dict[str, str]) -> dict[str, _Held]:
    """Every job of every ledger."""
    held: dict[str, _Held] = {}
    for ref, tip in heads.items():
        for record in _records(repo, ref, tip, None):
            holding = Holding(
                record.id, record.ref, record.state, record.finished or record.created, frozenset(referred(record))
            )
            before = held.get(record.id)
            if before is not None:  # several ledgers hold it: what any of them refers to counts
                holding = replace(before.holding, objects=before.holding.objects | holding.objects)
            mine = ref == names.ledger(own) or (before is not None and before.own)
            held[record.id] = _Held(holding, record.commit, mine)
    return held


def referred(record: JobRecord) -> Iterator[str]:
    """The digests of all that a record refers to; of log files of older versions too."""
    for stage in record.stages.values():
        yield from (artifact.digest for artifact in stage.artifacts)
        if stage.tests is not None and stage.tests.report:
            yield stage.tests.report
        for attempt in stage.attempts:
            if attempt.log is not None and attempt.log.store != "ref":
                yield attempt.log.object or attempt.log.sha256


def _records(repo: Repo, ref: str, tip: str, since: str | None) -> Iterator[JobRecord]:
    try:
        for entry in ledger.changes(repo, tip, since):
            record = ledger.valid(entry)
            if record is not None and record.schema > SCHEMA:
                raise UserError(f"{entry.path}: was written by a newer version of gzl; install that one")
            if record is not None:
                yield record
    except (UserError, CommandFailed) as error:
        raise UserError(
            f"{ref}: {error}; nothing was removed, because what this ledger refers to cannot be told; see `gzl fsck`"
        ) from error


def _roots(repo: Repo) -> set[str]:
    """What unfinished jobs have stored, or taken over from earlier ones."""
    found: set[str] = set()
    for job in unfinished.jobs(repo.layout):
        try:
            for entry in unfinished.journal(repo.layout, job):
                found.update(_told(entry))
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(
                f"{repo.layout.job(job).journal}: cannot be read ({error!r}); nothing was removed; put it elsewhere"
            ) from error
    return found


def _told(entry: Entry) -> Iterator[str]:
    data: dict[str, Any] = dict(entry.data or {})
    if entry.what == "stored":
        yield data["digest"]
    elif entry.what == "tested":
        yield data["report"]
    elif entry.what == "reused":
        yield from (artifact["digest"] for artifact in data["artifacts"])
        if data["tests"]:
            yield data["tests"]["report"]


def _referred_since(repo: Repo, heads: dict[str, str]) -> set[str]:
    return {
        digest
        for ref, tip in ledger.heads(repo).items()
        if heads.get(ref) != tip
        for record in _records(repo, ref, tip, heads.get(ref))
        for digest in referred(record)
    }


def _verdicts(
    repo: Repo, held: dict[str, _Held], rules: Policy, sizes: dict[str, int], now: float
) -> dict[str, Verdict]:
    tags: dict[str, list[str]] = {}
    # Of an annotated tag the third word is what it names (git-for-each-ref(1), `*`).
    listed = repo.git("for-each-ref", "--format=%(refname:strip=2) %(objectname) %(*objectname)", "refs/tags")
    for line in listed.decode(errors="surrogateescape").splitlines():
        name, *oids = line.split(" ")
        tags.setdefault(oids[-1] or oids[0], []).append(name)
    holdings = (replace(one.holding, tags=tuple(tags.get(one.commit, ()))) for one in held.values())
    return judge(holdings, sizes, rules, read(repo, "refs/heads").keys(), now)


def _going(held: dict[str, _Held], verdicts: dict[str, Verdict], free: dict[str, Stored]) -> Iterator[Going]:
    """The jobs that lose something, newest first; an object that several of them name counts for the newest."""
    told: set[str] = set()
    for job in sorted(held, reverse=True):
        holding = held[job].holding
        if not verdicts[job].kept and not holding.objects.isdisjoint(free):
            objects = sorted(holding.objects & free.keys() - told)
            told.update(objects)
            yield Going(job, holding.ref, verdicts[job].because, tuple(free[digest] for digest in objects))


def _files(repo: Repo, live: set[str], now: float) -> Iterator[tuple[Path, int]]:
    for path in sorted(repo.layout.logs.glob("??/*")):
        digest, found = _digest(path), path.stat()
        if _SHA256.match(digest) and digest not in live and found.st_mtime < now - DAY:
            yield path, found.st_size


def _digest(path: Path) -> str:
    return path.parent.name + path.name


def _months(repo: Repo, own: str, held: dict[str, _Held], verdicts: dict[str, Verdict], now: float) -> Iterator[Month]:
    """Months that are over, of which no job keeps anything. One whose jobs are not known stays."""
    kept = {job_month(job) for job in unfinished.jobs(repo.layout)}
    jobs: dict[str, int] = {}
    for job, one in held.items():
        if one.own:
            jobs[job_month(job)] = jobs.get(job_month(job), 0) + 1
            if verdicts[job].kept:
                kept.add(job_month(job))
    for ref, oid in read(repo, names.logs(own, "").rstrip("/")).items():
        month = ref.rpartition("/")[2]
        if month in jobs and month not in kept and _over(month, now - DAY):
            yield Month(ref, oid, jobs[month])


def _over(month: str, now: float) -> bool:
    match = _MONTH.match(month)
    if match is None:
        return False
    year, number = int(match[1]), int(match[2])
    return calendar.timegm((year + number // 12, number % 12 + 1, 1, 0, 0, 0)) <= now


def _caches(repo: Repo, rules: Policy, now: float, *, dry_run: bool) -> tuple[caches.Entry, ...]:
    age = None if rules.cache_days is None else rules.cache_days * DAY
    return tuple(caches.prune(repo.layout, max_bytes=rules.cache_size, max_age=age, now=now, dry_run=dry_run))


def _number(text: str) -> int:
    if values.count(text) == 0:
        raise ValueError("it is a whole number from 1")
    return int(text)


def _setting(config: Callable[[str], str | None], key: str, default: str, parse: Callable[[str], int]) -> int | None:
    said = config(key) or default
    try:
        return None if said == "all" else parse(said)
    except ValueError as error:
        raise UserError(
            f"git config {key}: {said!r}: {error}, or all; `git config {key} {default}` sets the default"
        ) from error
