"""peewee without its database drivers.

`import peewee` imports every driver that is installed: psycopg costs 130 ms, three times peewee itself, and an index in
a file has no use for it. So peewee is imported here, before anywhere else, while the drivers look as if they were not
there; `gzl.records.postgres` brings its own.
"""

import sys
from types import ModuleType

_DRIVERS = ("psycopg", "psycopg2", "psycopg2cffi", "pymysql", "MySQLdb")


def _without_drivers() -> ModuleType:
    # None in sys.modules makes an import of that name fail (docs.python.org, "The module cache").
    hidden = [name for name in _DRIVERS if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        import peewee

        return peewee
    finally:
        for name in hidden:
            del sys.modules[name]


_without_drivers()

import peewee  # noqa: E402  now it is there, as the types know it

__all__ = ["peewee"]
