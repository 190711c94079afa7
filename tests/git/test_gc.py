"""`gzl gc`: what retention does not keep goes; nothing that anything kept refers to does."""

import io
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from store_world import T0, commit, git, isolate, job, repository, with_log

from gzl.errors import UserError
from gzl.git.repo import Repo
from gzl.kit.fs import try_lock
from gzl.logs import check
from gzl.logs import store as log_store
from gzl.managers.housekeeping import start_gc_if_due
from gzl.model.ids import job_month
from gzl.model.journal import Entry, to_line
from gzl.model.record import Artifact, JobRecord, LogRef, Totals, artifact_data, totals_data
from gzl.model.request import JobRequest
from gzl.model.result import State
from gzl.notes import retention, store
from gzl.objects import opening
from gzl.objects.base import ObjectStore
from gzl.planning.retention import DAY, Policy
from gzl.records import caches, retired, unfinished

NOW = T0 + 120 * DAY
OLD = NOW - 2 * DAY
DAILY = 24 * 60  # jobs of store_world are a minute apart


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    isolate(monkeypatch, tmp_path)
    made = repository(tmp_path / "repo", name="me")
    commit(tmp_path / "repo")
    return made


def objects(repo: Repo) -> ObjectStore:
    return opening.of(repo, {})


def stored(repo: Repo, data: bytes, modified: float = OLD) -> str:
    """An object that was put at that time."""
    blob = objects(repo).put(io.BytesIO(data))
    os.utime(repo.layout.objects / "sha256" / blob.digest[:2] / blob.digest[2:], (modified, modified))
    return blob.digest


def with_artifact(record: JobRecord, digest: str) -> JobRecord:
    build = replace(record.stages["build"], artifacts=(Artifact("app", "file", digest, 1),))
    return replace(record, stages={**record.stages, "build": build})


def recorded(repo: Repo, number: int, *digests: str, ref: str = "refs/heads/main", of: str = "c" * 40) -> JobRecord:
    record = job(number, "me", of, ref=ref)
    for digest in digests:
        record = with_artifact(record, digest)
    log = b"log of %d\n" % number
    path = repo.layout.root / "log"
    path.write_bytes(log)
    kept = log_store.keep(path, log_store.Masker([]), lambda: objects(repo))
    record = with_log(record, kept.log)
    assert store.record(repo, "me", record, logs={log_store.name("build", 1): kept.blob or b""})
    return record


def collect(repo: Repo, policy: Policy | None = None, now: float = NOW) -> retention.Plan:
    decided = retention.plan(repo, "me", objects(repo), policy or Policy(), now, alone=opening.alone(repo))
    retention.carry_out(repo, objects(repo), policy or Policy(), decided, now)
    return decided


def there(repo: Repo) -> set[str]:
    return {found.digest for found in objects(repo).list()}


def test_what_is_too_old_goes_and_what_is_kept_stays(repo: Repo) -> None:
    old, shared, new, orphan, young = (stored(repo, data) for data in (b"old", b"shared", b"new", b"orphan", b"young"))
    os.utime(repo.layout.objects / "sha256" / young[:2] / young[2:], (NOW - 60, NOW - 60))
    gone = recorded(repo, 0, old)
    keeps = recorded(repo, 40 * DAILY, new)
    recorded(repo, 1, shared)
    recorded(repo, 41 * DAILY, shared)
    decided = collect(repo)
    assert there(repo) == {shared, new, young}, "young: a job may have put it and not said so yet"
    assert [(going.job, going.because) for going in decided.jobs] == [(gone.id, "older than 90 days")]
    assert [o.digest for o in decided.orphans] == [orphan]
    assert retired.read(repo.layout) == {gone.id}
    assert collect(repo).jobs == (), "the second time nothing is left to do"
    assert keeps.id not in retired.read(repo.layout)


def test_large_logs_and_reports_are_objects_too(repo: Repo) -> None:
    log, report = stored(repo, b"log"), stored(repo, b"report")
    record = with_log(job(0, "me"), LogRef(9, "e" * 64, "object", log))
    test = replace(record.stages["test"], tests=Totals(1, report=report))
    record = replace(record, stages={**record.stages, "test": test})
    assert store.record(repo, "me", record)
    collect(repo)
    assert there(repo) == {log, report}, "the newest of its branch"
    recorded(repo, 40 * DAILY)
    collect(repo)
    assert there(repo) == set()
    with pytest.raises(UserError, match="removed by retention"):
        log_store.open_log(repo, record, "build", 1, lambda: objects(repo))
    assert list(check.problems(repo, "me", [record], lambda: objects(repo))) == []


def test_a_tag_keeps_what_its_commit_left(repo: Repo) -> None:
    worktree = repo.worktree or repo.git_dir
    first, second = commit(worktree, a="1"), commit(worktree, a="2")
    kept = [stored(repo, b"tagged"), stored(repo, b"annotated")]
    recorded(repo, 0, kept[0], of=first)
    recorded(repo, 1, kept[1], of=second)
    recorded(repo, 2, stored(repo, b"neither"))
    recorded(repo, 40 * DAILY)
    git(worktree, "tag", "v1", first)
    git(worktree, "tag", "-a", "-m", "two", "v2", second)
    collect(repo)
    assert there(repo) == set(kept)
    git(worktree, "tag", "-d", "v1")
    collect(repo)
    assert there(repo) == {kept[1]}


