"""The index: the same answers from a SQLite file and from a PostgreSQL database."""

import itertools
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import postgres as postgres_server
import psycopg
import pytest
from postgres import Postgres
from store_world import T0, git, isolate, job, repository

from gzl.errors import TransientError, UserError
from gzl.model.comment import Comment
from gzl.model.ids import new_job_id
from gzl.model.record import Attempt, JobRecord, StageResult, to_json
from gzl.model.result import State
from gzl.notes import fsck, store, verdicts
from gzl.notes.index import open_index, rebuild
from gzl.records import tables
from gzl.records.backend import Backend, IndexDamaged, backend
from gzl.records.index import Index
from gzl.records.postgres import PostgresBackend
from gzl.records.sqlite import SqliteBackend

KEY = "ab" * 32


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    with postgres_server.running() as running:
        yield running


@dataclass
class Place:
    """Where an index can be; every call gives another process's view of the same one."""

    backend: Callable[[], Backend]
    sql: Callable[[str], None]
    """Change what is there behind gzl's back."""

    def open(self) -> Index:
        return Index(self.backend())


_serial = itertools.count()


def sqlite_place(path: Path) -> Place:
    def sql(statement: str) -> None:
        connection = sqlite3.connect(path)
        connection.execute(statement)
        connection.commit()
        connection.close()

    return Place(lambda: SqliteBackend(path), sql)


def postgres_place(server: Postgres) -> Place:
    schema = f"t{next(_serial)}"
    url = server.url(options=f"&schema={schema}")
    return Place(
        lambda: PostgresBackend(url, ("me", "/srv/repo.git")),
        lambda statement: server.execute(f"SET search_path TO {schema}", statement, database="gzl"),
    )


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "sqlite":
        return sqlite_place(tmp_path / "index.sqlite")
    return postgres_place(request.getfixturevalue("server"))


def filled(index: Index, ledger: str, *records: JobRecord, comments: tuple[Comment, ...] = ()) -> None:
    with index.filling():
        index.add(ledger, records)
        index.add_comments(ledger, comments)


def ran(number: int, own: str, *, commit: str = "c" * 40, **stage: object) -> JobRecord:
    """A job with one stage, `build`, that was run."""
    attempt = Attempt(1, State.PASSED, T0, T0 + 1, 0)
    build = StageResult("build", State.PASSED, T0, T0 + 1, 0, (attempt,))
    return replace(job(number, own, commit), stages={"build": replace(build, **stage)})  # type: ignore[arg-type]


def remark(number: int, on: JobRecord, text: str = "flaky", author: str = "A U Thor <a@b>") -> Comment:
    made = new_job_id(T0 + 9000 + number, on.id[:10].encode())
    return Comment(made, on.id, author, T0 + 9000 + number, text)


NAMES = ["x\x1b]0;pwned\x07", "\u202e\u2028", "bytes \udcff", "nul \0", "%s ' \" \\ ; --", "ünï", "ZZ", "aa", "_"]
JOBS = [
    *(job(n, f"w{n % 3}", "cde"[n % 3] * 40, ref=f"refs/heads/{n % 2}", definition=f"d{n % 4}") for n in range(12)),
    *(replace(job(20 + n, name), ref=name, event=name, actor=name, reason=name) for n, name in enumerate(NAMES)),
    replace(job(40, "snap", "9" * 40), snapshot_of="c" * 40),
    replace(job(41, "numbers"), created=True, started=0, finished=1.5),
]


def answers(index: Index) -> object:
    """What the index says to everything that is asked of it."""
    everything = [(ledger, to_json(record)) for ledger, record in index.everything()]
    return (
        everything,
        list(index.comments()),
        [list(index.comments([record.id])) for record in JOBS],
        [to_json(record) for record in index.recent(1000)],
        [to_json(record) for record in index.by_commits(["c" * 40, "d" * 40])],
        [to_json(record) for record in index.by_tree("d" * 40, 7)],
        [[to_json(record) for record in index.by_ref(ref, 5)] for ref in ("refs/heads/0", *NAMES)],
        [[to_json(record) for record in index.by_prefix(record.id[:9], 3)] for record in JOBS],
        [index.neighbours(record.id) for record in JOBS],
        [(ledger, to_json(record)) for ledger, record in index.claims("d1", commit="d" * 40)],
        [(ledger, record.id) for ledger, record in index.stage_claims("c" * 40, "build")],
        [(ledger, record.id) for ledger, record in index.reusable(KEY)],
        index.passes("build", None, 4),
        index.passes("build", frozenset({"w1", NAMES[2]}), 4),
        index.count(),
    )


