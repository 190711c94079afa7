"""Dependencies on stages of other repositories, up to where something would run: found, refused, and looked up."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
from world import Place, World

from gzl.errors import UserError
from gzl.git import foreign, neighbours
from gzl.git import source as git_source
from gzl.git.repo import Repo, open_repo
from gzl.gzlfile import load
from gzl.managers import foreign as joining
from gzl.managers import jobs
from gzl.managers.foreign import Settled, UnderWay
from gzl.managers.jobs import Asked, Known, Refused
from gzl.model.event import Event, EventKind
from gzl.model.ids import new_job_id
from gzl.model.pipeline import StageRef
from gzl.model.record import JobRecord, StageResult
from gzl.model.request import JobRequest
from gzl.model.result import State
from gzl.notes import store
from gzl.notes.index import open_index
from gzl.records import unfinished


def repository(world: World, name: str, gzlfile: str) -> Place:
    place = world.repository(name)
    place.gzlfile(gzlfile)
    place.commit("first")
    place.git("config", "gzl.writer", name.replace("/", "-"))
    store.seed(repo(place), name.replace("/", "-"), server=False)
    return place


def repo(place: Place) -> Repo:
    return open_repo(place.path)


@pytest.fixture
def lib(world: World) -> Place:
    return repository(world, "lib", "build:\n    make\npackage: build\n    make package\n")


@pytest.fixture
def app(world: World) -> Place:
    return repository(world, "app", "on push: test\ntest: lib//package\n    true\n")


def resolve(place: Place, dependencies: str, branch: str = "main") -> foreign.Foreign:
    stages = load(f"x: {dependencies}\n".encode(), "Gzlfile").stages
    return foreign.resolve(repo(place), stages.values(), branch)


def problem(place: Place, dependencies: str) -> str:
    with pytest.raises(UserError) as caught:
        resolve(place, dependencies)
    return str(caught.value)


def ask(place: Place, ref: str = "refs/heads/main") -> jobs.Answer:
    there = repo(place)
    oid = there.resolve("HEAD") or ""
    source = git_source.read(there, oid)
    assert source is not None
    now = time.time()
    event = Event(EventKind.PUSH, ref, None, oid)
    with open_index(there) as index:
        return jobs.answer(there, Asked(new_job_id(now), event, source, "app", now, 1), index, None)


def record(place: Place, state: State, **stages: State) -> JobRecord:
    """A job of the tip that has ended so; it is recorded."""
    there, now = repo(place), float(int(time.time()))
    commit, tree = there.resolve("HEAD") or "", there.git("rev-parse", "HEAD^{tree}").decode().strip()
    results = {name: StageResult(name, one, outputs={"n": "1"}) for name, one in stages.items()}
    made = JobRecord(
        new_job_id(now), commit, tree, "refs/heads/main", "push", state, place.path.name, now, now, now, stages=results
    )
    store.record(there, place.path.name, made)
    return made


def found(place: Place, *stages: str, trusted: frozenset[str] | None = None) -> Settled | UnderWay | None:
    there = repo(place)
    with open_index(there) as index:
        return joining.find(there, index, there.resolve("HEAD") or "", stages, trusted)


# -- where it is --------------------------------------------------------------------------------------------------


def test_a_repository_is_beside_or_where_configured(world: World, app: Place, lib: Place) -> None:
    assert neighbours.find(repo(app), "lib").repo == repo(lib)
    bare = world.server("tools.git")
    assert neighbours.find(repo(app), "tools").repo == repo(bare)
    assert neighbours.find(repo(bare), "lib").repo == repo(lib), "from a bare one, too"
    repository(world, "elsewhere", "x:\n")
    for url in (str(world.root / "elsewhere"), "elsewhere", f"file://{world.root}/elsewhere"):
        app.git("config", "gzl.repository.lib.url", url)
        there = neighbours.find(repo(app), "lib").repo
        assert there is not None
        assert there.worktree == world.root / "elsewhere"
    app.git("config", "gzl.repository.far/off.url", "git@example.org:far/off.git")
    assert neighbours.find(repo(app), "far/off").url == "git@example.org:far/off.git"


def test_what_is_not_there_says_what_to_configure(world: World, app: Place) -> None:
    assert "`git config gzl.repository.nolib.url PATH`" in problem(app, "nolib//x")
    (world.root / "folder").mkdir()
    assert "no repository 'folder'" in problem(app, "folder//x")
    world.repository("plain")
    assert "gzl is not set up there" in problem(app, "plain//x")
    app.git("config", "gzl.repository.nolib.url", "/nowhere")
    assert "/nowhere is no repository" in problem(app, "nolib//x")


def test_the_branch_is_the_one_named_else_the_jobs_else_head(app: Place, lib: Place) -> None:
    first = lib.git("rev-parse", "HEAD")
    lib.git("checkout", "--quiet", "-b", "topic")
    second = lib.commit("second")
    lib.git("checkout", "--quiet", "main")
    there = repo(lib)
    assert neighbours.tip(there, StageRef("package", "lib"), "topic") == neighbours.Tip("topic", second)
    assert neighbours.tip(there, StageRef("package", "lib"), "other") == neighbours.Tip("main", first)
    assert neighbours.tip(there, StageRef("package", "lib"), "") == neighbours.Tip("main", first)
    assert neighbours.tip(there, StageRef("package", "lib", "topic"), "main").commit == second
    assert "lib has no branch 'nope'" in problem(app, "lib@nope//package")
    assert resolve(app, "lib//package", "topic").tips == {"lib//package": second}


def test_a_stage_that_is_not_there_is_refused_before_anything_runs(world: World, app: Place, lib: Place) -> None:
    assert problem(app, "lib//pakage nolib//x").splitlines()[0] == (
        f"line 1: `lib//pakage`: lib has no stage 'pakage' at main ({lib.git('rev-parse', 'HEAD')[:12]});"
        " it has build, package"
    )
    assert len(problem(app, "lib//pakage nolib//x").splitlines()) == 2, "all of them at once"
    repository(world, "broken", "x y:\n")
    assert "has mistakes" in problem(app, "broken//x")
    lib.git("rm", "--quiet", "Gzlfile")
    lib.commit("none")
    assert "no Gzlfile" in problem(app, "lib//package")


def test_circles_through_repositories_are_found_before_anybody_waits(world: World) -> None:
    one = repository(world, "one", "x: two//y\nfree:\n")
    two = repository(world, "two", "y: three//z\nok: one//free\n")
    repository(world, "three", "z: one//x\n")
    assert "would wait for each other: x → two//y → three//z → one//x → two//y" in problem(one, "two//y")
    assert set(resolve(two, "one//free").stages) == {"one//free"}
    assert set(resolve(one, "two//ok").stages) == {"two//ok"}, "two stages of two repositories, and no circle"


# -- the job ------------------------------------------------------------------------------------------------------


def test_a_foreign_dependency_is_a_stage_of_the_job(app: Place, lib: Place) -> None:
    made = ask(app)
    assert isinstance(made, JobRequest)
    assert list(made.stages) == ["lib//package", "test"]
    assert set(made.record.stages) == {"lib//package", "test"}
    assert "gzl.cli.foreign" in made.stages["lib//package"].steps[0].text


def test_a_job_that_cannot_be_is_refused_with_the_line(world: World, lib: Place) -> None:
    app = repository(world, "app", "on push: test\n\ntest: lib//package nolib//x\n    true\n")
    refused = ask(app)
    assert isinstance(refused, Refused)
    assert ":Gzlfile: line 3: `nolib//x`: no repository 'nolib'" in refused.record.reason


def test_a_verdict_counts_until_the_other_repository_moves_on(app: Place, lib: Place) -> None:
    first = ask(app)
    assert isinstance(first, JobRequest)
    done = replace(first.record, state=State.PASSED, started=1.0, finished=2.0)
    store.record(repo(app), "app", done)
    assert isinstance(ask(app), Known)
    lib.commit("more")
    assert isinstance(ask(app), JobRequest)
    app.git("config", "gzl.repository.lib.url", "git@example.org:lib.git")
    assert isinstance(ask(app), JobRequest), "on another machine it may have moved on"


# -- what there is already ----------------------------------------------------------------------------------------


def test_a_verdict_is_taken_from_any_job_of_the_commit(lib: Place) -> None:
    assert found(lib, "package") is None
    made = record(lib, State.FAILED, build=State.PASSED, package=State.PASSED, test=State.FAILED)
    assert found(lib, "package") == found(lib, "test") == found(lib, "package", "build") == Settled(made)
    assert found(lib, "package", "other") is None
    assert found(lib, "package", trusted=frozenset({"somebody"})) is None
    lib.commit("second")
    assert found(lib, "package") is None


def test_what_says_nothing_is_not_taken(lib: Place) -> None:
    for state in (State.STOPPED, State.LOST, State.SKIPPED):
        record(lib, state, package=state)
        assert found(lib, "package") is None


def test_a_job_that_is_at_it_is_followed(lib: Place) -> None:
    there = repo(lib)
    made = replace(record(lib, State.STOPPED, package=State.STOPPED), id=new_job_id(time.time()), state=State.WAITING)
    waiting = replace(made, stages={"package": StageResult("package"), "deploy": StageResult("deploy")})
    unfinished.create(there.layout, JobRequest(waiting, {}))
    assert found(lib, "package") == UnderWay(waiting.id)
    assert found(lib, "build") is None
    Path(there.layout.job(waiting.id).stop).write_text("somebody")
    assert found(lib, "package") is None
