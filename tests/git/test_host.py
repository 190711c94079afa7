"""What a running stage gets when it asks its job: the real host over a real repository, store and journal; only the
workloads are missing, so that each test says itself when a stage begins and ends."""

import io
import os
import tarfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from world import Place, World

from gzl.agent import lease as leases
from gzl.agent.conditions import Conditions
from gzl.agent.desk import Desk
from gzl.agent.host import AgentHost, Means
from gzl.agent.state import Begun, JobState
from gzl.git.repo import Repo, open_repo
from gzl.gzlfile import load
from gzl.jobapi.host import Caller, Refused
from gzl.jobapi.tokens import Tokens
from gzl.kit.clock import system_clock
from gzl.kit.mask import Masker
from gzl.model.ids import new_job_id
from gzl.model.record import JobRecord, StageResult
from gzl.model.request import Added, JobRequest
from gzl.model.result import State
from gzl.objects import opening
from gzl.planning.plan import Plan
from gzl.records import unfinished

GZLFILE = """\
on push: deploy
plan:
    ./plan
build [matrix.os="a b"]: plan
    make
deploy: build
    ./deploy
"""
SECRET = b"correct horse"


class Running:
    """A job whose stages run in the tests' imagination; see `agent.desk.Job`."""

    def __init__(self, repo: Repo, text: str = GZLFILE) -> None:
        stages = load(text.encode(), "Gzlfile").stages
        commit, tree = repo.resolve("HEAD") or "", repo.git("rev-parse", "HEAD^{tree}").decode().strip()
        record = JobRecord(
            new_job_id(time.time()), commit, tree, "refs/heads/main", "push", State.WAITING, "me", time.time(),
            stages={name: StageResult(name) for name in stages},
        )  # fmt: skip
        self.id = record.id
        self.request = JobRequest(record, stages)
        unfinished.create(repo.layout, self.request)
        lease = leases.take(repo.layout.job(record.id))
        assert lease is not None
        self.state = JobState(lease, self.request, [], system_clock)
        self.tokens = Tokens(record.id, b"k" * 32)
        self.lent: list[str] = []
        self.beats: list[str] = []
        self._woken = threading.Event()
        self.desk = Desk(self._woken.set)
        self._over = False
        self._loop = threading.Thread(target=self._serve, daemon=True)
        self._loop.start()
        means = Means(
            repo=repo, tokens=self.tokens, store=lambda of: opening.of(of, {}), masker=lambda: Masker([SECRET]),
            conditions=Conditions(repo, self.request, lambda digest: True), clock=system_clock, shared=True,
        )  # fmt: skip
        self.host = AgentHost(self, self.desk, means)

    def _serve(self) -> None:
        while not self._over:
            self._woken.wait(0.05)
            self._woken.clear()
            self.desk.serve()

    def close(self) -> None:
        self._over = True
        self._loop.join()
        self.desk.close()

    @property
    def record(self) -> JobRecord:
        return self.state.record

    @property
    def plan(self) -> Plan:
        return self.state.plan

    def attempt(self, stage: str) -> int | None:
        begun = self.state.begun.get(stage)
        return begun.number if begun else None

    def begun(self) -> frozenset[str]:
        return frozenset(self.state.stages) - frozenset(self.state.progress.unstarted())

    def tell(self, what: str, stage: str, attempt: int, data: Mapping[str, Any]) -> None:
        self.state.note(what, stage, attempt, data=data)
        self.desk.announce()

    def grow(self, added: Added, stage: str) -> None:
        self.state.grow(added, stage)

    def heartbeat(self, stage: str) -> None:
        self.beats.append(stage)

    def lend(self, stage: str) -> None:
        self.lent.append(stage)

    def take_back(self, stage: str) -> None:
        self.lent.remove(stage)

    def begin(self, stage: str) -> Caller:
        """The stage begins; who then calls from it."""

        def start() -> int:
            self.state.progress.claim([stage])
            number = self.state.next_attempt(stage)
            self.state.start(Begun(stage, number, 0), "")
            return number

        return self.host.caller(self.tokens.issue(stage, self.desk.call(start)))

    def end(self, stage: str, state: State = State.PASSED) -> None:
        def settle() -> None:
            self.state.note("ended", stage, self.state.next_attempt(stage) - 1, state=state)
            self.state.settle(stage, state)
            self.desk.announce()

        self.desk.call(settle)