def test_both_give_the_same_answers_byte_for_byte(tmp_path: Path, server: Postgres) -> None:
    said = []
    for made in (sqlite_place(tmp_path / "index.sqlite"), postgres_place(server)):
        for records in (JOBS, JOBS[::-1]):  # whatever the order
            with made.open() as index:
                with index.filling():
                    index.clear()
                for record in records:
                    comments = tuple(remark(n, record, name, name) for n, name in enumerate(NAMES))
                    filled(index, record.writer, record, comments=comments)
                    filled(index, "copy", record)
                said.append(answers(index))
    assert all(one == said[0] for one in said[1:])
    assert len(said[0][0]) == 2 * len(JOBS)  # type: ignore[index]


def test_what_was_put_in_comes_out_as_it_was(place: Place) -> None:
    with place.open() as index:
        for record in JOBS:
            filled(index, record.writer, record, comments=(remark(1, record, record.reason or "x", record.actor),))
    with place.open() as index:
        assert [to_json(r) for r in index.recent(100)] == [to_json(r) for r in sorted(JOBS, key=lambda r: r.id)[::-1]]
        for record in JOBS:
            assert [comment for _, comment in index.comments([record.id])] == [
                remark(1, record, record.reason or "x", record.actor)
            ]


def test_of_two_versions_one_wins_whatever_the_order(place: Place) -> None:
    first = ran(1, "me", commit="a" * 40, key=KEY)
    second = replace(first, commit="b" * 40, stages={})
    said = (remark(1, first, "one"), remark(1, first, "other"))
    found = []
    for order in ((first, second), (second, first)):
        with place.open() as index:
            with index.filling():
                index.clear()
            for record, comment in zip(order, said if order[0] is first else said[::-1], strict=True):
                filled(index, "me", record, comments=(comment,))
            found.append((list(index.everything()), list(index.comments()), index.passes("build", None, 9)))
    assert found[0] == found[1]
    assert found[0][0] == [("me", first)]
    assert found[0][2] == ["a" * 40]


def test_a_key_finds_what_was_run_and_passed(place: Place) -> None:
    first, again = ran(1, "me", key=KEY), ran(2, "me", key=KEY)
    failed = replace(ran(3, "me", key=KEY, state=State.FAILED, exit=1), state=State.FAILED)
    reused = ran(4, "me", key=KEY, attempts=(), reused_from=first.id)
    others = ran(5, "mallory", key=KEY)
    with place.open() as index:
        filled(index, "me", first, again, failed, reused)
        filled(index, "mallory", others)
        assert list(index.reusable(KEY)) == [("mallory", others), ("me", again), ("me", first)]
        assert list(index.reusable("cd" * 32)) == list(index.reusable("")) == []
        assert verdicts.reusable(index, KEY, frozenset({"me"})) == (again, again.stages["build"])
        assert verdicts.reusable(index, KEY, None) == (others, others.stages["build"])
        assert verdicts.reusable(index, KEY, frozenset({"nobody"})) is None


def test_a_stage_of_a_commit_is_found_with_what_became_of_it(place: Place) -> None:
    here, there = ran(1, "me", commit="a" * 40), ran(2, "me", commit="b" * 40)
    killed = replace(ran(3, "me", commit="a" * 40, state=State.FAILED, exit=137), state=State.FAILED)
    stopped = replace(ran(4, "me", commit="a" * 40, state=State.WAITING, attempts=()), state=State.STOPPED)
    with place.open() as index:
        filled(index, "me", here, there, killed, stopped)
        assert [record for _, record in index.stage_claims("a" * 40, "build")] == [killed, here]
        assert list(index.stage_claims("a" * 40, "test")) == []
        assert verdicts.stage_verdict(index, "a" * 40, "build", None) == (here, here.stages["build"])