def test_months_of_small_logs(repo: Repo) -> None:
    first = recorded(repo, 0)
    ref = f"refs/gzl/logs/me/{job_month(first.id)}"
    collect(repo)
    assert git(repo.common_dir, "rev-parse", ref), "its branch's newest has its log there"
    last = recorded(repo, 100 * DAILY)
    collect(repo)
    assert git(repo.common_dir, "for-each-ref", "--format=%(refname)", "refs/gzl/logs") == (
        f"refs/gzl/logs/me/{job_month(last.id)}"
    )
    with pytest.raises(UserError, match="removed by retention, with all of"):
        log_store.open_log(repo, first, "build", 1, lambda: objects(repo))
    assert list(check.problems(repo, "me", [first, last], lambda: objects(repo))) == []


def test_unfinished_jobs_are_roots(repo: Repo) -> None:
    digests = {name: stored(repo, name.encode()) for name in ("stored", "report", "reused", "orphan")}
    request = JobRequest(replace(job(5, "me"), state=State.WAITING), {})
    unfinished.create(repo.layout, request)
    reused = {"artifacts": [artifact_data(Artifact("a", "file", digests["reused"], 1))], "tests": None}
    entries = [
        Entry(OLD, "stored", "build", data=artifact_data(Artifact("a", "file", digests["stored"], 1))),
        Entry(OLD, "tested", "build", data=totals_data(Totals(1, report=digests["report"]))),
        Entry(OLD, "reused", "build", data=reused),
    ]
    journal = repo.layout.job(request.record.id).journal
    journal.write_bytes(b"".join(map(to_line, entries)))
    collect(repo)
    assert there(repo) == {digests[name] for name in ("stored", "report", "reused")}
    journal.write_bytes(b"no JSON\n")
    with pytest.raises(UserError, match="nothing was removed"):
        collect(repo, now=NOW + 9 * DAY)


def test_a_ledger_that_cannot_be_read_stops_it(repo: Repo) -> None:
    digest = stored(repo, b"of whom?")
    record = job(0, "me")
    newer = store.to_json(replace(record, schema=99)).decode()
    for text, said in (("{", "not a gzl job record"), (newer, "newer version of gzl")):
        blob = git(repo.common_dir, "hash-object", "-w", "--stdin", stdin=text)
        tree = ""
        for name in reversed([*retention.names.job_path(record.id).split("/"), "job.json"]):
            kind = "100644 blob" if not tree else "040000 tree"
            tree = git(repo.common_dir, "mktree", stdin=f"{kind} {tree or blob}\t{name}\n")
        tip = git(repo.common_dir, "commit-tree", "-m", "x", tree)
        git(repo.common_dir, "update-ref", "refs/gzl/remotes/origin/ledger/other", tip)
        with pytest.raises(UserError, match=f"ledger/other: .*{said}.*nothing was removed"):
            collect(repo)
        assert there(repo) == {digest}


def test_in_a_shared_store_only_what_own_jobs_left_goes(repo: Repo, tmp_path: Path) -> None:
    git(repo.common_dir, "config", "gzl.store", f"fs:{tmp_path}/shared")
    root = tmp_path / "shared" / "sha256"
    mine, unknown = (objects(repo).put(io.BytesIO(data)).digest for data in (b"mine", b"unknown"))
    for digest in (mine, unknown):
        os.utime(root / digest[:2] / digest[2:], (OLD, OLD))
    recorded(repo, 0, mine)
    recorded(repo, 40 * DAILY)
    collect(repo)
    assert there(repo) == {unknown}
    git(repo.common_dir, "config", "gzl.storeShared", "false")
    collect(repo)
    assert there(repo) == set()


def test_what_a_job_has_referred_to_since_stays(repo: Repo) -> None:
    digest = stored(repo, b"again")
    decided = retention.plan(repo, "me", objects(repo), Policy(), NOW, alone=True)
    assert [o.digest for o in decided.orphans] == [digest]
    recorded(repo, 0, digest)
    retention.carry_out(repo, objects(repo), Policy(), decided, NOW)
    assert there(repo) == {digest}


def test_caches_stay_while_they_are_used(repo: Repo) -> None:
    old, large, small, used = (stored(repo, data) for data in (b"old", b"large" * 99, b"small", b"used"))
    for digest, size, days in ((old, 3, 40), (large, 495, 20), (small, 5, 10), (used, 4, 1)):
        caches.keep(repo.layout, "f" * 64, digest, digest=digest, size=size, now=NOW - days * DAY)
    collect(repo)
    assert there(repo) == {large, small, used}
    collect(repo, Policy(cache_size=100))
    assert there(repo) == {small, used}
    assert caches.referenced(repo.layout) == {small, used}


