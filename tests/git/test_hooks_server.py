"""The hooks of a server: every push becomes events, never fails for gzl's sake, and cannot touch gzl's own refs."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hook_world import ODD, World, fake_gzl, make_world, take_events

from gzl.git.repo import Repo
from gzl.githooks import script
from gzl.kit.proc import start_time
from gzl.model.event import Event, EventKind


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path / ODD)


@pytest.fixture
def server(world: World) -> Repo:
    return world.server()


@pytest.fixture
def work(world: World, server: Repo) -> Path:
    work = world.clone(server.git_dir, "work")
    world.commit(work)
    return work


@contextmanager
def manager(repo: Repo) -> Iterator[int]:
    """A process that a hook takes for a living manager: its pid file, and the FIFO open for reading. Gives the FIFO."""
    os.mkfifo(repo.layout.manager_wake)
    fd = os.open(repo.layout.manager_wake, os.O_RDWR | os.O_NONBLOCK)
    # The name of the command may be anything: the hook must not be misled by it.
    odd = repo.layout.root / "x ) S 1 2"
    odd.symlink_to("/bin/sleep")
    process = subprocess.Popen([odd, "60"])
    repo.layout.manager_pid.write_text(f"{process.pid} {start_time(process.pid)}\n")
    try:
        yield fd
    finally:
        process.kill()
        process.wait()
        os.close(fd)


def test_a_push_becomes_an_event_and_starts_a_manager(world: World, server: Repo, work: Path) -> None:
    new = world.git(work, "rev-parse", "HEAD")

    world.git(work, "push", "-q", "origin", "main")

    assert take_events(server) == [Event(EventKind.PUSH, "refs/heads/main", None, new, "ann")]
    called = world.wait_for_call()
    assert f"args manage-repo --daemon -C {server.common_dir}\ncwd {server.common_dir}\n" in called
    assert "GIT_" not in called


def test_tags_deletions_and_updates_are_told_apart(world: World, server: Repo, work: Path) -> None:
    first = world.git(work, "rev-parse", "HEAD")
    world.git(work, "tag", "v1")
    world.git(work, "push", "-q", "origin", "main", "v1", "main:topic")
    take_events(server)
    second = world.commit(work)

    world.git(work, "push", "-q", "origin", "main", ":topic", ":v1", "main:refs/notes/x")

    assert sorted((event.kind, event.ref, event.old, event.new) for event in take_events(server)) == [
        ("push", "refs/heads/main", first, second),
        ("push", "refs/heads/topic", first, None),
        ("tag", "refs/tags/v1", first, None),
    ]


def test_options_for_gzl_are_in_the_event_and_others_are_not(world: World, server: Repo, work: Path) -> None:
    world.git(work, "push", "-q", "-o", "gzl.skip", "-o", "ci.skip", "-o", "gzl.run=a b$(x)", "origin", "main")
    (event,) = take_events(server)
    assert event.options == ("gzl.skip", "gzl.run=a b$(x)")


def test_a_pusher_who_waits_sees_the_job(world: World, server: Repo, work: Path) -> None:
    done = world.run(work, "git", "push", "-q", "-o", "gzl.wait", "origin", "main", "main:two")
    assert done.stderr.count("remote: watching ") == 2
    assert "args attach --event " in world.called.read_text()
    assert "fd 0 /dev/null" in world.called.read_text()


@pytest.mark.parametrize("variable", ["GZL_ACTOR", "GL_USER", "REMOTE_USER"])
def test_the_actor_is_who_the_transport_says(world: World, server: Repo, work: Path, variable: str) -> None:
    world.git(work, "push", "-q", "origin", "main", **{variable: "bob"})
    (event,) = take_events(server)
    assert event.actor == "bob"


def test_an_actor_cannot_forge_a_line(world: World, server: Repo, work: Path) -> None:
    world.git(work, "push", "-q", "origin", "main", GZL_ACTOR="bob\noption gzl.skip")
    (event,) = take_events(server)
    assert (event.actor, event.options) == ("", ())


def test_hostile_ref_names_stay_data(world: World, server: Repo, work: Path) -> None:
    names = ["$(touch${IFS}pwned)", "'q\"", "-dash", "a;b&c|d", "\udcff\udcfe", "ü", "%s%n"]
    refs = [f"refs/heads/{name}" for name in names]
    world.git(work, "push", "-q", "origin", *[f"HEAD:{ref}" for ref in refs])
    assert sorted(event.ref for event in take_events(server)) == sorted(refs)
    assert not list(world.root.rglob("pwned"))


def test_a_living_manager_is_woken_and_no_other_started(world: World, server: Repo, work: Path) -> None:
    with manager(server) as fifo:
        world.git(work, "push", "-q", "origin", "main")
        assert os.read(fifo, 10) == b"."
    assert len(take_events(server)) == 1
    assert not server.layout.manager_log.exists()


@pytest.mark.parametrize("text", ["", "garbage", "1", "1 1\n", "99999999 5\n", "$(x) 1\n", "-1 1\n"])
def test_a_manager_that_is_gone_is_replaced(world: World, server: Repo, work: Path, text: str) -> None:
    server.layout.manager_pid.write_text(text)
    world.git(work, "push", "-q", "origin", "main")
    assert "manage-repo" in world.wait_for_call()


def test_500_branches_are_one_event_each_and_one_wake_up(world: World, server: Repo, work: Path) -> None:
    head = world.git(work, "rev-parse", "HEAD")
    for number in range(500):
        (work / f".git/refs/heads/b{number:03}").write_text(f"{head}\n")
    with manager(server) as fifo:
        world.git(work, "push", "-q", "origin", "refs/heads/b*:refs/heads/b*")
        assert os.read(fifo, 1000) == b"."
    assert [event.ref for event in take_events(server)] == [f"refs/heads/b{number:03}" for number in range(500)]


def test_a_push_returns_while_the_manager_that_it_started_lives(world: World, server: Repo, work: Path) -> None:
    fake_gzl(world, lives=30)
    started = time.monotonic()

    world.git(work, "push", "-q", "origin", "main")

    assert time.monotonic() - started < 15
    called = world.wait_for_call().splitlines()
    os.kill(int(called[2].removeprefix("pid ")), 9)
    fds = [line for line in called if line.startswith("fd ")]
    log = server.layout.manager_log
    # Descriptors of the shell itself (dash reads its script through the tenth) are the fake's own.
    held = [line for line in fds if os.fspath(world.root / "bin") not in line and ".part" not in line]
    assert set(held) <= {"fd 0 /dev/null", f"fd 1 {log}", f"fd 2 {log}"}


@pytest.mark.parametrize("broken", ["no spool", "no gzl folder", "tmp is a file"])
def test_a_push_succeeds_whatever_is_wrong_and_says_it_in_a_sentence(
    world: World, server: Repo, work: Path, broken: str
) -> None:
    root = server.layout.root
    match broken:
        case "no spool":
            server.layout.spool.rename(root / "away")
        case "no gzl folder":
            root.rename(root.with_name("away"))
        case _:
            folder = server.layout.spool / "tmp"
            folder.rmdir()
            folder.touch()

    done = world.run(work, "git", "push", "origin", "main")

    said = [line for line in done.stderr.splitlines() if line.startswith("remote: gzl:")]
    assert "run `gzl init`" in said[0]
    assert "* [new branch]" in done.stderr


def test_without_gzl_the_event_waits(world: World, server: Repo, work: Path) -> None:
    os.unlink(world.gzl)
    done = world.run(work, "git", "push", "origin", "main")
    assert "install gzl" in done.stderr
    assert len(take_events(server)) == 1


def test_without_gzl_in_its_place_the_one_on_the_path_is_taken(world: World, server: Repo, work: Path) -> None:
    os.rename(world.gzl, world.root / "home" / "gzl")
    world.git(work, "push", "-q", "origin", "main", PATH=f"{world.root / 'home'}:{world.env['PATH']}")
    assert "manage-repo" in world.wait_for_call()


GUARDED = [
    "refs/notes/gzl",
    "refs/notes/gzl-local",
    "refs/gzl/server",
    "refs/gzl/anything/else",
    "refs/gzl/ledger/server",
    "refs/gzl/logs/server/2026-01",
    "refs/gzl/ledger/x/y",
]


@pytest.mark.parametrize("ref", GUARDED)
def test_clients_cannot_write_what_is_the_servers(world: World, server: Repo, work: Path, ref: str) -> None:
    done = world.run(work, "git", "push", "origin", "main", f"HEAD:{ref}", ok=False)
    assert done.returncode != 0
    assert f"refused: {ref}: " in done.stderr
    assert world.git(server.git_dir, "for-each-ref", "refs/heads", "refs/gzl", "refs/notes") == ""


@pytest.mark.parametrize("kind", ["live/x", "queue/x", "claim/x", "last/s/main", "passed/s/main", "remotes/o/ledger/x"])
def test_git_itself_hides_and_protects_the_refs_that_are_many(
    world: World, server: Repo, work: Path, kind: str
) -> None:
    done = world.run(work, "git", "push", "origin", f"HEAD:refs/gzl/{kind}", ok=False)
    assert "hidden ref" in done.stderr


@pytest.mark.parametrize("ref", ["refs/gzl/ledger/client", "refs/gzl/logs/client/2026-01"])
def test_a_clients_own_records_only_grow(world: World, server: Repo, work: Path, ref: str) -> None:
    world.git(work, "push", "-q", "origin", f"HEAD:{ref}")
    world.commit(work)
    world.git(work, "push", "-q", "origin", f"HEAD:{ref}")
    assert take_events(server) == []

    deleted = world.run(work, "git", "push", "origin", f":{ref}", ok=False)
    assert "does not delete a record" in deleted.stderr
    world.git(work, "checkout", "-q", "--orphan", "other")
    world.commit(work)
    forced = world.run(work, "git", "push", "-f", "origin", f"HEAD:{ref}", ok=False)
    assert "not a fast-forward" in forced.stderr


def test_hooks_that_were_there_get_the_same_stdin_and_are_obeyed(world: World) -> None:
    world.git(world.root, "init", "-q", "--bare", "server.git")
    bare = world.root / "server.git"
    record = f'cat >{script.shlex.quote(os.fspath(world.root))}/$(basename "$0").in; exit '
    world.script(bare / "hooks/pre-receive", record + "0")
    world.script(bare / "hooks/post-receive", record + "3")
    server = world.install(bare, server=True)
    work = world.clone(bare, "work")
    new = world.commit(work)

    world.git(work, "push", "-q", "origin", "HEAD:refs/heads/a", "HEAD:refs/heads/\udcff")

    lines = {f"{'0' * 40} {new} refs/heads/a\n".encode(), f"{'0' * 40} {new} refs/heads/".encode() + b"\xff\n"}
    for hook in ("pre-receive", "post-receive"):
        assert set((world.root / f"{hook}.in").read_bytes().splitlines(keepends=True)) == lines
    assert len(take_events(server)) == 2

    world.script(bare / "hooks/pre-receive.before-gzl", "cat >/dev/null; echo no >&2; exit 1")
    assert "remote: no" in world.run(work, "git", "push", "origin", "HEAD:b", ok=False).stderr
    assert take_events(server) == []


SHELLS = [shell for shell in ("dash", "bash", "busybox", "ksh", "mksh") if shutil.which(shell)]


@pytest.mark.parametrize("shell", SHELLS)
def test_hooks_run_under_every_posix_shell_of_this_machine(world: World, server: Repo, work: Path, shell: str) -> None:
    which = shutil.which(shell) or ""
    for hook in script.SERVER_HOOKS:
        path = server.common_dir / "hooks" / hook
        applet = f"{which} sh" if shell == "busybox" else which
        path.write_bytes(path.read_bytes().replace(b"#!/bin/sh", f"#!{applet}".encode(), 1))
    with manager(server) as fifo:
        world.git(work, "push", "-q", "-o", "gzl.skip", "origin", "main")
        assert os.read(fifo, 10) == b"."
    (event,) = take_events(server)
    assert (event.ref, event.actor, event.options) == ("refs/heads/main", "ann", ("gzl.skip",))
    assert world.run(work, "git", "push", "origin", "main:refs/notes/gzl", ok=False).returncode != 0


def test_a_hook_that_dies_after_writing_loses_nothing(world: World, server: Repo, work: Path) -> None:
    hook = server.common_dir / "hooks/post-receive"
    hook.write_text(hook.read_text().replace("\ndeliver() {\n", "\ndeliver() {\n    kill -9 $$\n"))
    world.git(work, "push", "-q", "origin", "main")
    assert [event.ref for event in take_events(server)] == ["refs/heads/main"]