def test_passes_are_the_newest_by_the_word_of_those_who_are_trusted(place: Place) -> None:
    jobs = [ran(n, "me", commit=f"{n:040x}") for n in range(20)]
    with place.open() as index:
        filled(index, "me", *jobs[:10])
        filled(index, "mallory", *(replace(one, writer="mallory") for one in jobs[10:]))
        filled(index, "me", replace(ran(30, "me", commit="f" * 40, state=State.FAILED), state=State.FAILED))
        assert index.passes("build", None, 3) == [one.commit for one in jobs[:16:-1]]
        assert index.passes("build", frozenset({"me"}), 3) == [one.commit for one in jobs[9:6:-1]]
        assert index.passes("build", frozenset(), 3) == index.passes("deploy", None, 3) == []


def test_a_filling_that_fails_changes_nothing_and_is_not_seen_before_its_end(place: Place) -> None:
    with place.open() as index, place.open() as reader:
        first = job(1, "me")
        filled(index, "me", first)
        with pytest.raises(ZeroDivisionError), index.filling():
            index.clear()
            index.add("me", [job(2, "me")])
            index.reached("refs/gzl/ledger/me", "a" * 40)
            assert reader.count() == 1
            1 / 0  # noqa: B018
        assert reader.recent(9) == [first]
        assert reader.sources() == {}


_OPEN_AND_ADD = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[4:]
from store_world import job
from gzl.records.backend import backend
from gzl.records.index import Index
with Index(backend(sys.argv[1] or None, Path(sys.argv[2]), ("me", "/srv"))) as index:
    for number in range(5):
        with index.filling():
            known = index.count()
            index.add(sys.argv[3], [job(number, sys.argv[3])])
    print(index.count(), len(list(index.everything())))
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_several_processes_make_it_and_fill_it_at_once(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path = tmp_path / "index.sqlite"
    url = request.getfixturevalue("server").url(options=f"&schema=t{next(_serial)}") if kind == "postgres" else ""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _OPEN_AND_ADD, url, path, f"w{n}", *sys.path],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for n in range(3)
    ]  # fmt: skip
    ended = [process.communicate() for process in processes]
    assert [said for _, said in ended] == [b""] * 3
    with Index(backend(url or None, path, ("me", "/srv"))) as index:
        assert len(list(index.everything())) == 15


@pytest.mark.parametrize(
    "damage",
    ["DROP TABLE passes", "DROP TABLE jobs", "ALTER TABLE comments RENAME COLUMN job TO x", "DROP TABLE sources"],
)
def test_damage_is_told_and_a_new_one_is_made(place: Place, damage: str) -> None:
    with place.open() as index:
        filled(index, "me", JOBS[0])
    place.sql(damage)
    with pytest.raises(IndexDamaged), place.open() as index:
        index.sources()
        answers(index)
    place.backend().discard()
    with place.open() as index:
        assert index.count() == 0
        filled(index, "me", JOBS[0])
        answers(index)


# The tables of schema 1, as the first release of gzl made them.
V1 = """
CREATE TABLE "jobs" ("id" TEXT NOT NULL, "ledger" TEXT NOT NULL, "own" INTEGER NOT NULL, "commit" TEXT NOT NULL,
  "tree" TEXT NOT NULL, "snapshot_of" TEXT, "ref" TEXT NOT NULL, "state" TEXT NOT NULL, "event" TEXT NOT NULL,
  "writer" TEXT NOT NULL, "definition" TEXT NOT NULL, "created" REAL NOT NULL, "started" REAL, "finished" REAL,
  "record" TEXT NOT NULL, PRIMARY KEY ("id", "ledger"));
CREATE INDEX "_job_commit" ON "jobs" ("commit");
CREATE INDEX "_job_tree" ON "jobs" ("tree");
CREATE INDEX "_job_snapshot_of" ON "jobs" ("snapshot_of");
CREATE INDEX "_job_ref" ON "jobs" ("ref");
CREATE TABLE "sources" ("ref" TEXT NOT NULL PRIMARY KEY, "oid" TEXT NOT NULL);
PRAGMA user_version = 1;
"""


def version_1(path: Path, records: list[JobRecord], sources: dict[str, str]) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = wal")
    connection.executescript(V1)
    rows = [tables.job_row(record.writer, record) for record in records]
    connection.executemany(f"INSERT INTO jobs VALUES ({', '.join('?' * 15)})", rows)
    connection.executemany("INSERT INTO sources VALUES (?, ?)", sources.items())
    connection.commit()
    connection.close()


