"""Caches of stages: what is restored, when it is saved, who may, and that nothing that is wrong fails a stage."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from world import Place, World

from gzl.agent.caches import Caches, may_write
from gzl.git.repo import Repo, open_repo
from gzl.kit.mask import Masker
from gzl.model.layout import Layout
from gzl.model.pipeline import Stage
from gzl.model.record import JobRecord
from gzl.model.result import State
from gzl.objects.base import ObjectStore, open_store
from gzl.objects.fs import FsStore
from gzl.records import caches

INSTALL = Stage("install", options={"cache": "node_modules out/x key=package*.json key=*/lock"})


class Cached:
    """A repository, and jobs on its commits that install things."""

    def __init__(self, place: Place, tmp_path: Path) -> None:
        self.place = place
        self.repo: Repo = open_repo(place.path, place.env)
        self.objects = tmp_path / "objects"
        self.store = FsStore(self.objects)
        self.url = ""
        self.tmp = tmp_path / "tmp"
        self.now = 1_700_000_000.0
        self.masker = Masker([])
        self.spaces = 0

    @property
    def layout(self) -> Layout:
        return self.repo.layout

    def opened(self) -> ObjectStore:
        return open_store(self.url, folder=self.objects, cache=None, environ={})

    def job(self, *, event: str = "push", ref: str = "refs/heads/main") -> Caches:
        commit = self.place.git("rev-parse", "HEAD")
        tree = self.place.git("rev-parse", "HEAD^{tree}")
        record = JobRecord("0" * 26, commit, tree, ref, event, State.RUNNING, "writer", self.now)
        return Caches(self.repo, self.opened, record, masker=lambda: self.masker, tmp=self.tmp, clock=lambda: self.now)

    def workspace(self) -> Path:
        self.spaces += 1
        space = self.place.path.parent / f"space{self.spaces}"
        self.place.git("clone", "--quiet", str(self.place.path), str(space))
        return space

    def install(self, text: str = "installed", *, stage: Stage = INSTALL, **job: str) -> str | None:
        """What a stage leaves that passes; what was said about its cache."""
        space = self.workspace()
        (space / "node_modules/left-pad").mkdir(parents=True)
        (space / "node_modules/left-pad/index.js").write_text(text)
        return self.job(**job).save(stage, space)

    def restore(self, *, stage: Stage = INSTALL, **job: str) -> tuple[str | None, str | None]:
        """What was said, and what the next stage finds."""
        space = self.workspace()
        said = self.job(**job).restore(stage, space)
        found = space / "node_modules/left-pad/index.js"
        return said, found.read_text() if found.exists() else None


@pytest.fixture
def cached(world: World, tmp_path: Path) -> Cached:
    place = world.repository()
    place.commit("first", **{"package.json": "{}", "main.js": "1"})
    return Cached(place, tmp_path)


def test_saved_after_a_pass_and_restored_before_the_next(cached: Cached) -> None:
    assert cached.restore() == ("cache node_modules out/x: nothing was saved yet", None)
    assert "saved (" in (cached.install() or "")
    said, found = cached.restore()
    assert found == "installed"
    assert (said or "").startswith("cache node_modules out/x: restored (")
    assert cached.install("other") is None, "of the exact key there is one"
    assert cached.restore()[1] == "installed"
    assert os.listdir(cached.tmp) == []


def test_the_key_is_that_of_the_files(cached: Cached) -> None:
    cached.install("one")
    cached.place.commit("no matter", **{"main.js": "2"})
    assert "restored (" in (cached.restore()[0] or "")
    cached.place.commit("matters", **{"package.json": "{1}"})
    said, found = cached.restore()
    assert "restored the newest, which is of another key" in (said or "")
    assert found == "one"
    cached.now += 1
    assert "saved" in (cached.install("two") or "")
    cached.place.git("update-index", "--chmod=+x", "package.json")
    cached.place.git("commit", "--quiet", "--message", "another mode")
    said, found = cached.restore()
    assert "newest" in (said or "")
    assert found == "two"
    cached.place.git("reset", "--quiet", "--hard", "HEAD~2")
    assert cached.restore()[1] == "one"


def test_without_a_key_every_commit_has_its_own(cached: Cached) -> None:
    stage = replace(INSTALL, options={"cache": "node_modules"})
    assert "saved" in (cached.install("one", stage=stage) or "")
    assert cached.install("again", stage=stage) is None
    cached.place.commit("second", **{"main.js": "2"})
    assert cached.restore(stage=stage)[1] == "one"
    assert "saved" in (cached.install("two", stage=stage) or "")


def test_stages_paths_and_images_have_caches_of_their_own(cached: Cached) -> None:
    cached.install()
    for other in (
        replace(INSTALL, name="other"),
        replace(INSTALL, options={"cache": "node_modules key=package*.json key=*/lock"}),
        replace(INSTALL, options={**INSTALL.options, "image": "node:20"}),
    ):
        assert "nothing was saved" in (cached.restore(stage=other)[0] or "")
    assert cached.restore(stage=replace(INSTALL, name="install[20]", family="install"))[1] == "installed"
    assert cached.job().restore(Stage("plain"), cached.workspace()) is None
    assert cached.job().save(Stage("plain"), cached.workspace()) is None


def test_what_the_commit_has_stays(cached: Cached) -> None:
    cached.install("of the cache")
    (cached.place.path / "node_modules/left-pad").mkdir(parents=True)
    cached.place.commit("committed", **{"node_modules/left-pad/index.js": "of the commit"})
    assert cached.restore()[1] == "of the commit"
    cached.place.git("rm", "--quiet", "-r", "node_modules")
    (cached.place.path / "node_modules").symlink_to("/etc")
    cached.place.commit("a link in its place")
    said, found = cached.restore()
    assert "restored" in (said or "")
    assert found is None
    assert not Path("/etc/left-pad").exists()


@pytest.mark.parametrize("how", ["missing", "damaged", "no archive", "pointer"])
def test_what_is_wrong_with_a_cache_is_said_and_no_failure(cached: Cached, how: str) -> None:
    cached.install("lost")
    (entry,) = caches.all_entries(cached.layout)
    path = cached.store.root / "sha256" / entry.digest[:2] / entry.digest[2:]
    path.chmod(0o600)
    if how == "missing":
        path.unlink()
    elif how == "damaged":
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    elif how == "pointer":
        entry.path.write_text("{")
    else:
        with (cached.place.path / "package.json").open("rb") as file:
            blob = cached.store.put(file)
        entry.path.write_text(entry.path.read_text().replace(entry.digest, blob.digest))
    said, found = cached.restore()
    assert found is None
    assert said is not None
    assert ("nothing was saved" if how == "pointer" else "not restored: ") in said
    assert "\n" not in said
    assert "saved" in (cached.install("anew") or "")
    assert cached.restore()[1] == "anew"


def test_a_store_that_says_no_costs_no_cache(cached: Cached) -> None:
    cached.install()
    cached.url = "ftp://store.example"
    said, found = cached.restore()
    assert "not restored: ftp://store.example" in (said or "")
    assert found is None
    cached.url = ""
    assert cached.restore()[1] == "installed"


def test_what_cannot_be_saved_is_said(cached: Cached) -> None:
    space = cached.workspace()
    assert "left none of these paths" in (cached.job().save(INSTALL, space) or "")
    (space / "out").symlink_to("/usr")
    (space / "node_modules").symlink_to("/etc")
    said = cached.job().save(INSTALL, space) or ""
    assert "not saved" in said
    assert "/etc" in said, "a link that leads out"
    assert "not saved" in (cached.job().save(replace(INSTALL, options={"cache": "out/bin"}), space) or "")
    assert caches.referenced(cached.layout) == set()


def test_a_cache_with_a_secret_in_it_is_not_saved(cached: Cached) -> None:
    cached.masker = Masker([b"s3cret-t0ken"])
    assert "holds the value of a secret" in (cached.install("auth=s3cret-t0ken") or "")
    assert list(cached.store.list()) == []
    assert "saved (" in (cached.install("harmless") or "")


def test_untrusted_refs_read_and_never_write(cached: Cached) -> None:
    for job in (
        {"event": "pull-request"},
        {"ref": "refs/for/main"},
        {"ref": "refs/pull/1/head"},
    ):
        assert "may not write caches" in (cached.install("poison", **job) or "")
    cached.install("clean")
    assert cached.restore(event="pull-request")[1] == "clean"
    cached.place.git("config", "gzl.cacheRefs", "main release/*")
    expected = {"main": True, "release/1": True, "topic": False, "main/x": False}
    for branch, may in expected.items():
        assert may_write(cached.repo, "push", f"refs/heads/{branch}") is may
    assert not may_write(cached.repo, "manual", "HEAD")
    assert not may_write(cached.repo, "pull-request", "refs/heads/main")


def test_times_survive_for_tools_that_compare_them(cached: Cached) -> None:
    space = cached.workspace()
    (space / "node_modules").mkdir()
    (space / "node_modules/x").write_text("x")
    os.utime(space / "node_modules/x", (1_600_000_000, 1_600_000_000))
    cached.job().save(INSTALL, space)
    target = cached.workspace()
    cached.job().restore(INSTALL, target)
    assert (target / "node_modules/x").stat().st_mtime == 1_600_000_000


def test_what_gc_keeps_and_takes(cached: Cached) -> None:
    for number in range(4):
        cached.place.commit("next", **{"package.json": str(number)})
        cached.install(f"version {number}" + "x" * number)
        cached.now += 100
    entries = sorted(caches.all_entries(cached.layout), key=lambda entry: entry.created)
    assert caches.referenced(cached.layout) == {entry.digest for entry in entries}
    cached.place.git("reset", "--quiet", "--hard", "HEAD~3")
    cached.restore()  # uses the oldest

    def prune(max_bytes: int | None, max_age: float | None, *, dry_run: bool) -> list[float]:
        gone = caches.prune(cached.layout, max_bytes=max_bytes, max_age=max_age, now=cached.now, dry_run=dry_run)
        return sorted(entry.created for entry in gone)

    assert prune(None, None, dry_run=False) == []
    assert prune(None, 250, dry_run=True) == [entries[1].created]
    room = entries[0].size + entries[3].size
    assert prune(room, None, dry_run=True) == [entries[1].created, entries[2].created]
    assert len(caches.all_entries(cached.layout)) == 4
    assert prune(room, None, dry_run=False) == [entries[1].created, entries[2].created]
    assert caches.referenced(cached.layout) == {entries[0].digest, entries[3].digest}
