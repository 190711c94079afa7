"""Real servers for object stores, on loopback and in folders of their own: nginx with DAV, two that speak S3 (those of
moto and rclone), and one that answers as Artifactory does. Each lives as long as its `with` block."""

import hashlib
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
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
    """Where a server listens, and the folder in which it keeps its files, if it does."""

    url: str
    files: Path


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


@contextmanager
def artifactory(token: str) -> Iterator[Server]:
    """What https://jfrog.com/help/r/jfrog-rest-apis says of deployment, retrieval, deletion and the file list, for one
    repository; only the token's owner is let in."""
    port = free_port()
    config = uvicorn.Config(_Artifactory(token).app(), host="127.0.0.1", port=port, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    _wait_for(port)
    yield Server(f"http://127.0.0.1:{port}", Path("/nonexistent"))
    server.should_exit = True
    thread.join()


def free_port() -> int:
    """A port of loopback that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@dataclass
class _Artifactory:
    token: str
    files: dict[str, tuple[bytes, datetime]] = field(default_factory=dict)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/artifactory/api/storage/{path:path}", self._list),
                Route("/artifactory/{path:path}", self._file, methods=["GET", "HEAD", "PUT", "DELETE"]),
            ]
        )

    def _list(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return self._answer(401)
        folder = f"{request.path_params['path']}/"
        files = [
            {
                "uri": f"/{path.removeprefix(folder)}",
                "size": len(data),
                "folder": False,
                "lastModified": time.isoformat(),
            }
            for path, (data, time) in self.files.items()
            if path.startswith(folder)
        ]
        if not files or "list" not in request.query_params:
            return self._answer(404)
        return JSONResponse({"uri": str(request.url), "files": files}, headers=self._about())

    async def _file(self, request: Request) -> Response:
        path = request.path_params["path"]
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return self._answer(401)
        if request.method == "PUT":
            return self._put(path, request.headers, await request.body())
        if path not in self.files:
            return self._answer(404)
        if request.method == "DELETE":
            del self.files[path]
            return self._answer(204)
        data, modified = self.files[path]
        headers = {"Last-Modified": format_datetime(modified, usegmt=True), "Content-Length": str(len(data))}
        return Response(data if request.method == "GET" else b"", headers={**self._about(), **headers})

    def _put(self, path: str, headers: "Request.headers", data: bytes) -> Response:  # type: ignore[name-defined]
        wanted = headers.get("x-checksum-sha256")
        if headers.get("x-checksum-deploy") == "true":
            known = [held for held, _ in self.files.values() if hashlib.sha256(held).hexdigest() == wanted]
            if not known:
                return self._answer(404)
            data = known[0]
        if wanted is not None and hashlib.sha256(data).hexdigest() != wanted:
            return self._answer(409)
        self.files[path] = (data, datetime.now(UTC))
        return self._answer(201)

    def _answer(self, status: int) -> Response:
        if status == 204:
            return Response(status_code=status, headers=self._about())
        return JSONResponse({"errors": [{"status": status}]}, status, self._about())

    def _about(self) -> dict[str, str]:
        return {"X-Artifactory-Id": "test", "X-Artifactory-Node-Id": "test", "Server": "Artifactory/7"}


@contextmanager
def _running(argv: Sequence[str], folder: Path, port: int) -> Iterator[None]:
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        _wait_for(port)
        yield
    finally:
        process.terminate()
        process.wait()


def _wait_for(port: int) -> None:
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
