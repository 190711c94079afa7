"""The tables of the index, and the rows that records and comments become.

The text of a record or a comment is the row's truth; the other columns are what is asked for.
"""

from collections.abc import Iterator
from typing import Any

from gzl.model import comment as comments
from gzl.model.comment import Comment
from gzl.model.record import JobRecord, to_json
from gzl.model.result import State
from gzl.records.orm import peewee

DoubleField, TextField = peewee.DoubleField, peewee.TextField

SCHEMA = 2

Row = tuple[Any, ...]


class Job(peewee.Model):
    """What a ledger says of a job: a row for each ledger that holds it."""

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
    created = DoubleField()
    started = DoubleField(null=True)
    finished = DoubleField(null=True)
    record = TextField()

    class Meta:
        table_name = "jobs"
        primary_key = peewee.CompositeKey("id", "ledger")


class Source(peewee.Model):
    """Up to which tip the ledger at a ref is in the index, and by which schema's readers it was read."""

    ref = TextField(primary_key=True)
    oid = TextField()
    reader = peewee.IntegerField()

    class Meta:
        table_name = "sources"


class Pass(peewee.Model):
    """A stage that passed in a job; `key` only where it was really run, and has one."""

    stage = TextField()
    job = TextField()
    ledger = TextField()
    commit = TextField()
    key = TextField(null=True)

    class Meta:
        table_name = "passes"
        primary_key = peewee.CompositeKey("stage", "job", "ledger")


Pass.add_index(Pass.key, where=Pass.key.is_null(False), name="passes_key")


class CommentRow(peewee.Model):
    """A comment in a ledger."""

    id = TextField()
    ledger = TextField()
    job = TextField(index=True)
    comment = TextField()

    class Meta:
        table_name = "comments"
        primary_key = peewee.CompositeKey("id", "ledger")


TABLES: list[type[peewee.Model]] = [Job, Source, Pass, CommentRow]


def job_row(ledger: str, record: JobRecord) -> Row:
    """The values of a `Job`, in the order of its fields."""
    return (
        record.id,
        plain(ledger),
        record.writer == ledger,
        record.commit,
        record.tree,
        record.snapshot_of,
        plain(record.ref),
        str(record.state),
        plain(record.event),
        plain(record.writer),
        plain(record.definition),
        float(record.created),
        None if record.started is None else float(record.started),
        None if record.finished is None else float(record.finished),
        to_json(record).decode(),
    )


def pass_rows(ledger: str, record: JobRecord) -> Iterator[Row]:
    """The values of a `Pass` for each stage of the job that passed, in the order of its fields."""
    for stage in record.stages.values():
        if stage.state is State.PASSED:
            key = stage.key if stage.ran and stage.reused_from is None else ""
            yield plain(stage.name), record.id, plain(ledger), record.commit, plain(key) or None


def comment_row(ledger: str, comment: Comment) -> Row:
    """The values of a `CommentRow`, in the order of its fields."""
    return comment.id, plain(ledger), comment.job, comments.to_json(comment).decode()


def plain(name: str) -> str:
    """A name as a database can keep it: bytes that are no UTF-8 arrive as lone surrogates, which none can; nor can
    PostgreSQL keep a NUL."""
    return name.encode(errors="backslashreplace").decode().replace("\0", "\\x00")
