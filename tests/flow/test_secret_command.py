"""`gzl secret` as people and scripts use it, here and over SSH."""

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest
from sshd import Sshd
from world import Place, World

VALUE = "correct horse battery staple"


@pytest.fixture
def repo(world: World) -> Place:
    place = world.repository()
    place.commit("first")
    place.gzl("init")
    return place


def _set(place: Place, name: str, *options: str, value: str = VALUE, ok: bool = True) -> str:
    done = place.sh("gzl", "secret", "set", name, *options, stdin=value, ok=ok)
    return done.stdout + done.stderr


def test_set_list_remove(repo: Place) -> None:
    said = _set(repo, "deploy-key", "--branch", "main", "--branch", "release/*", value=f"{VALUE}\n")
    assert "as $deploy_key, on branches main release/*" in said
    _set(repo, "TOKEN")
    listed = repo.gzl("secret", "list").stdout
    assert [line.split("  ")[:2] for line in listed.splitlines()] == [
        ["TOKEN", ""],
        ["deploy-key", "main release/*"],
    ]
    data = json.loads(repo.gzl("secret", "list", "--json").stdout)
    assert [(item["name"], item["variable"], item["branches"]) for item in data] == [
        ("TOKEN", "TOKEN", []),
        ("deploy-key", "deploy_key", ["main", "release/*"]),
    ]
    kept = json.loads((repo.layout.secrets / "deploy-key").read_text())
    assert kept["value"] == VALUE, "one line end at the end is not part of it"
    assert VALUE not in said + listed + json.dumps(data)
    repo.gzl("secret", "remove", "TOKEN")
    assert "deploy-key" in repo.gzl("secret", "list").stdout
    missing = repo.gzl("secret", "remove", "TOKEN", ok=False)
    assert missing.returncode == 2
    assert "no such secret" in missing.stderr


def test_nothing_of_it_is_in_git(repo: Place) -> None:
    _set(repo, "token")
    found = [p for p in (repo.path / ".git").rglob("*") if p.is_file() and VALUE.encode() in p.read_bytes()]
    assert found == [repo.layout.secrets / "token"]


def test_a_short_value_is_kept_with_a_warning(repo: Place) -> None:
    assert "will NOT be masked" in _set(repo, "pin", value="1234")
    assert "not masked" in repo.gzl("secret", "list").stdout


def test_bad_values_are_refused(repo: Place) -> None:
    assert "the value is empty" in _set(repo, "token", value="\n", ok=False)
    assert "NUL byte" in _set(repo, "token", value="a\0bcdefgh", ok=False)
    assert repo.gzl("secret", "list").stdout == ""


def test_asked_for_twice_without_echo_on_a_terminal(repo: Place) -> None:
    leader, follower = pty.openpty()
    asked = subprocess.Popen(
        ["gzl", "secret", "set", "token"],
        cwd=repo.path, env=repo.env, stdin=follower, stdout=follower, stderr=follower, start_new_session=True,
        preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),  # makes it the controlling terminal
    )  # fmt: skip
    os.close(follower)
    shown = b""
    for _ in range(2):
        while not shown.endswith(b": "):
            shown += os.read(leader, 1024)
        os.write(leader, f"{VALUE}\n".encode())
        shown += b"\n"
    assert asked.wait(30) == 0
    shown += os.read(leader, 4096)
    assert VALUE.encode() not in shown
    assert b"token: set" in shown
    assert json.loads((repo.layout.secrets / "token").read_text())["value"] == VALUE
    os.close(leader)


def test_kept_on_a_server_over_ssh(world: World, sshd: Sshd, tmp_path: Path) -> None:
    world.env["GIT_SSH_COMMAND"] = sshd.command
    server = world.server()
    here = world.repository("here")
    here.git("remote", "add", "origin", sshd.url(server.path))
    _set(here, "token", "--remote", "origin", "--branch", "main")
    assert json.loads((server.layout.secrets / "token").read_text())["value"] == VALUE
    assert "main" in here.gzl("secret", "list", "--remote", "origin").stdout
    here.gzl("secret", "remove", "--remote=origin", "token")
    assert server.gzl("secret", "list").stdout == ""
