"""Where an index can be: in a SQLite file of the repository (the default), or in a PostgreSQL database (by URL)."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from gzl.errors import GzlError, UserError
from gzl.records.orm import peewee


class IndexDamaged(GzlError):
    """What is there is no index of this version of gzl, or the database cannot read it: discard it, fill a new one."""


class Backend(Protocol):
    """A database that holds the index of one repository, opened by one process."""

    name: str
    """For messages; never with a password in it."""
    db: peewee.Database
    errors: tuple[type[Exception], ...]
    """What using the database may raise; `translated` says what it means."""

    def open(self) -> None:
        """Connect; a database that is not there yet is made, with nothing in it."""

    def version(self) -> int:
        """The schema's version; 0 where there are no tables yet."""

    def stamp(self, version: int) -> None:
        """Note the schema's version."""

    def newer(self, version: int) -> GzlError:
        """What is to be done about an index that a newer gzl made."""

    def exclusive(self) -> AbstractContextManager[object]:
        """A transaction in which no other process changes the index; others wait for its end, and those that only read
        see what was before."""

    def translated(self, error: Exception) -> GzlError:
        """One of `errors` as gzl's: IndexDamaged where a new index would help, else what would."""

    def discard(self) -> None:
        """Remove the index, in whatever state it is; `open` then makes an empty one."""


def backend(url: str | None, path: Path, owner: tuple[str, str]) -> Backend:
    """The backend that the setting `gzl.index` names: None is the SQLite file at `path`.

    `owner` is whose index it is: the writer's name and the repository's folder.
    """
    if url is None:
        from gzl.records.sqlite import SqliteBackend

        return SqliteBackend(path)
    if url.partition("://")[0] in ("postgresql", "postgres"):
        from gzl.records.postgres import PostgresBackend  # with psycopg 130 ms: only who has such a URL pays for it

        return PostgresBackend(url, owner)
    raise UserError(
        "gzl.index: only postgresql://… is known; `git config --unset gzl.index` keeps the index in a file, as is usual"
    )
