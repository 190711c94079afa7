"""The only place that starts processes: git's short commands, detached services, and workloads.

Everything gets an argument list, an environment that was passed in, and (but for git's short commands) a session
of its own. Git's long transports go through `transport`, which the package sh runs; all else is on the hot path.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gzl.errors import GzlError, TransientError

# `git rev-parse --local-env-vars` (git 2.39), and what the receiving side of a push adds: hooks inherit these, and
# a git started from a hook with them would work on the wrong repository, or in a quarantine that vanishes.
GIT_LOCAL_ENV = frozenset(
    """GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_CONFIG GIT_CONFIG_PARAMETERS GIT_CONFIG_COUNT GIT_OBJECT_DIRECTORY GIT_DIR
    GIT_WORK_TREE GIT_IMPLICIT_WORK_TREE GIT_GRAFT_FILE GIT_INDEX_FILE GIT_NO_REPLACE_OBJECTS GIT_REPLACE_REF_BASE
    GIT_PREFIX GIT_INTERNAL_SUPER_PREFIX GIT_SHALLOW_FILE GIT_COMMON_DIR GIT_QUARANTINE_PATH GIT_NAMESPACE
    GIT_PUSH_CERT GIT_REFLOG_ACTION GIT_EXEC_PATH GIT_EDITOR""".split()
)
_GIT_LOCAL_PREFIXES = ("GIT_PUSH_OPTION_", "GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_", "GIT_PUSH_CERT_", "GIT_AUTHOR_",
                       "GIT_COMMITTER_")  # fmt: skip


class CommandFailed(GzlError):
    """A command ended with a status other than 0; `stderr` is what it said, `stdout` what it printed."""

    def __init__(self, argv: Sequence[str], status: int, stderr: str, stdout: str = "") -> None:
        super().__init__(f"`{' '.join(argv)}` ended with status {status}: {stderr.strip() or 'it said nothing'}")
        self.status = status
        self.stderr = stderr
        self.stdout = stdout


@dataclass(frozen=True, slots=True)
class Output:
    """What a finished command left: its exit status (negative: the signal that killed it) and its output."""

    status: int
    stdout: bytes
    stderr: bytes


def scrubbed(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` without what ties git to one repository, index or push."""
    return {
        name: value
        for name, value in environ.items()
        if name not in GIT_LOCAL_ENV and not name.startswith(_GIT_LOCAL_PREFIXES)
    }


def run(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    extra: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    timeout: float | None = 300.0,
) -> Output:
    """Run a short command to its end; never raises for its exit status.

    `timeout` is in seconds; a command that needs longer is killed and a TransientError raised, as it is when the
    command cannot be started. `env` None hands on this process's own; it is scrubbed, then `extra` is added.
    """
    environ = {**scrubbed(os.environ if env is None else env), **(extra or {})}
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(argv, cwd=cwd, env=environ, stdin=pipe, stdout=pipe, stderr=pipe)
    except FileNotFoundError as error:
        raise TransientError(f"cannot run {argv[0]}: {error.strerror} ({error.filename})") from error
    # subprocess's own timeout polls for the end, half a millisecond at a time: as much as a short git takes.
    overdue = threading.Event()
    timer = threading.Timer(timeout, _kill, (process, overdue)) if timeout is not None else None
    if timer is not None:
        timer.daemon = True
        timer.start()
    try:
        stdout, stderr = process.communicate(stdin)
    finally:
        if timer is not None:
            timer.cancel()
    if overdue.is_set():
        raise TransientError(f"`{' '.join(argv)}` was killed after {timeout} s")
    return Output(process.returncode, stdout, stderr)


def _kill(process: "subprocess.Popen[bytes]", overdue: threading.Event) -> None:
    overdue.set()
    process.kill()


def git(
    directory: Path,
    *args: str,
    env: Mapping[str, str] | None = None,
    extra: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    timeout: float | None = 300.0,
) -> bytes:
    """What `git -C directory args…` prints; CommandFailed if its status is not 0."""
    argv = ["git", "-C", str(directory), *args]
    done = run(argv, env=env, extra=extra, stdin=stdin, timeout=timeout)
    if done.status:
        raise CommandFailed(argv, done.status, done.stderr.decode(errors="replace"))
    return done.stdout


def transport(directory: Path, *args: str, env: Mapping[str, str] | None = None) -> str:
    """Run a git command that talks to another repository (fetch, push, ls-remote), and give what it prints.

    No terminal prompt can hang it. Raises CommandFailed.
    """
    import sh  # 84 ms: only what goes over the network pays for it

    argv = ["-C", str(directory), *args]
    environ = {**scrubbed(os.environ if env is None else env), "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    try:
        return str(sh.git(*argv, _env=environ, _tty_out=False, _in="", _encoding="utf-8", _decode_errors="replace"))
    except sh.ErrorReturnCode as error:
        said, printed = (data.decode(errors="replace") for data in (error.stderr, error.stdout))
        raise CommandFailed(["git", *argv], error.exit_code, said, printed) from error


def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    stdout: str | Path,
    mode: int = 0o600,
) -> int:
    """Start a process in a session of its own, its output appended to the file `stdout`, and give its pid.

    posix_spawn, because a stage started so costs 1.2 times what make takes, and through subprocess 1.7 times.
    """
    # With a path given, the PATH is not searched: eight execs that fail, for a usual one.
    start = os.posix_spawn if "/" in argv[0] else os.posix_spawnp
    return start(
        argv[0],
        list(argv),
        env,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(stdout), os.O_WRONLY | os.O_CREAT | os.O_APPEND, mode),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigdef=[
            signal.SIGPIPE,
            signal.SIGINT,
            signal.SIGTERM,
            signal.SIGHUP,
            signal.SIGCHLD,
            signal.SIGUSR1,
        ],
        setsigmask=[],
    )


def start_time(pid: int) -> int | None:
    """When the process started, in clock ticks since boot (proc(5), field 22), or None if there is no such process.

    With the pid it names a process for good: pids are used again, a pid with its start time is not. A zombie counts
    as gone.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(b") ")[2].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def marked(marker: str) -> list[int]:
    """The pids of all processes whose environment holds `marker` (`NAME=value`), or whose parents' does.

    Environments are inherited and seldom cleaned, sessions and groups are left with one call: this finds a daemon that
    forked twice. Processes of other users that cannot be read are passed over.
    """
    import psutil  # 37 ms: only what ends a process tree pays for it

    name, _, value = marker.partition("=")
    found: set[int] = set()
    for process in psutil.process_iter():
        try:
            if process.environ().get(name) == value:
                found.add(process.pid)
                found.update(child.pid for child in process.children(recursive=True))
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return [pid for pid in found if pid != os.getpid() and start_time(pid) is not None]


def signal_all(pids: Iterable[int], number: int) -> None:
    """Send a signal to each; one that is gone meanwhile needs none."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def become_subreaper() -> None:
    """From now on orphans of this process's children become its own (prctl(2), PR_SET_CHILD_SUBREAPER).

    So `children` sees what double-forked away; where the kernel has no such thing, `marked` alone finds it.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)


def children() -> list[int]:
    """The pids of this process's children, zombies too; empty where the kernel does not tell."""
    try:
        fd = os.open(f"/proc/self/task/{os.getpid()}/children", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return []
    try:
        return [int(pid) for pid in os.read(fd, 1 << 16).split()]
    finally:
        os.close(fd)
