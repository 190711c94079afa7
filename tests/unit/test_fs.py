"""Files in folders that a workload can write to: only plain ones are read."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from gzl.errors import UserError
from gzl.kit.fs import append, open_regular, read_regular, regular_size
from gzl.runners.attempt import read_rc, read_steps


def link_to_a_secret(path: Path) -> None:
    secret = path.with_name("secret")
    secret.write_text("root:x:0:0")
    path.symlink_to(secret)


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.fspath(path))


TRICKS: dict[str, Callable[[Path], None]] = {
    "a symbolic link": link_to_a_secret,
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a dangling link": lambda path: path.symlink_to("nowhere"),
    "a FIFO": lambda path: os.mkfifo(path),
    "a folder": lambda path: path.mkdir(),
    "a socket": a_socket,
}


@pytest.mark.parametrize("trick", TRICKS)
def test_what_is_no_plain_file_is_refused_at_once(tmp_path: Path, trick: str) -> None:
    for name in ("log", "rc", "steps"):
        TRICKS[trick](tmp_path / name)
        for read in (open_regular, lambda path: read_regular(path, 10), regular_size, lambda path: append(path, b"x")):
            with pytest.raises(UserError, match=f"{name}: was replaced"):
                read(tmp_path / name)
        assert read_regular(tmp_path / "secret", 99) in (None, b"root:x:0:0")
        (tmp_path / "secret").unlink(missing_ok=True)
    for of_attempt in (read_rc, read_steps):
        with pytest.raises(UserError, match="was replaced"):
            of_attempt(tmp_path)


def test_a_device_is_refused() -> None:
    with pytest.raises(UserError, match="was replaced"):
        open_regular(Path("/dev/zero"))


def test_plain_files_are_read_up_to_a_limit(tmp_path: Path) -> None:
    (tmp_path / "rc").write_bytes(b"0 12\n")
    assert read_regular(tmp_path / "rc", 3) == b"0 1"
    assert read_regular(tmp_path / "none", 3) is None
    assert read_rc(tmp_path) == (0, 12)


@pytest.mark.parametrize(
    "text", [b"0 12", b"0 x\n", b"0\n", b"-1 4\n", b"0 12\n0 13\n", b"\xff 1\n", b"9" * 80 + b"\n"]
)
def test_what_the_shell_would_not_write_is_no_verdict(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "rc").write_bytes(text)
    assert read_rc(tmp_path) is None


def test_steps_that_the_shell_would_not_write_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "steps").write_bytes(b"1 0 5.25\nx 1 2.0\n2 - -\n3 4\n3 99 1e9\n\xff\n")
    assert read_steps(tmp_path) == [(1, 0, 5.25), (2, None, None)]
