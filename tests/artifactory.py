"""A server that answers as Artifactory does, for as long as its `with` block."""

import hashlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import uvicorn
from servers import Server, free_port, wait_for
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


@contextmanager
def running(token: str) -> Iterator[Server]:
    """What https://jfrog.com/help/r/jfrog-rest-apis says of deployment, retrieval, deletion and the file list, for one
    repository; only the token's owner is let in."""
    port = free_port()
    artifactory = _Artifactory(token)
    config = uvicorn.Config(artifactory.app(), host="127.0.0.1", port=port, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_for(port)
    yield Server(f"http://127.0.0.1:{port}", Path("/nonexistent"), lambda: artifactory.received)
    server.should_exit = True
    thread.join()


@dataclass
class _Artifactory:
    token: str
    files: dict[str, tuple[bytes, datetime]] = field(default_factory=dict)
    received: int = 0  # bytes

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

    def _put(self, path: str, headers: Mapping[str, str], data: bytes) -> Response:
        self.received += len(data)
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
