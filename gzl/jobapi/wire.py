"""A request, as the threads that serve it see it: its body as a file, its token, its query; and answers that say no.

Every request is served in a worker thread of anyio's, because a `Host` blocks; its body is read from there piece by
piece, so that an upload of any length takes constant memory, and a request without a right to it is refused unread.
"""

import binascii
import io
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, BinaryIO, cast

from anyio import from_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gzl.jobapi.host import Refused, Truncated

LONGEST_JSON = 1 << 20
"""Bytes of a JSON body, and of a command's words."""
_PIECE = 256 * 1024
_LONGEST_TOKEN = 1024
_TITLES = {
    400: "Bad request", 401: "Unknown token", 403: "Forbidden", 404: "Not found", 405: "Method not allowed",
    409: "Conflict", 410: "This attempt has ended", 413: "Too large", 415: "Unsupported media type",
    421: "Misdirected request", 422: "Cannot be done", 500: "A bug in gzl", 503: "Try again",
}  # fmt: skip

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


class _Pieces(io.RawIOBase):
    """Bytes that come in pieces: `_next` puts one into `_left`, and says in `_more` whether others may follow."""

    def __init__(self) -> None:
        self._left = memoryview(b"")
        self._more = True

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left and self._more:
            self._next()
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size

    def _next(self) -> None:
        raise NotImplementedError


class Incoming(_Pieces):
    """The body of a request, to be read in a worker thread. Raises Truncated if the client goes away in the middle, and
    Refused (413) after `limit` bytes."""

    def __init__(self, receive: Receive, limit: int | None = None) -> None:
        super().__init__()
        self._receive = receive
        self._limit = limit
        self._taken = 0

    async def _message(self) -> Message:
        return await self._receive()

    def _next(self) -> None:
        message = from_thread.run(self._message)
        if message["type"] != "http.request":
            raise Truncated("the client went away before it had sent everything")
        self._left = memoryview(message.get("body", b""))
        self._more = message.get("more_body", False)
        self._taken += len(self._left)
        if self._limit is not None and self._taken > self._limit:
            raise too_large(self._limit)


class Decoded(_Pieces):
    """What base64 or hex text stands for; white space in it is passed over. Busybox's wget ends a body at the first
    NUL (seen with 1.35), so what it sends is text."""

    def __init__(self, source: BinaryIO, encoding: str) -> None:
        super().__init__()
        self._source = source
        self._decode, self._unit = {"base64": (binascii.a2b_base64, 4), "hex": (binascii.unhexlify, 2)}[encoding]
        self._text = b""

    def _next(self) -> None:
        piece = self._source.read(_PIECE)
        self._more = bool(piece)
        text = self._text + piece.translate(None, b" \t\r\n")
        whole = len(text) - len(text) % self._unit if self._more else len(text)
        self._text = text[whole:]
        try:
            self._left = memoryview(self._decode(text[:whole]))
        except ValueError as error:
            raise Refused(f"the body is not what its encoding says: {error}", 400) from error


def decoded(text: bytes, encoding: str) -> bytes:
    """What the text stands for, in base64 or hex."""
    return Decoded(io.BytesIO(text), encoding).readall()


def body_file(receive: Receive, encoding: str | None = None, limit: int | None = None) -> BinaryIO:
    """The body as a file whose `read(n)` gives n bytes, or fewer at its end only."""
    raw: io.RawIOBase = Incoming(receive, limit)
    if encoding is not None:
        raw = Decoded(_buffered(raw), encoding)
    return _buffered(raw)


def first_word(body: BinaryIO) -> str:
    """The word at a body's beginning that ends with NUL, or with the body. It is a token: short and ASCII."""
    word = bytearray()
    while (byte := body.read(1)) not in (b"", b"\0"):
        word += byte
        if len(word) > _LONGEST_TOKEN:
            raise Refused("the body does not begin with a token", 401)
    return word.decode("ascii", errors="replace").rstrip("\n")


def bearer(request: Request) -> str | None:
    """The token in the Authorization header (RFC 6750); None where there is no such header."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def json_of(data: bytes) -> object:
    """The value of a JSON body. Refused (400) if it is none."""
    try:
        return json.loads(data, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Refused(f"the body is not JSON: {error}", 400) from error


def too_large(limit: int) -> Refused:
    """For a body of more than `limit` bytes."""
    return Refused(f"the body is longer than {limit} bytes, the most that is taken here", 413)


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """An answer that says no (RFC 9457)."""
    extra = dict(headers or {})
    if status == 401:
        extra["WWW-Authenticate"] = "Bearer"
    if status == 503:
        extra["Retry-After"] = "1"
    said = {"type": "about:blank", "title": _TITLES.get(status, "Refused"), "status": status, "detail": detail}
    return JSONResponse(said, status, extra, "application/problem+json")


def _buffered(raw: io.RawIOBase) -> BinaryIO:
    return cast(BinaryIO, io.BufferedReader(raw, _PIECE))


def _no_number(name: str) -> object:
    raise ValueError(f"{name} is no number in JSON")
