"""Where the API listens. The agent makes a `Listener` before its first stage, so that the address is known; what serves
is imported when the first connection comes, and a job whose stages never call pays for two sockets and a thread.

    <job>/api        the URL, and in a second line the Unix socket: the `gzl` in a stage reads it again when nobody
                     answers, because the next agent of the job may have another port
    <job>/api.sock   the Unix socket; where that path would be longer than a socket's may be, a folder in `runtime`

A later agent of the job takes the same port and the same socket path if it can have them.
"""

# What `socket` adds to this are enumerations, which take 2.6 ms to make, between a push and its first step.
import _socket
import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gzl.errors import TransientError
from gzl.jobapi.tokens import Tokens
from gzl.kit.fs import read_or_none, write_atomic
from gzl.model.layout import JobLayout

if TYPE_CHECKING:
    from gzl.jobapi.host import Host
    from gzl.jobapi.serve import Service

_LONGEST_PATH = 107  # bytes, without the NUL: sun_path of unix(7)
_BACKLOG = 2048
_END_WITHIN = 5.0  # seconds that what is being answered has to end when the API closes


class Listener:
    """Listens for one job, from its making to `close`. `host` is called once, when the first connection comes, in the
    API's thread."""

    def __init__(self, layout: JobLayout, tokens: Tokens, host: Callable[[], "Host"], runtime: Path) -> None:
        self._layout = layout
        self._tokens = tokens
        self._make_host = host
        url, path = _earlier(layout)
        self._tcp = _bind_tcp(url)
        self.url = f"http://127.0.0.1:{self._tcp.getsockname()[1]}"
        self._folder: Path | None = None
        self.socket_path = self._socket_path(path, runtime)
        self._unix = _bind_unix(self.socket_path)
        write_atomic(layout.api, f"{self.url}\n{self.socket_path}\n".encode(errors="surrogateescape"))
        self._lock = threading.Lock()
        self._service: Service | None = None
        self._closing = False
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="Job API", daemon=True)
        self._thread.start()

    def environ(self, stage: str, attempt: int, *, shared: bool) -> dict[str, str]:
        """What an attempt is told; `shared`: it sees the agent's files (the host must say the same of its caller)."""
        told = {"GZL_API": self.url, "GZL_TOKEN": self._tokens.issue(stage, attempt)}
        if shared:
            told |= {
                "GZL_API_SOCKET": str(self.socket_path),
                "GZL_API_FILE": str(self._layout.api),
                "GZL_FILES": "shared",
            }
        return told

    def close(self) -> None:
        """Stop listening; who waits is answered at once, and what is being carried out gets five seconds to end. The
        address stays in `<job>/api`: an agent that this one handed the job over to listens there again."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
            service = self._service
        if service is not None:
            service.stop()
        os.close(self._wake_write)
        self._thread.join(_END_WITHIN + 1)
        self.socket_path.unlink(missing_ok=True)
        if self._folder is not None:
            with suppress(OSError):
                self._folder.rmdir()

    def _run(self) -> None:
        poll = select.poll()
        for fd in (self._tcp.fileno(), self._unix.fileno(), self._wake_read):
            poll.register(fd, select.POLLIN)
        poll.poll()
        os.close(self._wake_read)
        with self._lock:
            serves = not self._closing
        if serves:
            self._serve()
        self._tcp.close()
        self._unix.close()

    def _serve(self) -> None:
        from gzl.jobapi.serve import Service  # uvicorn and starlette: 150 ms

        service = Service(self._make_host(), _END_WITHIN)
        with self._lock:
            self._service = service
            if self._closing:
                return
        service.run([self._tcp.detach(), self._unix.detach()])

    def _socket_path(self, earlier: Path | None, runtime: Path) -> Path:
        inside = self._layout.root / "api.sock"
        if len(os.fsencode(inside)) <= _LONGEST_PATH:
            return inside
        if earlier is not None and _make_private(earlier.parent):
            self._folder = earlier.parent
            return earlier
        name = f"gzl-{os.urandom(8).hex()}"
        fits = len(os.fsencode(runtime / name / "api")) <= _LONGEST_PATH
        self._folder = (runtime if fits else Path("/tmp")) / name
        self._folder.mkdir(mode=0o700)
        return self._folder / "api"


def _earlier(layout: JobLayout) -> tuple[str, Path | None]:
    """URL and socket of an earlier agent of the job."""
    lines = (read_or_none(layout.api) or b"").decode(errors="surrogateescape").splitlines()
    return (lines[0], Path(lines[1])) if len(lines) == 2 else ("", None)


def _bind_tcp(earlier: str) -> "_socket.socket":
    port = earlier.rpartition(":")[2]
    for wanted in ([int(port)] if port.isdecimal() else []) + [0]:
        made = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
        # Connections of an earlier agent that still time out must not keep the port from this one.
        made.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        try:
            made.bind(("127.0.0.1", wanted))
            made.listen(_BACKLOG)
        except OSError as error:
            made.close()
            if not wanted:
                raise TransientError(f"the Job API cannot listen on 127.0.0.1: {error.strerror}") from error
        else:
            return made
    raise AssertionError("the last port tried is any")


def _bind_unix(path: Path) -> "_socket.socket":
    path.unlink(missing_ok=True)
    made = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        made.bind(os.fspath(path))
        path.chmod(0o600)
        made.listen(_BACKLOG)
    except OSError as error:
        made.close()
        raise TransientError(f"{path}: the Job API cannot listen there: {error}") from error
    return made


def _make_private(folder: Path) -> bool:
    """Whether a folder is this user's, who alone can write to it, made if it is gone: one in /tmp may be anybody's."""
    try:
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        info = folder.lstat()
    except OSError:
        return False
    return info.st_mode & 0o170777 == 0o040700 and info.st_uid == os.getuid()