def test_an_index_of_the_first_version_is_brought_up_with_all_that_it_holds(tmp_path: Path) -> None:
    old, new = tmp_path / "old.sqlite", tmp_path / "new.sqlite"
    version_1(old, JOBS, {"refs/gzl/ledger/me": "a" * 40})
    with Index(SqliteBackend(old)) as migrated, Index(SqliteBackend(new)) as fresh:
        for record in JOBS:
            filled(fresh, record.writer, record)
        assert answers(migrated) == answers(fresh)
        assert migrated.passes("build", None, 3)
        assert migrated.sources() == {}, "nobody has looked for comments there yet"
        assert migrated.behind() == {"refs/gzl/ledger/me": "a" * 40}
        with migrated.filling():
            migrated.reached("refs/gzl/ledger/me", "a" * 40)
        assert migrated.sources() == {"refs/gzl/ledger/me": "a" * 40}
        assert migrated.behind() == {}
        assert columns(old) == columns(new)


def columns(path: Path) -> dict[str, list[str]]:
    connection = sqlite3.connect(path)
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = {name: [row[1] for row in connection.execute(f"PRAGMA table_info({name})")] for name in names}
    connection.close()
    return found


def test_two_processes_bring_it_up_at_once(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    version_1(path, [job(n, "me") for n in range(300)], {})
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _OPEN_AND_ADD, "", path, f"w{n}", *sys.path],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for n in range(3)
    ]  # fmt: skip
    assert [process.communicate()[1] for process in processes] == [b""] * 3
    with Index(SqliteBackend(path)) as index:
        assert len(list(index.everything())) == 300 + 15


