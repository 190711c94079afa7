"""Against real git over a real sshd."""

import subprocess

import pytest
from sshd import Sshd
from world import Place, World

GZLFILE = "on push: build test\nbuild:\n    echo building\ntest: build\n    echo testing\n"


@pytest.fixture
def server(world: World, sshd: Sshd) -> Place:
    world.env["GIT_SSH_COMMAND"] = sshd.command
    return world.server()


def clone(world: World, server: Place, sshd: Sshd, name: str) -> Place:
    place = world.place(name)
    command = ["git", "clone", "--quiet", sshd.url(server.path), str(place.path)]
    subprocess.run(command, env=world.env, check=True, capture_output=True)
    return place


def test_pushed_from_one_clone_and_read_in_another(world: World, server: Place, sshd: Sshd) -> None:
    author, reader = clone(world, server, sshd, "author"), clone(world, server, sshd, "reader")
    author.gzlfile(GZLFILE)
    author.commit("first")
    pushed = author.push()
    assert pushed.stderr == "", "a push says nothing of gzl's when all is well"
    server.settled()
    reader.gzl("init")
    reader.git("fetch")
    reader.git("merge", "--ff-only", "origin/main")
    lines = reader.git("log", "--notes=gzl", "-1").splitlines()
    noted = [line.split() for line in lines if "Notes (gzl)" not in line and line.startswith("    0")]
    assert [words[1] for words in noted] == ["passed", "passed", "passed"]
    assert [words[0][26:] for words in noted] == ["", "/build", "/test"]
    assert reader.gzl("logs", "HEAD/build").stdout == "building\n", "small logs came with the fetch"


def test_a_push_can_wait_for_its_job(world: World, server: Place, sshd: Sshd) -> None:
    author = clone(world, server, sshd, "author")
    author.gzlfile(GZLFILE.replace("echo testing", "echo testing; exit 3"))
    author.commit("first")
    waited = author.sh("git", "push", "-o", "gzl.wait", "origin", "HEAD")
    assert "test  | testing" in waited.stderr
    assert "exit 3" in waited.stderr
    assert server.git("rev-parse", "main") == author.git("rev-parse", "HEAD"), "a failed job never fails the push"


def test_reading_commands_run_on_the_server(world: World, server: Place, sshd: Sshd) -> None:
    author = clone(world, server, sshd, "author")
    author.gzlfile(GZLFILE)
    commit = author.commit("first")
    author.push()
    server.settled()
    assert commit[:7] in author.gzl("list", "--remote", "origin", "main").stdout
    assert author.gzl("logs", "--remote", "origin", "main/test").stdout == "testing\n"


def test_clients_cannot_write_what_is_the_servers(world: World, server: Place, sshd: Sshd) -> None:
    author = clone(world, server, sshd, "author")
    author.gzlfile(GZLFILE)
    author.commit("first")
    author.push()
    server.settled()
    for ref in ("refs/notes/gzl", "refs/gzl/passed/deploy/main", "refs/gzl/live/x", "refs/gzl/server"):
        refused = author.sh("git", "push", "--force", "origin", f"HEAD:{ref}", ok=False)
        assert refused.returncode != 0
        assert ref in refused.stderr


def test_a_follower_sees_the_servers_results_and_its_own_and_sends_them(
    world: World, server: Place, sshd: Sshd
) -> None:
    author = clone(world, server, sshd, "author")
    author.gzlfile(GZLFILE)
    author.commit("first")
    author.push()
    server.settled()
    author.gzl("init")
    author.git("fetch")
    author.gzl("run", "--again")
    shown = author.git("log", "-1")
    assert "Notes (gzl):" in shown
    assert "Notes (gzl-local):" in shown
    assert "push main" in shown
    assert "manual main" in shown
    author.gzl("sync")
    writer = author.git("config", "gzl.writer")
    assert server.git("rev-parse", f"refs/gzl/ledger/{writer}") == author.git("rev-parse", f"refs/gzl/ledger/{writer}")
    assert "manual" in server.gzl("list", "main").stdout
    assert "manual" not in server.note("main"), "a note says what trusted writers say"
