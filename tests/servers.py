"""Real servers for object stores, on loopback and in folders of their own: nginx with DAV, and two that speak S3, those
of moto and rclone. Each lives as long as its `with` block."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from world import BIN

KEY, SECRET, BUCKET = "gzl-test", "gzl-test-secret", "bucket"
_NGINX = """\
daemon off;
{user}
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        root {folder}/root;
        client_max_body_size 0;
        autoindex on;
        autoindex_format json;
        dav_methods PUT DELETE;
        create_full_put_path on;
        location /private/ {{ auth_basic gzl; auth_basic_user_file {folder}/users; }}
        location /readonly/ {{ dav_methods off; }}
        location /small/ {{ client_max_body_size 1k; }}
        location /html/ {{ autoindex_format html; }}
    }}
}}
"""


@dataclass(frozen=True)
class Server:
    """Where a server listens, the folder in which it keeps its files, if it does, and the bytes put, if it counts."""

    url: str
    files: Path
    received: Callable[[], int] = int


@contextmanager
def nginx(folder: Path) -> Iterator[Server]:
    """A web server that takes PUT and DELETE, and tells its files as JSON; below /private/ from user:password only."""
    port = free_port()
    (folder / "root").mkdir()
    (folder / "users").write_text("user:{PLAIN}password\n")
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, port=port, user=user))
    with _running([_program("nginx"), "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf"], folder, port):
        yield Server(f"http://127.0.0.1:{port}", folder / "root")


@contextmanager
def moto(folder: Path) -> Iterator[Server]:
    """moto's S3, which keeps everything in memory and lets everybody in."""
    port = free_port()
    with _running([_program("moto_server"), "-H", "127.0.0.1", "-p", str(port)], folder, port):
        yield Server(f"http://127.0.0.1:{port}", folder)


@contextmanager
def rclone(folder: Path) -> Iterator[Server]:
    """rclone's S3: a bucket is a folder, an object a file."""
    port = free_port()
    (folder / "files" / BUCKET).mkdir(parents=True)
    serve = ["serve", "s3", "--config", "/dev/null", "--addr", f"127.0.0.1:{port}", "--auth-key", f"{KEY},{SECRET}"]
    with _running([_program("rclone"), *serve, f"{folder}/files"], folder, port):
        yield Server(f"http://127.0.0.1:{port}", folder / "files")


def free_port() -> int:
    """A port of loopback that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def _running(argv: Sequence[str], folder: Path, port: int) -> Iterator[None]:
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        wait_for(port)
        yield
    finally:
        process.terminate()
        process.wait()


def wait_for(port: int) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except ConnectionRefusedError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(f"nothing listens on port {port}")


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{BIN}:{os.environ['PATH']}:/usr/sbin")
    if found is None:
        pytest.fail(f"these tests need {name}: `tests/services` installs it, or `make venv`")
    return found
