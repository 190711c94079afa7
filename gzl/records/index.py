"""The SQLite index over job records: a cache that makes questions cheap, never the place where something is true.

It is filled from ledgers (`gzl.notes.index`), remembers up to which tip of each, and can be deleted at any time. A job
has a row for each writer whose ledger holds it, because whose word it is matters to some questions; to all others the
row of the record's own writer stands for the job.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any

import peewee
from peewee import EXCLUDED, FloatField, ModelInsert, ModelSelect, SqliteDatabase, TextField, fn

from gzl.errors import GzlError, TransientError
from gzl.model.record import JobRecord, from_json, to_json

SCHEMA = 1
_BUSY = 30  # seconds to wait for another process that fills the index


class IndexDamaged(GzlError):
    """The file is no index of this version of gzl, or SQLite cannot read it: delete it and fill a new one."""


class _Job(peewee.Model):
    id = TextField()
    ledger = TextField()
    own = peewee.BooleanField()
    commit = TextField(index=True)
    tree = TextField(index=True)
    snapshot_of = TextField(null=True, index=True)
    ref = TextField(index=True)
    state = TextField()
    event = TextField()
    writer = TextField()
    definition = TextField()
    created = FloatField()
    started = FloatField(null=True)
    finished = FloatField(null=True)
    record = TextField()

    class Meta:
        table_name = "jobs"
        primary_key = peewee.CompositeKey("id", "ledger")


class _Source(peewee.Model):
    ref = TextField(primary_key=True)
    oid = TextField()

    class Meta:
        table_name = "sources"


_TABLES = [_Job, _Source]
_FIELDS: list[peewee.Field] = [
    _Job.id, _Job.ledger, _Job.own, _Job.commit, _Job.tree, _Job.snapshot_of, _Job.ref, _Job.state, _Job.event,
    _Job.writer, _Job.definition, _Job.created, _Job.started, _Job.finished, _Job.record,
]  # fmt: skip
_NEWEST = (_Job.id.desc(), _Job.own.desc(), _Job.ledger)


class Index:
    """An open index. Several processes may use one file; one that fills it makes the others wait."""

    def __init__(self, path: Path) -> None:
        """Open the index, making an empty one where there is none. Raises IndexDamaged."""
        self.path = path
        self._db = SqliteDatabase(str(path), pragmas={"journal_mode": "wal", "synchronous": "normal"}, timeout=_BUSY)
        with self._translated():
            self._db.connect()
            if self._db.user_version != SCHEMA:
                self._create()

    def __enter__(self) -> "Index":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the index cannot be used any more."""
        self._db.close()

    def sources(self) -> dict[str, str]:
        """Ledger ref → the tip up to which it is in the index."""
        with self._translated():
            return dict(_Source.select(_Source.ref, _Source.oid).tuples().execute(self._db))

    @contextmanager
    def filling(self) -> Iterator[None]:
        """The block changes the index, all or nothing, while no other process does."""
        with self._translated(), self._db.atomic("IMMEDIATE"):
            yield

    def add(self, ledger: str, records: Iterable[JobRecord]) -> None:
        """Add what the ledger of a writer holds. Where two versions of it differ, the order does not matter."""
        # peewee writes the statement once, SQLite runs it for each row: a tenth of what insert_many costs.
        rows = (_row(ledger, record) for record in records)
        first = next(rows, None)
        if first is not None:
            statement, _ = _insertion(first).bind(self._db).sql()
            cursor: Any = self._db.cursor()  # type: ignore[no-untyped-call]
            cursor.executemany(statement, chain([first], rows))

    def reached(self, ref: str, oid: str) -> None:
        """Note that the ledger at `ref` is in the index up to the tip `oid`."""
        _Source.insert(ref=_text(ref), oid=oid).on_conflict_replace().execute(self._db)

    def clear(self) -> None:
        """Forget everything."""
        for table in _TABLES:
            table.delete().execute(self._db)

    def recent(self, limit: int) -> list[JobRecord]:
        """The newest jobs, newest first."""
        return self._records(_Job.select(), limit)

    def by_prefix(self, prefix: str, limit: int) -> list[JobRecord]:
        """Jobs whose id begins so, newest first."""
        return self._records(_Job.select().where((_Job.id >= prefix) & (_Job.id < prefix + "~")), limit)

    def by_commits(self, commits: Iterable[str]) -> list[JobRecord]:
        """All jobs of some commits, and of snapshots of a working tree on one of them, newest first."""
        wanted = list(commits)
        return self._records(_Job.select().where(_Job.commit.in_(wanted) | _Job.snapshot_of.in_(wanted)), None)

    def by_tree(self, tree: str, limit: int) -> list[JobRecord]:
        """Jobs of any commit with this tree, newest first."""
        return self._records(_Job.select().where(_Job.tree == tree), limit)

    def by_ref(self, ref: str, limit: int) -> list[JobRecord]:
        """Jobs of a ref, by its full name, newest first."""
        return self._records(_Job.select().where(_Job.ref == _text(ref)), limit)

    def count(self) -> int:
        """How many jobs there are."""
        with self._translated():
            return int(_Job.select(fn.COUNT(fn.DISTINCT(_Job.id))).scalar(self._db))

    def everything(self) -> Iterator[tuple[str, JobRecord]]:
        """All that the index holds: (writer of the ledger, record)."""
        yield from self._rows(_Job.select())

    def claims(
        self, definition: str, *, commit: str | None = None, tree: str | None = None
    ) -> Iterator[tuple[str, JobRecord]]:
        """What ledgers say of jobs with this definition, of a commit or of a tree: (writer of the ledger, record),
        newest first."""
        where = _Job.commit == commit if commit is not None else _Job.tree == tree
        query = _Job.select().where(where & (_Job.definition == _text(definition)))
        yield from self._rows(query)

    def latest(self, commit: str, tree: str, definition: str) -> JobRecord | None:
        """The newest job of a commit, else of a tree, with this definition, however it ended and whoever says so."""
        of_commit = self.claims(definition, commit=commit)
        return next((record for _, record in chain(of_commit, self.claims(definition, tree=tree))), None)

    def neighbours(self, job: str) -> tuple[str | None, str | None]:
        """The ids before and after `job`: what its shortest unique prefix must tell it from."""
        with self._translated():
            below = _Job.select(fn.MAX(_Job.id)).where(_Job.id < job)
            above = _Job.select(fn.MIN(_Job.id)).where(_Job.id > job)
            return below.scalar(self._db), above.scalar(self._db)

    def _records(self, query: "ModelSelect[_Job]", limit: int | None) -> list[JobRecord]:
        return list(islice(_one_each(record for _, record in self._rows(query)), limit))

    def _rows(self, query: "ModelSelect[_Job]") -> Iterator[tuple[str, JobRecord]]:
        with self._translated():
            rows = query.select(_Job.ledger, _Job.record).order_by(*_NEWEST).tuples().bind(self._db).iterator()
            for ledger, text in rows:
                yield ledger, from_json(text, str(self.path))

    def _create(self) -> None:
        with self._db.atomic("IMMEDIATE"):
            version = self._db.user_version
            if version not in (0, SCHEMA):
                raise IndexDamaged(f"{self.path}: made by another version of gzl")
            with self._db.bind_ctx(_TABLES):
                self._db.create_tables(_TABLES)
            self._db.user_version = SCHEMA

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (peewee.DatabaseError, sqlite3.DatabaseError) as error:
            if any(sign in str(error) for sign in _OTHER_TROUBLE):
                raise TransientError(f"{self.path}: {error}") from error
            raise IndexDamaged(f"{self.path}: {error}; `gzl reindex` makes a new one") from error