@pytest.fixture
def place(world: World) -> Place:
    place = world.repository()
    place.gzlfile(GZLFILE)
    place.commit("first", code="x")
    place.git("config", "gzl.writer", "me")
    place.layout.jobs.mkdir(parents=True)
    return place


@pytest.fixture
def repo(place: Place) -> Repo:
    return open_repo(place.path)


@pytest.fixture
def job(repo: Repo) -> Iterator[Running]:
    made = Running(repo)
    yield made
    made.close()


def refused(status: int) -> Any:
    return pytest.raises(Refused, check=lambda error: error.status == status)


# -- who asks -----------------------------------------------------------------------------------------------------


def test_only_an_attempt_that_runs_is_heard(job: Running) -> None:
    caller = job.begin("plan")
    job.host.heartbeat(caller)
    assert job.beats == ["plan"]
    with refused(401):
        job.host.caller("plan.1.forged")
    job.end("plan")
    with refused(410):
        job.host.caller(job.tokens.issue("plan", 1))
    with refused(410):
        job.host.out(caller, {"a": "1"})
    assert job.record.stages["plan"].outputs == {}


# -- values and waiting -------------------------------------------------------------------------------------------


def test_outputs_are_told_masked_and_survive_the_agent(job: Running, repo: Repo) -> None:
    caller = job.begin("plan")
    job.host.out(caller, {"url": "http://x", "key": "it is correct horse", "bytes": "\udcff"})
    told = {"url": "http://x", "key": "it is ***", "bytes": "\udcff"}
    assert job.host.outcome(caller, "plan").outputs == told
    assert unfinished.read(repo.layout, job.id).stages["plan"].outputs == told
    with refused(404):
        job.host.outcome(caller, "paln")


def test_waiting_ends_with_the_output_with_the_stage_or_with_time(job: Running) -> None:
    job.begin("plan")
    job.end("plan")
    one, other = job.begin("build@a"), job.begin("build@b")
    assert job.host.wait(one, "build@b", None, 0.01).state == "running"
    said: list[str] = []
    waiting = threading.Thread(target=lambda: said.append(job.host.wait(one, "build@b", "port", 20).outputs["port"]))
    waiting.start()
    while job.lent != ["build@a"]:
        time.sleep(0.005)
    job.host.out(other, {"port": "80"})
    waiting.join(5)
    assert said == ["80"]
    assert job.lent == [], "the slot that it lent is its own again"
    waiting = threading.Thread(target=lambda: said.append(job.host.wait(one, "build@b", None, 20).state))
    waiting.start()
    job.end("build@b", State.FAILED)
    waiting.join(5)
    assert said == ["80", "failed"]
    assert job.host.wait(one, "plan", "never", 20).state == "passed", "it will not tell any more"


def test_waiting_for_each_other_is_refused(job: Running) -> None:
    caller = job.begin("plan")
    with refused(409):
        job.host.wait(caller, "deploy", None, 20)
    with pytest.raises(Refused, match="plan → deploy → build@a → plan"):
        job.host.wait(caller, "deploy", None, 20)
    assert job.lent == []


def test_a_stage_that_was_lost_and_is_tried_again_is_waited_for(job: Running) -> None:
    job.begin("plan")
    job.end("plan")
    one = job.begin("build@a")
    job.begin("build@b")
    job.desk.call(lambda: job.state.note("ended", "build@b", 1, state=State.LOST))
    assert job.host.wait(one, "build@b", None, 0.01).state == "waiting"


def test_whoever_waits_goes_when_the_api_closes(job: Running) -> None:
    job.begin("plan")
    job.end("plan")
    one = job.begin("build@a")
    job.begin("build@b")
    job.host.release()
    began = time.monotonic()
    job.host.wait(one, "build@b", None, 20)
    assert time.monotonic() - began < 5


# -- stages -------------------------------------------------------------------------------------------------------


def test_stages_are_added_in_the_journal_and_in_the_plan(job: Running, repo: Repo) -> None:
    caller = job.begin("plan")
    assert job.host.add_stages(caller, b"one:\n    true\ntwo: one\n    true\n", ["build"]) == ["one", "two"]
    assert set(unfinished.read(repo.layout, job.id).stages) == {"plan", "build@a", "build@b", "deploy", "one", "two"}
    assert job.host.add_stages(caller, b"one:\n    true\ntwo: one\n    true\n", ["build"]) == ["one", "two"]
    entries = [entry.what for entry in unfinished.journal(repo.layout, job.id)]
    assert entries.count("added") == 1, "a stage that is started again adds the same again"
    job.end("plan")
    assert job.state.progress.pop() == "one"
    assert job.state.progress.pop() is None


