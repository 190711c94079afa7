"""Brings an index that an older gzl made up to this one's schema, in one transaction, with all that it holds.

An empty database gets the tables as they are now (`gzl.records.tables`); an older one what each version added. A step
is never changed afterwards.
"""

from collections.abc import Callable

from gzl.errors import UserError
from gzl.model.record import from_json
from gzl.records.backend import Backend, IndexDamaged
from gzl.records.orm import peewee
from gzl.records.tables import SCHEMA, TABLES, CommentRow, Job, Pass, pass_rows


def migrate(backend: Backend) -> None:
    """Make the tables, or bring them up to date. Several processes may call it at once."""
    with backend.exclusive():
        version = backend.version()  # another process may have done it while this one waited
        if version == SCHEMA:
            return
        if version > SCHEMA:
            raise backend.newer(version)
        if version == 0:
            _create(backend.db, TABLES)
        else:
            for number in range(version, SCHEMA):
                _STEPS[number](backend)
        backend.stamp(SCHEMA)


def _create(db: peewee.Database, tables: list[type[peewee.Model]]) -> None:
    with db.bind_ctx(tables):
        db.create_tables(tables)


def _from_1_to_2(backend: Backend) -> None:
    """Comments, and stages that passed. Comments are not in the records: `sources.reader` says who has not seen any."""
    _create(backend.db, [Pass, CommentRow])
    backend.db.execute_sql("ALTER TABLE sources ADD COLUMN reader INTEGER NOT NULL DEFAULT 1")  # type: ignore[no-untyped-call]
    rows = list(Job.select(Job.ledger, Job.record).tuples().execute(backend.db))
    try:
        passes = [row for ledger, text in rows for row in pass_rows(ledger, from_json(text, backend.name))]
    except UserError as error:
        raise IndexDamaged(str(error)) from error
    for start in range(0, len(passes), 1000):
        Pass.insert_many(passes[start : start + 1000], fields=Pass._meta.sorted_fields).execute(backend.db)


_STEPS: dict[int, Callable[[Backend], None]] = {1: _from_1_to_2}