# What SQLite says (sqlite3ErrStr) where a new index would fare no better: all else is a damaged file.
_OTHER_TROUBLE = ("locked", "readonly", "unable to open", "is full", "disk I/O")


def _insertion(row: tuple[Any, ...]) -> ModelInsert:
    # Several refs may hold a writer's ledger (fetched from two remotes); that the smaller text wins is arbitrary, but
    # makes the index the same in whatever order they came.
    update = {field: getattr(EXCLUDED, field.name) for field in _FIELDS}
    return _Job.insert_many([row], fields=_FIELDS).on_conflict(
        conflict_target=[_Job.id, _Job.ledger], update=update, where=(EXCLUDED.record < _Job.record)
    )


def _row(ledger: str, record: JobRecord) -> tuple[Any, ...]:
    """The values of `_FIELDS`."""
    return (
        record.id,
        _text(ledger),
        record.writer == ledger,
        record.commit,
        record.tree,
        record.snapshot_of,
        _text(record.ref),
        str(record.state),
        _text(record.event),
        _text(record.writer),
        _text(record.definition),
        record.created,
        record.started,
        record.finished,
        to_json(record).decode(),
    )


def _text(name: str) -> str:
    """A name as SQLite can keep it: bytes that are no UTF-8 arrive as lone surrogates, which it cannot."""
    return name.encode(errors="backslashreplace").decode()


def _one_each(records: Iterable[JobRecord]) -> Iterator[JobRecord]:
    last = None
    for record in records:
        if record.id != last:
            yield record
        last = record.id
