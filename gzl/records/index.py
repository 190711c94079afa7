"""The index over job records: a cache that makes questions cheap, never the place where something is true.

It is filled from ledgers (`gzl.notes.index`), remembers up to which tip of each, and can be deleted at any time. A job
has a row for each writer whose ledger holds it, because whose word it is matters to some questions; to all others the
row of the record's own writer stands for the job.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from gzl.model import comment as comments
from gzl.model.comment import Comment
from gzl.model.record import JobRecord, from_json
from gzl.records import migrations
from gzl.records.backend import Backend, IndexDamaged
from gzl.records.orm import peewee
from gzl.records.tables import (
    SCHEMA,
    TABLES,
    CommentRow,
    Job,
    Pass,
    Row,
    Source,
    comment_row,
    job_row,
    pass_rows,
    plain,
)

if TYPE_CHECKING:
    from peewee import ModelSelect

__all__ = ["Index", "IndexDamaged"]

_NEWEST = (Job.id.desc(), Job.own.desc(), Job.ledger)


class Index:
    """An open index. Several processes may use one; one that fills it makes the others that would fill it wait."""

    def __init__(self, backend: Backend) -> None:
        """Open the index, making an empty one where there is none, and bringing an older one up to date.

        Raises IndexDamaged; UserError and TransientError where the database cannot be used.
        """
        self.name = backend.name
        self._backend = backend
        self._db = backend.db
        try:
            with self._translated():
                backend.open()
                if backend.version() != SCHEMA:
                    migrations.migrate(backend)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Index":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the database; the index cannot be used any more."""
        self._db.close()

    def sources(self) -> dict[str, str]:
        """Ledger ref → the tip up to which all of it is in the index."""
        return self._sources(Source.reader == SCHEMA)

    def behind(self) -> dict[str, str]:
        """Ledger ref → the tip up to which an older gzl read it: its records are in the index, comments are not."""
        return self._sources(Source.reader < SCHEMA)

    @contextmanager
    def filling(self) -> Iterator[None]:
        """The block changes the index, all or nothing, while no other process does."""
        with self._translated(), self._backend.exclusive():
            yield

    def add(self, ledger: str, records: Sequence[JobRecord]) -> None:
        """Add what the ledger of a writer holds, some thousands at once at most.

        Several refs may hold a writer's ledger (fetched from two remotes). That of two versions of a job the smaller
        text wins is arbitrary, but makes the index the same in whatever order they came.
        """
        rows = {record.id: job_row(ledger, record) for record in records}
        wins = self._settle(ledger, rows, Job.record, [Job.id, Pass.job])
        self._insert(Job, [rows[job] for job in wins])
        passes = (pass_rows(ledger, record) for record in records if record.id in wins)
        self._insert(Pass, list(chain.from_iterable(passes)))

    def add_comments(self, ledger: str, found: Iterable[Comment]) -> None:
        """Add comments that the ledger of a writer holds, as `add` does records."""
        rows = {comment.id: comment_row(ledger, comment) for comment in found}
        wins = self._settle(ledger, rows, CommentRow.comment, [CommentRow.id])
        self._insert(CommentRow, [rows[one] for one in wins])

    def reached(self, ref: str, oid: str) -> None:
        """Note that the ledger at `ref` is in the index up to the tip `oid`."""
        values = {Source.oid: oid, Source.reader: SCHEMA}
        Source.insert({Source.ref: plain(ref), **values}).on_conflict(
            conflict_target=[Source.ref], update=values
        ).execute(self._db)

    def clear(self) -> None:
        """Forget everything."""
        for table in TABLES:
            table.delete().execute(self._db)

    def recent(self, limit: int) -> list[JobRecord]:
        """The newest jobs, newest first."""
        return self._records(Job.select(), limit)

    def by_prefix(self, prefix: str, limit: int) -> list[JobRecord]:
        """Jobs whose id begins so, newest first."""
        return self._records(Job.select().where((Job.id >= prefix) & (Job.id < prefix + "~")), limit)

    def by_commits(self, commits: Iterable[str]) -> list[JobRecord]:
        """All jobs of some commits, and of snapshots of a working tree on one of them, newest first."""
        wanted = list(commits)
        return self._records(Job.select().where(Job.commit.in_(wanted) | Job.snapshot_of.in_(wanted)), None)

    def by_tree(self, tree: str, limit: int) -> list[JobRecord]:
        """Jobs of any commit with this tree, newest first."""
        return self._records(Job.select().where(Job.tree == tree), limit)

    def by_ref(self, ref: str, limit: int) -> list[JobRecord]:
        """Jobs of a ref, by its full name, newest first."""
        return self._records(Job.select().where(Job.ref == plain(ref)), limit)

    def count(self) -> int:
        """How many jobs there are."""
        with self._translated():
            return int(Job.select(peewee.fn.COUNT(peewee.fn.DISTINCT(Job.id))).scalar(self._db))

    def count_comments(self) -> int:
        """How many comments there are."""
        with self._translated():
            return int(CommentRow.select(peewee.fn.COUNT(peewee.fn.DISTINCT(CommentRow.id))).scalar(self._db))

    def everything(self) -> Iterator[tuple[str, JobRecord]]:
        """All records that the index holds: (writer of the ledger, record)."""
        yield from self._rows(Job.select())

    def comments(self, jobs: Iterable[str] | None = None) -> Iterator[tuple[str, Comment]]:
        """The comments on some jobs (None: all that there are), oldest first: (writer of the ledger, comment)."""
        query = CommentRow.select(CommentRow.ledger, CommentRow.comment).order_by(CommentRow.id, CommentRow.ledger)
        if jobs is not None:
            query = query.where(CommentRow.job.in_(list(jobs)))
        with self._translated():
            for ledger, text in query.tuples().bind(self._db).iterator():
                yield ledger, comments.from_json(text, self.name)

    def claims(
        self, definition: str, *, commit: str | None = None, tree: str | None = None
    ) -> Iterator[tuple[str, JobRecord]]:
        """What ledgers say of jobs with this definition, of a commit or of a tree: (writer of the ledger, record),
        newest first."""
        where = Job.commit == commit if commit is not None else Job.tree == tree
        yield from self._rows(Job.select().where(where & (Job.definition == plain(definition))))

    def told(
        self, *, commit: str | None = None, ref: str | None = None, prefix: str | None = None
    ) -> Iterator[tuple[str, JobRecord]]:
        """What ledgers say of the jobs of a commit, or of a ref (its full name), or whose id begins so, as `claims`
        gives it."""
        query = Job.select()
        if commit is not None:
            query = query.where(Job.commit == commit)
        if ref is not None:
            query = query.where(Job.ref == plain(ref))
        if prefix is not None:
            query = query.where((Job.id >= prefix) & (Job.id < prefix + "~"))
        yield from self._rows(query)

    def stage_claims(self, commit: str, stage: str) -> Iterator[tuple[str, JobRecord]]:
        """What ledgers say of jobs of a commit in which the stage came to an end, as `claims` gives it."""
        for ledger, record in self._rows(Job.select().where(Job.commit == commit)):
            if stage in record.stages and record.stages[stage].state.final:
                yield ledger, record

    def reusable(self, key: str) -> Iterator[tuple[str, JobRecord]]:
        """What ledgers say of jobs in which a stage with this key was run and passed, as `claims` gives it."""
        same = (Pass.job == Job.id) & (Pass.ledger == Job.ledger)
        yield from self._rows(Job.select().join(Pass, on=same).where(Pass.key == key))

    def passes(self, stage: str, trusted: frozenset[str] | None, limit: int) -> list[str]:
        """The commits on which the stage passed in the latest jobs, newest first, by the word of `trusted` writers
        (None: of any)."""
        query = Pass.select(Pass.commit).where(Pass.stage == plain(stage))
        if trusted is not None:
            query = query.where(Pass.ledger.in_([plain(name) for name in trusted]))
        with self._translated():
            found = query.order_by(Pass.job.desc(), Pass.ledger).limit(limit).tuples().execute(self._db)
            return list(dict.fromkeys(commit for (commit,) in found))

    def latest(self, commit: str, tree: str, definition: str) -> JobRecord | None:
        """The newest job of a commit, else of a tree, with this definition, however it ended and whoever says so."""
        of_commit = self.claims(definition, commit=commit)
        return next((record for _, record in chain(of_commit, self.claims(definition, tree=tree))), None)

    def neighbours(self, job: str) -> tuple[str | None, str | None]:
        """The ids before and after `job`: what its shortest unique prefix must tell it from."""
        with self._translated():
            below = Job.select(peewee.fn.MAX(Job.id)).where(Job.id < job)
            above = Job.select(peewee.fn.MIN(Job.id)).where(Job.id > job)
            return below.scalar(self._db), above.scalar(self._db)

    def _sources(self, which: Any) -> dict[str, str]:
        with self._translated():
            return dict(Source.select(Source.ref, Source.oid).where(which).tuples().execute(self._db))

    def _settle(self, ledger: str, rows: Mapping[str, Row], text: Any, columns: Sequence[Any]) -> dict[str, Row]:
        """Which of a ledger's new rows (by id, the last value is the text) go in. What they take the place of is
        removed, wherever it is by one of `columns`."""
        table, own = text.model, plain(ledger)
        same = table.select(table.id, text).where((table.ledger == own) & table.id.in_(list(rows)))
        there = dict(same.tuples().execute(self._db))
        wins = {one: row for one, row in rows.items() if one not in there or row[-1] < there[one]}
        if replaced := sorted(wins.keys() & there.keys()):
            for column in columns:
                column.model.delete().where((column.model.ledger == own) & column.in_(replaced)).execute(self._db)
        return wins

    def _insert(self, table: Any, rows: Sequence[Row]) -> None:
        # peewee writes the statement once, the database runs it for each row: a tenth of what insert_many costs.
        if rows:
            query = table.insert_many(rows[:1], fields=table._meta.sorted_fields)
            statement, _ = query.bind(self._db).sql()
            cursor: Any = self._db.cursor()  # type: ignore[no-untyped-call]
            cursor.executemany(statement, rows)

    def _records(self, query: "ModelSelect[Job]", limit: int | None) -> list[JobRecord]:
        return list(islice(_one_each(record for _, record in self._rows(query)), limit))

    def _rows(self, query: "ModelSelect[Job]") -> Iterator[tuple[str, JobRecord]]:
        with self._translated():
            rows = query.select(Job.ledger, Job.record).order_by(*_NEWEST).tuples().bind(self._db).iterator()
            for ledger, text in rows:
                yield ledger, from_json(text, self.name)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except self._backend.errors as error:
            raise self._backend.translated(error) from error


def _one_each(records: Iterable[JobRecord]) -> Iterator[JobRecord]:
    last = None
    for record in records:
        if record.id != last:
            yield record
        last = record.id
