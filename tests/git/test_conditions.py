"""Whether a stage has to run: against a real repository, with what earlier jobs left in its refs and its ledger."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from store_world import T0, commit, git, isolate, repository

from gzl.agent.conditions import Conditions, Decision, Go, Reuse, Unchanged
from gzl.git import source as git_source
from gzl.git.repo import Repo
from gzl.git.snapshot import snapshot
from gzl.gzlfile import load
from gzl.managers.jobs import Answer, Asked, Known, answer, only_failed
from gzl.model.event import Event, EventKind
from gzl.model.ids import new_job_id
from gzl.model.journal import Entry, replay
from gzl.model.pipeline import Stage
from gzl.model.record import Artifact, Attempt, JobRecord, StageResult, Totals
from gzl.model.request import JobRequest, from_bytes, to_bytes
from gzl.model.result import State
from gzl.notes import branches, store
from gzl.notes.index import open_index
from gzl.planning.plan import plan

MAIN = "refs/heads/main"
GZLFILE = """\
env:
    CC = gcc

build [inputs="*.c"]:
    $CC -c *.c
test [inputs="*.c test.*"]: build
    ./test
migrate [paths="*.sql docs/**"]:
    ./migrate
all: migrate
"""
numbers = iter(range(10_000))


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    isolate(monkeypatch, tmp_path)
    made = repository(tmp_path / "repo", name="me")
    commit(work(made), **{"a.c": "int a;", "1.sql": "create", "other": "x"})
    return made


def work(repo: Repo) -> Path:
    assert repo.worktree is not None
    return repo.worktree


def stages(gzlfile: str = GZLFILE) -> Mapping[str, Stage]:
    return load(gzlfile.encode(), "Gzlfile").stages


def job(repo: Repo, at: str = "HEAD", ref: str = MAIN, **said: object) -> JobRecord:
    """A job that waits, for a commit."""
    oid, tree = git(work(repo), "rev-parse", at, f"{at}^{{tree}}").split()
    made = JobRecord(
        new_job_id(T0 + 60 * next(numbers)), oid, tree, ref, "push", State.WAITING, "me", T0,
        stages={name: StageResult(name) for name in stages()},
    )  # fmt: skip
    return replace(made, **said)  # type: ignore[arg-type]


def request(record: JobRecord, gzlfile: str = GZLFILE, **said: object) -> JobRequest:
    parsed = load(gzlfile.encode(), "Gzlfile")
    return replace(JobRequest(record, parsed.stages, parsed.env), **said)  # type: ignore[arg-type]


def decide(repo: Repo, stage: str, record: JobRecord | None = None, gzlfile: str = GZLFILE, *,
           holds: bool = True, **said: object) -> Decision:  # fmt: skip
    record = record or job(repo)
    asked = request(record, gzlfile, **said)
    conditions = Conditions(repo, asked, lambda digest: holds)
    return conditions.decide(asked.stages[stage], record, plan(asked.stages))


def key(repo: Repo, stage: str, record: JobRecord | None = None, gzlfile: str = GZLFILE, **said: object) -> str:
    decision = decide(repo, stage, record, gzlfile, **said)  # type: ignore[arg-type]
    assert isinstance(decision, Go | Reuse), decision
    return decision.key


def passed(repo: Repo, *names: str, record: JobRecord | None = None, writer: str = "me", **said: object) -> JobRecord:
    """Record a job in which these stages ran and passed."""
    record = record or job(repo)
    ran = {
        name: replace(
            StageResult(name, State.PASSED, T0, T0 + 1, 0, (Attempt(1, State.PASSED, T0, T0 + 1, 0),)), **said
        )  # type: ignore[arg-type]
        for name in names
    }
    done = replace(record, state=State.PASSED, finished=T0 + 1, writer=writer, stages={**record.stages, **ran})
    store.record(repo, "me", done, refs=branches.updates(repo, done, done.ref))
    return done


# paths=


def test_a_stage_runs_until_it_has_passed_and_then_when_its_files_change(repo: Repo) -> None:
    assert decide(repo, "migrate") == Go()
    first = passed(repo, "migrate").commit
    commit(work(repo), other="y")
    assert decide(repo, "migrate") == Unchanged(f"unchanged since {first[:7]}")
    commit(work(repo), **{"2.sql": "alter"})
    assert decide(repo, "migrate") == Go()
    passed(repo, "migrate")
    git(work(repo), "rm", "--quiet", "2.sql")
    commit(work(repo))
    assert decide(repo, "migrate") == Go(), "a file that was removed has changed"


def test_a_failure_does_not_count_as_a_pass(repo: Repo) -> None:
    passed(repo, "migrate")
    commit(work(repo), **{"2.sql": "alter"})
    passed(repo, "migrate", state=State.FAILED, exit=1)
    commit(work(repo), other="y")
    assert decide(repo, "migrate") == Go()


def test_a_new_branch_goes_by_its_nearest_ancestor(repo: Repo) -> None:
    start = passed(repo, "migrate").commit
    commit(work(repo), other="y")
    topic = job(repo, ref="refs/heads/topic")
    assert decide(repo, "migrate", topic) == Unchanged(f"unchanged since {start[:7]}")
    assert decide(repo, "migrate", job(repo, ref="refs/tags/v1")) == Unchanged(f"unchanged since {start[:7]}")
    assert decide(repo, "migrate", job(repo, ref="HEAD")) == Unchanged(f"unchanged since {start[:7]}")
    commit(work(repo), **{"2.sql": "alter"})
    newer = passed(repo, "migrate").commit
    assert decide(repo, "migrate", topic) == Unchanged(f"unchanged since {start[:7]}"), "main went on"
    assert decide(repo, "migrate", job(repo, ref="refs/heads/x")) == Unchanged(f"unchanged since {newer[:7]}")
    git(work(repo), "checkout", "--quiet", "-b", "side", start)
    commit(work(repo), **{"3.sql": "drop"})
    assert decide(repo, "migrate", job(repo, ref="refs/heads/side")) == Go()


def test_a_rewritten_branch_runs_what_the_old_line_changed(repo: Repo) -> None:
    start = passed(repo, "migrate").commit
    commit(work(repo), **{"2.sql": "alter"})
    old = passed(repo, "migrate").commit
    git(work(repo), "reset", "--quiet", "--hard", start)
    commit(work(repo), other="z")
    assert decide(repo, "migrate") == Go(), "the alter of the old line may be in force"
    git(work(repo), "reset", "--quiet", "--hard", old)
    git(work(repo), "commit", "--quiet", "--amend", "--message", "amended")
    assert decide(repo, "migrate") == Go()


def test_only_trusted_writers_say_that_it_passed(repo: Repo) -> None:
    record = job(repo, ref="refs/heads/theirs")
    stranger = passed(repo, "migrate", record=record)
    ledger = git(work(repo), "rev-parse", "refs/gzl/ledger/me")
    git(work(repo), "update-ref", "refs/gzl/remotes/origin/ledger/stranger", ledger)
    git(work(repo), "update-ref", "-d", "refs/gzl/ledger/me")
    store.seed(repo, "me", False)
    assert decide(repo, "migrate") == Go()
    git(work(repo), "config", "gzl.trust", "stranger")
    assert decide(repo, "migrate") == Unchanged(f"unchanged since {stranger.commit[:7]}")


def test_a_snapshot_compares_with_its_branch_and_moves_nothing(repo: Repo) -> None:
    first = passed(repo, "migrate").commit
    (work(repo) / "other").write_text("dirty")
    oid, base = snapshot(repo, work(repo))
    assert base == first
    assert decide(repo, "migrate", job(repo, oid, snapshot_of=base)) == Unchanged(f"unchanged since {first[:7]}")
    (work(repo) / "1.sql").write_text("dirty")
    oid, base = snapshot(repo, work(repo))
    dirty = job(repo, oid, snapshot_of=base)
    assert decide(repo, "migrate", dirty) == Go()
    passed(repo, "migrate", record=dirty)
    assert git(work(repo), "rev-parse", "refs/gzl/passed/migrate/main") == first


def test_who_asks_for_a_stage_gets_it(repo: Repo) -> None:
    passed(repo, "migrate")
    assert isinstance(decide(repo, "migrate", job(repo, targets=("migrate",))), Unchanged), "a rule asked"
    assert decide(repo, "migrate", job(repo, targets=("migrate",)), named=True) == Go()
    assert isinstance(decide(repo, "migrate", job(repo, targets=("all",)), named=True), Unchanged)
    assert decide(repo, "migrate", again=True) == Go()


def test_a_group_is_as_unchanged_as_what_it_groups(repo: Repo) -> None:
    record = job(repo)
    assert decide(repo, "all", record) == Go()
    skipped = replay(record, [Entry(T0, "skipped", "migrate", reason="unchanged since 1", data={"unchanged": True})])
    assert isinstance(decide(repo, "all", skipped), Unchanged)


def test_last_and_changed(repo: Repo) -> None:
    first = passed(repo, "migrate").commit
    commit(work(repo), **{"2.sql": "alter", "other": "y"})
    second = passed(repo, "migrate", state=State.FAILED, exit=1).commit
    passed(repo, "build", record=job(repo, ref="refs/heads/x"))
    conditions = Conditions(repo, request(job(repo)), lambda digest: True)
    assert conditions.last("migrate") == (second, first)
    assert conditions.last("build") == ("", "")
    assert conditions.changed("migrate") == ["2.sql", "other"]
    assert conditions.changed("migrate", ["*.sql"]) == ["2.sql"]
    assert conditions.changed("test") is None
    tag = Conditions(repo, request(job(repo, ref="refs/tags/v1")), lambda digest: True)
    assert tag.last("migrate") == ("", "")
    assert tag.changed("migrate", ["*.sql"]) == ["2.sql"]


def test_what_cannot_be_found_out_runs(repo: Repo) -> None:
    passed(repo, "migrate")
    objects = repo.common_dir / "objects"
    tree = git(work(repo), "rev-parse", "HEAD^{tree}")
    commit(work(repo), other="y")
    (objects / tree[:2] / tree[2:]).unlink()
    decision = decide(repo, "migrate")
    assert isinstance(decision, Go) and tree in decision.because
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
        git(work(repo), "config", "gzl.index", "nonsense://")
        assert "gzl.index" in decide(repo, "build").because  # type: ignore[union-attr]


# inputs=


def test_a_pass_is_reused_with_all_that_it_handed_over(repo: Repo) -> None:
    first = decide(repo, "build")
    assert isinstance(first, Go) and len(first.key) == 64
    artifact = Artifact("a.o", "file", "d" * 64, 7)
    earlier = passed(repo, "build", key=first.key, outputs={"size": "7"}, artifacts=(artifact,), tests=Totals(3))
    commit(work(repo), other="y")
    found = decide(repo, "build", job(repo, ref="refs/heads/topic"))
    assert isinstance(found, Reuse)
    assert (found.job.id, found.key, found.reason) == (earlier.id, first.key, f"reused from {earlier.id}")
    entry = Entry(T0, "reused", "build", key=found.key, reason=found.reason, data=found.data)
    result = replay(job(repo), [entry]).stages["build"]
    assert (result.state, result.reused_from, result.outputs) == (State.PASSED, earlier.id, {"size": "7"})
    assert (result.artifacts, result.tests, result.ran) == ((artifact,), Totals(3), False)
    assert decide(repo, "build", again=True) == Go(first.key), "it is run, and may be reused afterwards"
    assert decide(repo, "build", holds=False) == Go(first.key), "its artifacts are gone"
    assert isinstance(decide(repo, "build", job(repo, targets=("build",)), named=True), Reuse)


def test_only_what_counts_changes_the_key(repo: Repo) -> None:
    build, test = key(repo, "build"), key(repo, "test")
    commit(work(repo), other="y", **{"test.sh": "exit"})
    assert (key(repo, "build"), key(repo, "test") == test) == (build, False)
    same = GZLFILE.replace('inputs="*.c"', 'inputs="a.* b.c", timeout=5m, paths=a.c')
    assert key(repo, "build", gzlfile=same) == build
    for changed in (
        GZLFILE.replace("-c *.c", "-O2 -c *.c"),
        GZLFILE.replace("gcc", "clang"),
        GZLFILE.replace('inputs="*.c"]', 'inputs="*.c", shell=bash]'),
        GZLFILE.replace('inputs="*.c"]', 'inputs="*.c", image=gcc:14]'),
    ):
        assert key(repo, "build", gzlfile=changed) != build
    assert key(repo, "build", job(repo, runner="docker")) != build
    (work(repo) / "a.c").chmod(0o755)
    commit(work(repo))
    assert key(repo, "build") != build


def test_what_a_stage_is_given_changes_its_key(repo: Repo) -> None:
    def after(**said: object) -> str:
        record = job(repo)
        built = replace(record.stages["build"], state=State.PASSED, **said)  # type: ignore[arg-type]
        return key(repo, "test", replace(record, stages={**record.stages, "build": built}))

    one, other = (Artifact("a.o", "file", digit * 64, 7) for digit in "12")
    assert after(artifacts=(one,)) == after(artifacts=(one,))
    assert len({after(), after(artifacts=(one,)), after(artifacts=(other,)), after(outputs={"k": "v"})}) == 4


def test_no_key_where_reuse_would_be_a_guess(repo: Repo) -> None:
    assert decide(repo, "build", gzlfile=GZLFILE.replace('inputs="*.c"', 'inputs="src/**"')) == Go()
    stage = replace(stages()["build"], once=True)
    asked = request(job(repo))
    conditions = Conditions(repo, asked, lambda digest: True)
    assert conditions.decide(stage, asked.record, plan(asked.stages)) == Go()


def test_a_pull_request_uses_passes_and_gives_none(repo: Repo) -> None:
    theirs = job(repo, event="pull-request")
    assert decide(repo, "build", theirs) == Go()
    passed(repo, "build", key=key(repo, "build"))
    assert isinstance(decide(repo, "build", theirs), Reuse)


def test_another_combination_of_a_matrix_changes_nothing_for_the_others(repo: Repo) -> None:
    one, two = (f'b [inputs="*.c", matrix.os="{systems}"]:\n    make\n' for systems in ("a", "a b"))
    record = replace(job(repo), stages={"b@a": StageResult("b@a"), "b@b": StageResult("b@b")})
    assert key(repo, "b@a", record, one) == key(repo, "b@a", record, two) != key(repo, "b@b", record, two)


# What a job is made with


def asked(repo: Repo, kind: EventKind = EventKind.PUSH, **said: object) -> Answer:
    oid = git(work(repo), "rev-parse", "HEAD")
    source = git_source.read(repo, oid)
    assert source is not None
    question = Asked(new_job_id(T0 + 60 * next(numbers)), Event(kind, MAIN, None, oid), source, "me", T0, 1)
    with open_index(repo) as index:
        return answer(repo, replace(question, **said), index, None)  # type: ignore[arg-type]


def test_a_revert_is_no_known_verdict_for_who_looks_back(repo: Repo) -> None:
    def pushed(gzlfile: str, sql: str) -> Answer:
        commit(work(repo), Gzlfile="on push: all\n" + gzlfile, **{"1.sql": sql})
        outcome = asked(repo)
        if isinstance(outcome, JobRequest):
            passed(repo, *outcome.stages, record=outcome.record)
        return outcome

    assert isinstance(pushed(GZLFILE, "create"), JobRequest)
    assert isinstance(pushed(GZLFILE, "create"), Known), "the same tree, right after"
    assert isinstance(pushed(GZLFILE, "alter"), JobRequest)
    assert isinstance(pushed(GZLFILE, "create"), JobRequest), "a revert: the migration has to run"
    plain = "all:\n    true\n"
    assert isinstance(pushed(plain, "one"), JobRequest)
    assert isinstance(pushed(plain, "two"), JobRequest)
    assert isinstance(pushed(plain, "one"), Known)


def test_a_request_says_who_wanted_it(repo: Repo) -> None:
    commit(work(repo), Gzlfile="on push: all\n" + GZLFILE)
    found = {
        "push": asked(repo),
        "--stage": asked(repo, EventKind.MANUAL, targets=("migrate",)),
        "--again": asked(repo, EventKind.MANUAL, again=True),
        "cron": asked(repo, EventKind.PUSH, again=True),
    }
    said = {name: (r.again, r.named) for name, r in found.items() if isinstance(r, JobRequest)}
    assert said == {"push": (False, False), "--stage": (False, True), "--again": (True, False), "cron": (False, False)}
    for one in found.values():
        assert isinstance(one, JobRequest)
        read = from_bytes(to_bytes(one), "x")
        assert (read.again, read.named) == (one.again, one.named)


def test_what_is_kept_of_an_earlier_job_brings_what_it_handed_over(repo: Repo) -> None:
    record = job(repo)
    unchanged = StageResult("migrate", State.SKIPPED, skipped_because="unchanged since 1", unchanged=True)
    built = StageResult("build", State.PASSED, exit=0, outputs={"k": "v"}, artifacts=(Artifact("a", "file", "1", 1),))
    earlier = replace(record, stages={**record.stages, "build": built, "migrate": unchanged})
    kept = only_failed(request(record), earlier).record.stages
    assert (kept["migrate"], kept["build"].outputs, kept["build"].artifacts) == (
        unchanged, built.outputs, built.artifacts,
    )  # fmt: skip
    assert kept["test"].state is State.WAITING
