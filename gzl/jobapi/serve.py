"""The server behind a `Listener`: uvicorn in the listener's thread. Imported when the first connection comes."""

import asyncio
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress

import uvicorn

from gzl.jobapi.app import application
from gzl.jobapi.host import Host


class Service:
    """Serves the API from `run` until `stop`, which any thread may call."""

    def __init__(self, host: Host, end_within: float) -> None:
        self._host = host
        config = uvicorn.Config(
            application(host),
            log_config=None,
            access_log=False,
            lifespan="off",
            loop="asyncio",
            http="h11",
            ws="none",
            backlog=2048,
            timeout_keep_alive=30,
            h11_max_incomplete_event_size=1 << 20,  # a query may have a hundred globs
        )
        self._server = _Server(config, end_within)

    def run(self, descriptors: Sequence[int]) -> None:
        """Serve the listening sockets, which are closed at the end."""
        self._server.run([socket.socket(fileno=fd) for fd in descriptors])

    def stop(self) -> None:
        """End `run`: who waits is answered now."""
        self._host.release()
        self._server.stop()


class _Server(uvicorn.Server):
    """uvicorn's own loop looks ten times a second whether it should end, and then sleeps; a job's end must not wait for
    that, and an idle job not wake for it."""

    def __init__(self, config: uvicorn.Config, end_within: float) -> None:
        super().__init__(config)
        self._end_within = end_within
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event | None = None

    def stop(self) -> None:
        with self._lock:
            self.should_exit = True
            if self._loop is not None and self._over is not None:
                self._loop.call_soon_threadsafe(self._over.set)

    async def main_loop(self) -> None:
        over = asyncio.Event()
        with self._lock:
            if self.should_exit:
                return
            self._loop, self._over = asyncio.get_running_loop(), over
        await over.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        with self._lock:
            self._loop = self._over = None
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        if tasks := list(self.server_state.tasks):
            _, late = await asyncio.wait(tasks, timeout=self._end_within)
            for task in late:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
