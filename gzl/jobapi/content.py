"""An artifact's content as an answer, in constant memory."""

import re
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import BinaryIO

from anyio import to_thread
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from gzl.jobapi.host import Artifact

_PIECE = 256 * 1024  # bytes


class Content(StreamingResponse):
    """Sends `content` and closes it, whatever becomes of the client. A tree is a plain tar of unknown length."""

    def __init__(self, content: BinaryIO, artifact: Artifact) -> None:
        self._content = content
        # Nothing that could end the quoted string.
        headers = {"ETag": f'"{re.sub(r"[^A-Za-z0-9:.+/=_-]", "", artifact.digest)}"'}
        if artifact.kind == "file":
            headers["Content-Length"] = str(artifact.size)
        media = "application/x-tar" if artifact.kind == "tree" else "application/octet-stream"
        super().__init__(_pieces(content), headers=headers, media_type=media)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with suppress(ClientDisconnect):  # a client that has enough is no failure of the API's
                await super().__call__(scope, receive, send)
        finally:
            self._content.close()


async def _pieces(content: BinaryIO) -> AsyncIterator[bytes]:
    """Each piece only when the one after it was read: a digest that does not fit is found at the end, and then the last
    piece must not have been sent, or the other side has a whole body."""
    held = await to_thread.run_sync(content.read, _PIECE)
    while held:
        following = await to_thread.run_sync(content.read, _PIECE)
        yield held
        held = following
