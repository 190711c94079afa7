"""The API as an ASGI application: routes, who may call, and what becomes of errors. `listener` serves it."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any

from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gzl.errors import GzlError, TransientError
from gzl.jobapi import door, wire
from gzl.jobapi.answer import Answer
from gzl.jobapi.host import Host, Refused, Truncated
from gzl.jobapi.openapi import document
from gzl.jobapi.operations import OPERATIONS, Call, Lane, Malformed, Operation, read_query
from gzl.jobapi.repeats import Repeats

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
_THREADS: Mapping[Lane, int] = {"short": 32, "stream": 256, "wait": 2048}

_Endpoint = Callable[[Request], Awaitable[Response]]


def application(host: Host, names: frozenset[str] = LOOPBACK) -> ASGIApp:
    """The API in front of `host`; requests to other host names than these are refused."""
    api = _Api(host)
    # One route for all methods of a path, so that the answer 405 names every one that there is.
    paths = {path: {o.method: o for o in OPERATIONS if o.route == path} for path in {o.route: None for o in OPERATIONS}}
    routes = [Route(path, api.endpoint(methods), methods=list(methods)) for path, methods in paths.items()]
    routes += [
        Route(f"/v1/door/{name}", api.door(service), methods=["POST"]) for name, service in door.SERVICES.items()
    ]
    routes += [
        Route("/v1/door/command", api.command, methods=["POST"]),
        Route("/v1/openapi.json", _document, methods=["GET"]),
    ]
    handlers: Mapping[Any, Any] = {HTTPException: _http_problem, Exception: _bug}
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False
    return _OnlyFor(names, app)


class _Api:
    """Serves requests in threads: a `Host` blocks."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._threads = {lane: CapacityLimiter(number) for lane, number in _THREADS.items()}
        self._responses: Repeats[Response] = Repeats()
        self._answers: Repeats[Answer] = Repeats()

    def endpoint(self, methods: Mapping[str, Operation]) -> _Endpoint:
        """Serves the operations of one path."""

        async def serve(request: Request) -> Response:
            operation = methods["GET" if request.method == "HEAD" else request.method]
            if operation.body is not None:
                # Here, and not in a thread: a slow client takes none from the others.
                try:
                    request.state.body = await _whole(request)
                except Refused as error:
                    return wire.problem(error.status, str(error))
            return await self._in_thread(operation.lane, lambda: self._operate(operation, request))

        return serve

    def door(self, service: door.Service) -> _Endpoint:
        """Serves one service of the door."""

        async def serve(request: Request) -> Response:
            def act() -> Response:
                query = read_query(service.query, service.required, request)
                return service.do(door.Visit(self._host, request, query, self._answers))

            return await self._in_thread("stream", act)

        return serve

    async def command(self, request: Request) -> Response:
        """Serves `/v1/door/command`; which threads are for it is only known from its body."""
        try:
            query = read_query(door.COMMAND_QUERY, (), request)
            text = await _whole(request)
        except Refused as error:
            return wire.problem(error.status, str(error))
        try:
            body = wire.decoded(text, query["encoding"]) if "encoding" in query else text
        except Refused as error:
            return door.told_no(error)
        visit = door.Visit(self._host, request, query, self._answers)
        return await self._in_thread(door.lane_of(body), lambda: door.command(visit, body))

    def _operate(self, operation: Operation, request: Request) -> Response:
        token = wire.bearer(request)
        if token is None:
            raise Refused("there is no token: send GZL_TOKEN as `Authorization: Bearer …`", 401)
        call = Call(self._host, self._host.caller(token), request, operation)
        try:
            return self._once(call, token) if operation.repeatable else operation.do(call)
        except Malformed:
            raise
        except Refused as error:
            raise Refused(str(error), 409 if error.status == 422 else error.status) from error

    def _once(self, call: Call, token: str) -> Response:
        """Answer from memory what was said before under the same key."""
        key = call.key()
        if not key:
            return call.operation.do(call)
        said = sha256(json.dumps(call.json(), sort_keys=True).encode()).hexdigest()
        call = replace(call, caller=replace(call.caller, request=key))
        return self._responses.once((token, call.operation.name, key, said), lambda: call.operation.do(call))

    async def _in_thread(self, lane: Lane, act: Callable[[], Response]) -> Response:
        return await to_thread.run_sync(lambda: _answered(act), limiter=self._threads[lane])


class _OnlyFor:
    """Refuses requests to other host names: a web page whose own name was made to point to this machine (DNS rebinding)
    gets no answer. Nor are there any headers that would let a page of another origin read one (CORS)."""

    def __init__(self, names: frozenset[str], app: ASGIApp) -> None:
        self._names = names
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        host = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1").lower()
        name, colon, port = host.rpartition(":")
        if (name if colon and port.isdecimal() else host) in self._names:
            await self._app(scope, receive, send)
        else:
            detail = "this API is for the machine's own stages: ask for 127.0.0.1, or for localhost"
            await wire.problem(421, detail)(scope, receive, send)


def _answered(act: Callable[[], Response]) -> Response:
    try:
        return act()
    except Refused as error:
        return wire.problem(error.status, str(error))
    except TransientError as error:
        return wire.problem(503, str(error))
    except GzlError as error:
        return wire.problem(422, str(error))
    except Truncated as error:
        return wire.problem(400, str(error))


async def _whole(request: Request) -> bytes:
    body = bytearray()
    try:
        async for piece in request.stream():
            body += piece
            if len(body) > wire.LONGEST_JSON:
                raise wire.too_large(wire.LONGEST_JSON)
    except ClientDisconnect as error:
        raise Refused("the client went away before it had sent everything", 400) from error
    return bytes(body)


async def _document(_request: Request) -> Response:
    return JSONResponse(document())


async def _http_problem(_request: Request, error: HTTPException) -> Response:
    return wire.problem(error.status_code, f"{error.detail}; /v1/openapi.json says what there is", error.headers)


async def _bug(_request: Request, _error: Exception) -> Response:
    # Raised again by starlette when this is sent, so that the agent's log has the traceback.
    return wire.problem(500, "this is a bug in gzl; the log of the job's agent has more")
