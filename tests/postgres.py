"""A real PostgreSQL server on a Unix socket, for as long as a test session needs it."""

import getpass
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

_SETTINGS = {
    "listen_addresses": "",
    # It is thrown away: no test asks what survives a power failure.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "40",
    "shared_buffers": "16MB",
}


@dataclass
class Postgres:
    """A server: the folder of its socket and its data, and who owns it."""

    folder: Path
    user: str
    programs: Path

    def url(self, database: str = "gzl", user: str | None = None, password: str = "", options: str = "") -> str:
        """The URL of a database, of this server or of what would be one in another folder."""
        who = f"{user or self.user}{f':{password}' if password else ''}@"
        return f"postgresql://{who}/{database}?host={self.folder}{options}"

    def execute(self, *statements: str, database: str = "postgres") -> None:
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)  # type: ignore[call-overload]

    def start(self) -> None:
        settings = "".join(f" -c {name}={value}" for name, value in _SETTINGS.items())
        options = f"-k {self.folder}{settings}"
        self._run("pg_ctl", "-D", f"{self.folder}/data", "-l", f"{self.folder}/log", "-w", "-o", options, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", f"{self.folder}/data", "-m", "immediate", "-w", "stop")

    def make(self) -> None:
        """A cluster in which the owner is let in without a password, and everybody else needs one."""
        self._run("initdb", "-D", f"{self.folder}/data", "-U", self.user, "--no-sync", "-E", "UTF8", "--locale=C.UTF-8")
        (self.folder / "data/pg_hba.conf").write_text(f"local all {self.user} trust\nlocal all all scram-sha-256\n")

    def _run(self, program: str, *arguments: str) -> None:
        # initdb and postgres refuse to run as root.
        who = {"user": self.user} if os.geteuid() == 0 else {}
        done = subprocess.run(
            [self.programs / program, *arguments], cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=False,
            stdout=(self.folder / "out").open("ab"), stderr=subprocess.STDOUT, check=False, timeout=60, **who,  # type: ignore[call-overload]
        )  # fmt: skip
        if done.returncode:
            pytest.fail(f"{program}: {(self.folder / 'out').read_text()}")


@contextmanager
def running() -> Iterator[Postgres]:
    """A server with an empty database `gzl`."""
    found = shutil.which("initdb", path=":".join([os.environ["PATH"], *map(str, _installed())]))
    if found is None:
        pytest.fail("these tests need PostgreSQL: `tests/services` installs it")
    # Not in pytest's folder: another user has to reach it, and the path of a socket has up to 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="gzl-pg-", dir="/tmp"))
    user = "postgres" if os.geteuid() == 0 else getpass.getuser()
    if os.geteuid() == 0:
        account = pwd.getpwnam(user)
        os.chown(folder, account.pw_uid, account.pw_gid)
    folder.chmod(0o755)
    server = Postgres(folder, user, Path(found).resolve().parent)
    try:
        server.make()
        server.start()
        try:
            server.execute("CREATE DATABASE gzl")
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _installed() -> list[Path]:
    """Debian keeps the server's programs out of the PATH."""
    return sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
