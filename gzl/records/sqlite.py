"""The index in a file of its own, by SQLite: the default. Several processes may use it at once."""

import sqlite3
from contextlib import AbstractContextManager
from pathlib import Path

from gzl.errors import GzlError, TransientError
from gzl.records.backend import IndexDamaged
from gzl.records.orm import peewee

_BUSY = 30  # seconds to wait for another process that fills the index
# What SQLite says (sqlite3ErrStr) where a new index would fare no better: all else is a damaged file.
_OTHER_TROUBLE = ("locked", "readonly", "unable to open", "is full", "disk I/O")


class SqliteBackend:
    """The index in the file at `path`; its schema's version is SQLite's `user_version`."""

    errors: tuple[type[Exception], ...] = (peewee.DatabaseError, sqlite3.DatabaseError)

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        self._sqlite = peewee.SqliteDatabase(
            self.name, pragmas={"journal_mode": "wal", "synchronous": "normal"}, timeout=_BUSY
        )
        self.db: peewee.Database = self._sqlite

    def open(self) -> None:
        self.db.connect()

    def version(self) -> int:
        return int(self._sqlite.user_version)

    def stamp(self, version: int) -> None:
        self._sqlite.user_version = version

    def newer(self, version: int) -> GzlError:
        return IndexDamaged(f"{self.name}: made by another version of gzl")

    def exclusive(self) -> AbstractContextManager[object]:
        return self._sqlite.atomic("IMMEDIATE")

    def translated(self, error: Exception) -> GzlError:
        if any(sign in str(error) for sign in _OTHER_TROUBLE):
            return TransientError(f"{self.name}: {error}")
        return IndexDamaged(f"{self.name}: {error}; `gzl reindex` makes a new one")

    def discard(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
