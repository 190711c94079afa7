"""The index in a PostgreSQL database: for servers with many repositories, or with several machines.

`git config gzl.index postgresql://user@host/database` puts it there. Each repository has a schema of its own in the
database: one named after its writer and its folder, or what `?schema=NAME` says. The tables note whose they are, so
that two repositories never mix, also when one was copied from the other with its configuration.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from gzl.errors import GzlError, TransientError, UserError
from gzl.records.backend import IndexDamaged
from gzl.records.orm import peewee
from gzl.records.tables import TABLES

_PATIENCE = 30  # seconds to wait for another process that fills the index, and for the server
_URL = "postgresql://[USER[:PASSWORD]@]HOST[:PORT]/DATABASE[?schema=NAME]"
_SCHEMA = re.compile(r"(?!pg_)[A-Za-z_][A-Za-z0-9_-]{0,62}\Z")  # 63 bytes is what PostgreSQL keeps of a name
# What libpq says of a connection that will not be better later; it does not give the server's code for it.
_REFUSED = re.compile(r"authentication failed|no password supplied|does not exist|no pg_hba\.conf entry|not permitted")
_DAMAGED = ("22", "23", "42")  # classes of codes: wrong data, a constraint, what a statement names is not there
_FORBIDDEN = ("28", "3D", "42501")  # who one is, which database there is, what one may do


class _Meta(peewee.Model):
    key = peewee.TextField(primary_key=True)
    value = peewee.TextField()

    class Meta:
        table_name = "meta"


class _Adapter(peewee.Psycopg3Adapter):
    """peewee's own, without what it looks up when it is imported (see `gzl.records.orm`)."""

    txn_idle = TransactionStatus.IDLE
    txn_inerror = TransactionStatus.INERROR
    txn_unknown = TransactionStatus.UNKNOWN

    def check_driver(self) -> None:
        """It is there: this module imported it."""

    def connect(self, db: peewee.Database, **parameters: Any) -> Any:
        return psycopg.connect(db.database, **parameters)


class _Database(peewee.PostgresqlDatabase):
    psycopg2_adapter = psycopg3_adapter = _Adapter
    # Texts compare as bytes, as they do in SQLite: the order of answers must not depend on a server's language.
    field_types = {**peewee.PostgresqlDatabase.field_types, "TEXT": 'TEXT COLLATE "C"'}  # noqa: RUF012