def test_log_files_of_older_versions(repo: Repo) -> None:
    def file(letter: str, number: int) -> Path:
        path = log_store.file_path(repo, letter * 64)
        path.parent.mkdir(parents=True)
        path.write_text(letter)
        os.utime(path, (OLD, OLD))
        assert store.record(repo, "me", with_log(job(number, "me"), LogRef(1, letter * 64, "file")))
        return path

    old, new = file("a", 0), file("b", 40 * DAILY)
    collect(repo)
    assert (old.exists(), new.exists()) == (False, True)


def gc(repo: Repo, *words: str, **env: str) -> "subprocess.CompletedProcess[str]":
    argv = [sys.executable, "-m", "gzl", "-C", str(repo.worktree), "gc", *words]
    return subprocess.run(argv, env={**os.environ, **env}, capture_output=True, text=True, check=False)


def aged(repo: Repo) -> list[str]:
    """Jobs so old that today's command would take what they have, and one that keeps it."""
    found = [stored(repo, data, T0) for data in (b"one" * 1000, b"two" * 500, b"three")]
    days_ago = int((time.time() - T0) / DAY) * DAILY
    for number, digest in enumerate(found[:2]):
        recorded(repo, days_ago - 200 * DAILY + number, digest)
    recorded(repo, days_ago - 10 * DAILY, found[2])
    return found


def test_the_command_says_what_would_go_and_takes_it(repo: Repo, tmp_path: Path) -> None:
    one, two, three = aged(repo)
    repo.layout.manager_log.write_bytes(b"early line\n" * 1_000_000)
    bad = repo.layout.spool / "bad"
    bad.mkdir(parents=True)
    (bad / "event").touch()
    os.utime(bad / "event", (0, 0))
    dry = gc(repo, "--dry-run")
    assert dry.stdout.startswith("main: 2 jobs, 2 objects, 4.4 KiB\n"), dry.stderr
    assert "older than 90 days" in dry.stdout
    assert f"left over: {bad / 'event'}" in dry.stdout
    assert dry.stdout.endswith("4.4 KiB would go, 5 B stay\n")
    assert there(repo) == {one, two, three}
    shown = json.loads(gc(repo, "-n", "--json").stdout)
    assert {o["digest"] for going in shown["jobs"] for o in going["objects"]} == {one, two}
    assert (shown["dry_run"], shown["bytes"], shown["staying"]) == (True, 4500, 5)
    done = gc(repo)
    assert "4.4 KiB removed, 5 B stay" in done.stdout
    assert there(repo) == {three}
    assert not (bad / "event").exists()
    assert repo.layout.manager_log.stat().st_size == 0
    assert (repo.layout.manager_log.parent / "manager.log.1").stat().st_size > 8_000_000
    assert gc(repo, "--auto").stdout == ""
    shown = subprocess.run(
        [sys.executable, "-m", "gzl", "-C", str(repo.worktree), "show", min(retired.read(repo.layout))],
        env=os.environ, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "removed by retention" in shown.stdout


def test_killed_in_between_the_next_one_ends_it(repo: Repo, tmp_path: Path) -> None:
    _, _, three = aged(repo)
    for place, left in (("gc.retired", 3), ("gc.deleted", 2)):
        (tmp_path / "fuse").touch()
        assert gc(repo, GZL_CRASH_AT=f"{place}:{tmp_path / 'fuse'}").returncode == -9
        assert len(there(repo)) == left
        assert len(retired.read(repo.layout)) == 2
    assert gc(repo).returncode == 0
    assert there(repo) == {three}


def test_one_at_a_time(repo: Repo) -> None:
    aged(repo)
    lock = try_lock(repo.layout.gc_lock)
    assert lock is not None
    second = gc(repo)
    assert (second.returncode, "another `gzl gc` is at work" in second.stderr) == (75, True)
    assert gc(repo, "--auto").returncode == 0
    assert len(there(repo)) == 3
    lock.release()


@pytest.mark.parametrize(
    "key, value", [("keepDays", "0"), ("keepDays", "soon"), ("keepJobs", "-1"), ("keepSize", "much")]
)
def test_a_bad_setting_removes_nothing(repo: Repo, key: str, value: str) -> None:
    git(repo.common_dir, "config", f"gzl.{key}", value)
    done = gc(repo)
    assert done.returncode == 2
    assert f"git config gzl.{key}: {value!r}" in done.stderr


def test_managers_start_it_once_a_day(repo: Repo) -> None:
    assert start_gc_if_due(repo, os.environ, time.time()) is None, "a day after it was asked for first"
    now = time.time() + 86401
    git(repo.common_dir, "config", "gzl.gc", "false")
    assert start_gc_if_due(repo, os.environ, now) is None
    git(repo.common_dir, "config", "--unset", "gzl.gc")
    pid = start_gc_if_due(repo, os.environ, now)
    assert pid is not None
    assert os.waitpid(pid, 0)[1] == 0
    assert start_gc_if_due(repo, os.environ, time.time() + 60) is None