def test_a_record_that_cannot_be_read_makes_an_old_index_a_damaged_one(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    version_1(path, [job(1, "me")], {})
    sqlite_place(path).sql("UPDATE jobs SET record = '{}'")
    with pytest.raises(IndexDamaged):
        Index(SqliteBackend(path))


def test_a_newer_index_in_a_file_is_made_again_and_one_in_a_database_is_left_to_others(
    tmp_path: Path, server: Postgres
) -> None:
    in_file, in_database = sqlite_place(tmp_path / "index.sqlite"), postgres_place(server)
    for made, statement in (
        (in_file, "PRAGMA user_version = 999"),
        (in_database, "UPDATE meta SET value = '999' WHERE key = 'version'"),
    ):
        with made.open() as index:
            filled(index, "me", job(1, "me"))
        made.sql(statement)
    with pytest.raises(IndexDamaged):
        in_file.open()
    with pytest.raises(UserError, match=r"made by a newer gzl .*schema version 999.*schema=NAME"):
        in_database.open()


def test_a_repository_keeps_its_index_in_a_database_and_loses_nothing_with_it(
    tmp_path: Path, server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    isolate(monkeypatch, tmp_path)
    repo = repository(tmp_path / "repo", name="me")
    store.record_all(repo, "me", [job(n, "me") for n in range(3)])
    with open_index(repo) as index:
        said = answers(index)
    git(repo.common_dir, "config", "gzl.index", f"postgresql:///gzl?host={tmp_path}")
    with pytest.raises(TransientError, match="is the server up"):
        open_index(repo)
    git(repo.common_dir, "config", "gzl.index", server.url(options="&schema=kept"))
    for opened in (open_index, rebuild, open_index):
        with opened(repo) as index:
            assert answers(index) == said
            assert "postgresql://" in index.name
    for accident in ("DROP SCHEMA kept CASCADE", "DROP TABLE kept.passes, kept.sources", "DROP TABLE kept.meta"):
        server.execute(accident, database="gzl")
        with open_index(repo) as index:
            assert answers(index) == said
    assert fsck.check(repo, 0)[0] == []


class TestPostgres:
    def test_repositories_of_one_database_do_not_mix(self, server: Postgres) -> None:
        owners = [("me", "/srv/a.git"), ("me", "/srv/b.git"), ("you", "/srv/a.git"), ("Ü!" * 80, "/x\udcff\ny")]
        for number, owner in enumerate(owners):
            with Index(PostgresBackend(server.url(), owner)) as index:
                assert index.count() == 0
                filled(index, "me", *(job(n, "me") for n in range(number + 1)))
        for number, owner in enumerate(owners):
            with Index(PostgresBackend(server.url(), owner)) as index:
                assert index.count() == number + 1

    def test_a_schema_is_one_repositorys(self, server: Postgres) -> None:
        url = server.url(options="&schema=shared")
        Index(PostgresBackend(url, ("me", "/srv/a.git"))).close()
        Index(PostgresBackend(url, ("me", "/srv/a.git"))).close()
        with pytest.raises(UserError, match=r"holds the index of /srv/a\.git \(writer me\); give this repository"):
            Index(PostgresBackend(url, ("me", "/srv/copy.git")))

    def test_a_server_that_is_down_is_worth_another_try(self, tmp_path: Path) -> None:
        url = f"postgresql://me:sesame@/gzl?host={tmp_path}"
        with pytest.raises(TransientError, match="is the server up") as raised:
            Index(PostgresBackend(url, ("me", "/x")))
        assert "sesame" not in str(raised.value)

    def test_a_server_that_goes_away_is_worth_another_try(self, server: Postgres) -> None:
        with Index(PostgresBackend(server.url(), ("gone", "/x"))) as index:
            server.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = 'gzl' AND pid <> pg_backend_pid()"
            )
            with pytest.raises(TransientError):
                index.count()

    @pytest.mark.parametrize(
        ("who", "said"),
        [
            ({"user": "guest", "password": "sesame"}, "password authentication failed"),
            ({"user": "nobody", "password": "sesame"}, "authentication failed"),
            ({"user": "guest"}, "no password supplied"),
            ({"database": "nowhere"}, "does not exist"),
            ({"user": "guest", "password": "open"}, "permission denied"),
        ],
    )
    def test_who_is_not_let_in_has_to_change_something(self, server: Postgres, who: dict[str, str], said: str) -> None:
        server.execute("DROP ROLE IF EXISTS guest", "CREATE ROLE guest LOGIN PASSWORD 'open'")
        with pytest.raises(UserError, match=f"{said}.*check the user, the password and the database") as raised:
            Index(PostgresBackend(server.url(**who), ("guest", "/x")))
        assert "sesame" not in str(raised.value)

    def test_a_schema_that_was_made_for_one_needs_no_more_rights(self, server: Postgres) -> None:
        server.execute("DROP ROLE IF EXISTS tenant", "CREATE ROLE tenant LOGIN PASSWORD 'open'")
        server.execute("CREATE SCHEMA tenant AUTHORIZATION tenant", database="gzl")
        url = server.url(user="tenant", password="open", options="&schema=tenant")
        for _ in range(2):
            with Index(PostgresBackend(url, ("tenant", "/x"))) as index:
                filled(index, "me", *JOBS)

    def test_a_database_in_another_encoding_is_refused(self, server: Postgres) -> None:
        server.execute("CREATE DATABASE ascii ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
        with pytest.raises(UserError, match="encoding UTF8"):
            Index(PostgresBackend(server.url("ascii"), ("me", "/x")))

    @pytest.mark.parametrize(
        "url",
        [
            "postgresql://me:s/e?s#ame@host/gzl", "postgresql://me:s/esame@host/gzl", "postgresql://[::1/gzl?password=esame",
            "postgresql://me:esame@host/gzl?nonsense=1", "postgresql://me:%ZZesame@host/gzl",
            "postgres://me:esame@host/gzl?schema=a;b", "postgresql://host/gzl?schema=pg_catalog", "mysql://me:esame@host/x",
            "index.sqlite", "",
        ],
    )  # fmt: skip
    def test_a_bad_url_is_told_without_what_is_secret_in_it(self, url: str) -> None:
        with pytest.raises(UserError, match=r"^gzl\.index: ") as raised:
            backend(url, Path("x"), ("me", "/x"))
        assert "esame" not in str(raised.value)

    def test_a_statement_that_fails_says_where_but_not_the_password(self, server: Postgres) -> None:
        place = postgres_place(server)
        error = place.backend().translated(psycopg.OperationalError("nothing; the password was not given"))
        assert isinstance(error, TransientError)
        assert "gzl.index postgresql://" in str(error)


_IMPORTED = """
import sys
from pathlib import Path
from gzl.records.backend import backend
from gzl.records.index import Index
Index(backend(None, Path(sys.argv[1]), ("", ""))).close()
print([name for name in sys.modules if name.split(".")[0].startswith(("psycopg", "pymysql"))])
"""


def test_a_file_does_not_pay_for_the_driver_of_a_server(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _IMPORTED, str(tmp_path / "index.sqlite")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"