def test_a_fragment_that_cannot_be_is_refused_and_changes_nothing(job: Running) -> None:
    caller = job.begin("plan")
    for fragment, before, status in ((b"x y:\n", [], 422), (b"x: z\n", [], 422), (b"x: deploy\n", ["deploy"], 409),
                                     (b"x:\n", ["plan"], 409), (b"x: nowhere//y\n", [], 422)):  # fmt: skip
        with refused(status):
            job.host.add_stages(caller, fragment, before)
    assert set(job.plan.stages) == {"plan", "build@a", "build@b", "deploy"}


# -- what a stage says --------------------------------------------------------------------------------------------


def test_progress_and_comments(job: Running, repo: Repo) -> None:
    caller = job.begin("plan")
    for done in range(1000):
        job.host.progress(caller, done, 1000, "correct horse")
    job.host.progress(caller, 1000, 1000, "done")
    job.host.comment(caller, "see correct horse\n")
    journal = unfinished.journal(repo.layout, job.id)
    advanced = [entry for entry in journal if entry.what == "advanced"]
    assert len(advanced) < 100, "not a line for each file of a million"
    assert advanced[0].data == {"done": 0, "total": 1000, "text": "***"}
    assert job.record.stages["plan"].attempts[-1].advance is not None
    said = next(entry.data for entry in journal if entry.what == "comment")
    assert said is not None
    assert (said["text"], said["stage"], said["job"]) == ("see ***", "plan", job.id)


def test_test_reports_add_up_and_one_takes_the_place_of_its_like(job: Running, repo: Repo) -> None:
    caller = job.begin("plan")
    case = '<testcase classname="c" name="{}" time="{}">{}</testcase>'

    def report(name: str, *cases: str) -> Any:
        return job.host.report(caller, name, io.BytesIO(f"<testsuite>{''.join(cases)}</testsuite>".encode()))

    failing = case.format("b", 2, '<failure message="correct horse"/>')
    said = report("unit.xml", case.format("a", 1, ""), failing, case.format("c", 0, "<skipped/>"))
    assert (said.tests, said.failures, said.skipped, said.seconds) == (3, 1, 1, 3.0)
    report("flow.xml", case.format("d", 4, ""))
    report("unit.xml", case.format("a", 1, ""))
    totals = job.record.stages["plan"].tests
    assert totals is not None
    assert (totals.passed, totals.failed, totals.skipped, totals.seconds) == (2, 0, 0, 5.0)
    with opening.of(repo, {}).get(totals.report) as kept:
        assert b"horse" not in kept.read()
    with refused(422):
        job.host.report(caller, "x.xml", io.BytesIO(b"<html/>"))


# -- artifacts ----------------------------------------------------------------------------------------------------


def test_files_and_folders_are_handed_on(job: Running, tmp_path: Path) -> None:
    plan = job.begin("plan")
    (tmp_path / "bin").write_bytes(b"\x7fELF")
    (tmp_path / "bin").chmod(0o755)
    (tmp_path / "dist/sub").mkdir(parents=True)
    (tmp_path / "dist/sub/a").write_text("a")
    job.host.store_path(plan, tmp_path / "bin", "app")
    job.host.store_path(plan, tmp_path / "dist", "dist")
    job.end("plan")
    build = job.begin("build@a")
    app, dist = job.host.find(build, "app", None), job.host.find(build, "dist", "plan")
    job.host.fetch_to(build, app, tmp_path / "got/app")
    job.host.fetch_to(build, dist, tmp_path / "got/dist")
    assert (tmp_path / "got/app").read_bytes() == b"\x7fELF"
    assert os.access(tmp_path / "got/app", os.X_OK)
    assert (tmp_path / "got/dist/sub/a").read_text() == "a"
    with job.host.open(build, dist) as tar, tarfile.open(fileobj=tar) as members:
        assert "sub/a" in members.getnames()