class PostgresBackend:
    """The index in a schema of a PostgreSQL database; the schema's version is in its table `meta`."""

    errors: tuple[type[Exception], ...] = (peewee.PeeweeException, psycopg.Error)

    def __init__(self, url: str, owner: tuple[str, str]) -> None:
        """`url` as `gzl.index` has it, `owner` as for `backend`. UserError for what is no such URL."""
        address, schema = _parsed(url)
        self._schema = schema or _default_schema(owner)
        self._password = conninfo_to_dict(address).get("password")
        self._owner = "\n".join(owner).encode(errors="backslashreplace").decode()
        self.name = f"gzl.index {_shown(address)} (schema {self._schema})"
        settings: dict[str, Any] = {} if "connect_timeout=" in address else {"connect_timeout": _PATIENCE}
        self.db: peewee.Database = _Database(address, autoconnect=False, client_encoding="utf8", **settings)

    def open(self) -> None:
        self.db.connect()
        name = sql.Identifier(self._schema)
        for statement in (
            sql.SQL("SET search_path TO {}").format(name),
            sql.SQL("SET lock_timeout = {}").format(sql.Literal(f"{_PATIENCE}s")),
            sql.SQL("SET client_min_messages = warning"),
        ):
            self._execute(statement)

    def version(self) -> int:
        if not self._made():
            return 0
        meta = dict(_Meta.select(_Meta.key, _Meta.value).tuples().execute(self.db))
        if meta.get("owner", self._owner) != self._owner:
            writer, _, folder = meta["owner"].partition("\n")
            raise UserError(
                f"{self.name}: holds the index of {folder} (writer {writer}); give this repository a schema of its own "
                "with ?schema=NAME in gzl.index, or drop that schema if its repository was moved here"
            )
        return int(meta.get("version", "0"))

    def stamp(self, version: int) -> None:
        for key, value in (("version", str(version)), ("owner", self._owner)):
            _Meta.insert(key=key, value=value).on_conflict(
                conflict_target=[_Meta.key], update={_Meta.value: value}
            ).execute(self.db)

    def newer(self, version: int) -> GzlError:
        return UserError(
            f"{self.name}: made by a newer gzl (schema version {version}), which others may still use; update this "
            "gzl, or give it a schema of its own with ?schema=NAME in gzl.index"
        )

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        with self.db.atomic():
            self._lock()
            if not self._made():
                self._make()
            yield

    def translated(self, error: Exception) -> GzlError:
        cause = getattr(error, "orig", None) or error
        code = getattr(cause, "sqlstate", None) or ""
        said = str(cause).strip()
        if self._password:
            said = said.replace(str(self._password), "***")
        if code.startswith(_FORBIDDEN) or (not code and _REFUSED.search(said)):
            return UserError(f"{self.name}: {said}; check the user, the password and the database in gzl.index")
        if code[:2] in _DAMAGED:
            return IndexDamaged(f"{self.name}: {said}; `gzl reindex` makes a new one")
        return TransientError(f"{self.name}: {said}; is the server up, and the address in gzl.index right? Try again")

    def discard(self) -> None:
        self.open()
        try:
            with self.db.atomic(), self.db.bind_ctx([*TABLES, _Meta]):
                self._lock()
                self.db.drop_tables([*TABLES, _Meta], safe=True)
        finally:
            self.db.close()

    def _lock(self) -> None:
        """Until the end of the transaction; other schemas have other locks."""
        self._execute(sql.SQL("SELECT pg_advisory_xact_lock({})").format(sql.Literal(_number(self._schema))))

    def _made(self) -> bool:
        return self._value("SELECT to_regclass(%s)", f'"{self._schema}".meta') is not None

    def _make(self) -> None:
        if self._value("SHOW server_encoding") != "UTF8":
            raise UserError(f"{self.name}: gzl needs a database with the encoding UTF8; `createdb -E UTF8` makes one")
        if self._value("SELECT 1 FROM pg_namespace WHERE nspname = %s", self._schema) is None:
            self._execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(self._schema)))
        with self.db.bind_ctx([_Meta]):
            self.db.create_tables([_Meta])

    def _execute(self, statement: sql.Composable) -> None:
        self.db.execute_sql(statement.as_string(None))  # type: ignore[no-untyped-call]

    def _value(self, query: str, *parameters: str) -> Any:
        row = self.db.execute_sql(query, parameters or None).fetchone()  # type: ignore[no-untyped-call]
        return row[0] if row else None


def _parsed(url: str) -> tuple[str, str | None]:
    """The URL as libpq takes it, and what `schema=` says."""
    try:
        parts = urlsplit(url)
        # An unencoded / ? or # ends the host: what follows would be a part of the password, and might be shown.
        if parts.fragment or "@" in parts.path + parts.query:
            raise ValueError
        options = [option for option in parts.query.split("&") if option]
        schemas = [option.removeprefix("schema=") for option in options if option.startswith("schema=")]
        kept = "&".join(option for option in options if not option.startswith("schema="))
        address = f"postgresql://{parts.netloc}{parts.path}{kept and f'?{kept}'}"
        conninfo_to_dict(address)
    except (ValueError, psycopg.ProgrammingError):
        # What libpq says repeats the URL, password and all.
        raise UserError(f"gzl.index: is no URL that PostgreSQL takes; it should be {_URL}, where / ? # @ % in a "
                        "password are written %2F %3F %23 %40 %25") from None  # fmt: skip
    for schema in schemas:
        if not _SCHEMA.match(schema):
            raise UserError(
                f"gzl.index: schema={schema}: a schema's name has up to 63 letters, digits, _ and -, begins with a "
                "letter, and not with pg_"
            )
    return address, schemas[-1] if schemas else None


def _shown(address: str) -> str:
    """The URL without what may be secret: the password, and options."""
    parts = urlsplit(address)
    user, at, host = parts.netloc.rpartition("@")
    return f"postgresql://{user.partition(':')[0]}{at}{host}{parts.path}"


def _default_schema(owner: tuple[str, str]) -> str:
    label = re.sub(r"[^a-z0-9]+", "_", owner[0].lower()).strip("_")[:40]
    return f"gzl_{label}_{hashlib.sha256(repr(owner).encode()).hexdigest()[:12]}"


def _number(schema: str) -> int:
    """The key of the schema's advisory lock: a signed 64-bit integer."""
    return int.from_bytes(hashlib.sha256(f"gzl index {schema}".encode()).digest()[:8], "big", signed=True)
