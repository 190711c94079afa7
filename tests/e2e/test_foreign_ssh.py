"""Stages of a repository on another machine: over a real sshd."""

import time

import pytest
from sshd import Sshd
from world import Place, World


@pytest.fixture
def far(world: World, sshd: Sshd) -> World:
    world.env["GIT_SSH_COMMAND"] = sshd.command
    return world


def repository(world: World, folder: str, gzlfile: str) -> Place:
    (world.root / folder).parent.mkdir(exist_ok=True)
    place = world.repository(folder)
    place.gzlfile(gzlfile)
    place.commit("first")
    place.gzl("init")
    return place


def test_a_stage_of_a_repository_on_another_machine(far: World, sshd: Sshd) -> None:
    lib = repository(far, "there/lib", "package:\n    gzl out version=3; echo $GZL_BRANCH\n")
    app = repository(far, "here/app", "on push: test\ntest: lib//package\n    echo $GZL_IN_LIB_PACKAGE_VERSION\n")
    app.git("config", "gzl.repository.lib.url", sshd.url(lib.path))
    app.git("checkout", "--quiet", "-b", "topic")
    app.gzl("run")
    assert app.gzl("logs", "HEAD/test").stdout == "3\n"
    theirs = lib.show()
    assert app.show()["stages"]["lib//package"]["outputs"] == {
        "version": "3", "commit": theirs["commit"], "job": theirs["id"],
    }  # fmt: skip
    assert lib.gzl("logs", "HEAD/package").stdout == "main\n", "it has no branch topic"
    lib.git("branch", "topic")
    lib.git("checkout", "--quiet", "topic")
    lib.commit("on the topic", file="x")
    lib.git("checkout", "--quiet", "main")
    app.gzl("run")
    taken = app.show()["stages"]["lib//package"]["outputs"]["commit"]
    assert taken == lib.git("rev-parse", "topic"), "it may have moved, so that no earlier verdict counted"


def test_a_circle_over_machines_is_refused_and_nobody_waits_for_ever(far: World, sshd: Sshd) -> None:
    lib = repository(far, "there/lib", "package: app//test\n    true\n")
    app = repository(far, "here/app", "on push: test\ntest: lib//package\n    true\n")
    app.git("config", "gzl.repository.lib.url", sshd.url(lib.path))
    lib.git("config", "gzl.repository.app.url", sshd.url(app.path))
    lib.git("config", "core.sshCommand", sshd.command)  # the far side has an environment of its own
    began = time.monotonic()
    assert app.gzl("run", ok=False).returncode == 1
    assert time.monotonic() - began < 60
    assert "waits for lib//package, which waits for it" in lib.gzl("logs", "HEAD/app//test").stdout