def test_streams_are_taken_from_where_there_is_no_shared_disk(job: Running) -> None:
    plan = job.begin("plan")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("empty"))
    packed.seek(0)
    job.host.store_stream(plan, "tree", packed, "tree", 0o755)
    job.host.store_stream(plan, "file", io.BytesIO(b"text"), "file", 0o640)
    found = job.host.find(plan, "file", None)
    assert (found.kind, found.mode, found.size) == ("file", 0o640, 4)
    with job.host.open(plan, found) as content:
        assert content.read() == b"text"
    assert job.host.find(plan, "tree", None).kind == "tree"


def test_what_holds_a_secret_is_not_stored(job: Running, tmp_path: Path) -> None:
    plan = job.begin("plan")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/config").write_bytes(b"x" * 5_000_000 + SECRET)
    for attempt in (
        lambda: job.host.store_path(plan, tmp_path / "tree", "tree"),
        lambda: job.host.store_path(plan, tmp_path / "tree/config", "config"),
        lambda: job.host.store_stream(plan, "s", io.BytesIO(b"y" + SECRET), "file", 0o644),
    ):
        with pytest.raises(Refused, match="holds the value of a secret"):
            attempt()
    assert job.record.stages["plan"].artifacts == ()


def test_whose_artifact_is_meant(job: Running) -> None:
    def store(caller: Caller, name: str, data: bytes) -> None:
        job.host.store_stream(caller, name, io.BytesIO(data), "file", 0o644)

    plan = job.begin("plan")
    store(plan, "log", b"plan")
    store(plan, "same", b"same")
    job.end("plan")
    for stage in ("build@a", "build@b"):
        caller = job.begin(stage)
        store(caller, "log", stage.encode())
        store(caller, "same", b"same")
        job.end(stage)
    deploy = job.begin("deploy")
    with pytest.raises(Refused, match="stored by build@a and build@b; say whose: --from build@a"):
        job.host.find(deploy, "log", None)
    assert job.host.find(deploy, "log", "build@b").stage == "build@b"
    assert job.host.find(deploy, "log", "plan").stage == "plan"
    assert job.host.find(deploy, "same", None).size == 4, "it is the same, whoever stored it"
    with pytest.raises(Refused, match="so far there is log, same"):
        job.host.find(deploy, "lgo", None)
    with refused(404):
        job.host.find(deploy, "log", "nowhere")


def test_artifacts_of_an_earlier_job_by_its_id_or_its_commit(job: Running, repo: Repo, place: Place) -> None:
    job.host.store_stream(job.begin("plan"), "old", io.BytesIO(b"old"), "file", 0o644)
    later = Running(repo)
    caller = later.begin("plan")
    for source in (job.id, job.id[:24], "HEAD", place.git("rev-parse", "HEAD")):
        assert later.host.find(caller, "old", source).job == job.id
    with refused(404):
        later.host.find(caller, "old", None)
    later.close()


def test_what_is_gone_or_cannot_be_is_said(job: Running, repo: Repo, tmp_path: Path) -> None:
    plan = job.begin("plan")
    with refused(404):
        job.host.store_path(plan, tmp_path / "nothing", "x")
    os.mkfifo(tmp_path / "fifo")
    with refused(422):
        job.host.store_path(plan, tmp_path / "fifo", "x")
    stored = job.host.store_stream(plan, "gone", io.BytesIO(b"gone"), "file", 0o644)
    opening.of(repo, {}).delete(stored.digest)
    with refused(404):
        job.host.fetch_to(plan, job.host.find(plan, "gone", None), tmp_path / "target")


# -- what was before ----------------------------------------------------------------------------------------------


def test_last_run_and_what_changed_since(job: Running, place: Place, repo: Repo) -> None:
    caller = job.begin("plan")
    assert job.host.last_run(caller, None, passed=False) is None
    assert job.host.changed(caller, None, []) == ["Gzlfile", "code"], "nothing to compare with: all of it"
    assert job.host.changed(caller, None, ["co*"]) == ["code"]
    first = place.git("rev-parse", "HEAD")
    place.git("update-ref", "refs/gzl/passed/plan/main", first)
    place.git("update-ref", "refs/gzl/last/plan/main", first)
    place.commit("second", other="y")
    later = Running(repo)
    caller = later.begin("plan")
    assert later.host.last_run(caller, None, passed=True) == later.host.last_run(caller, "plan", passed=False) == first
    assert later.host.changed(caller, None, []) == ["other"]
    assert later.host.changed(caller, "plan", ["co*"]) == []
    later.close()
