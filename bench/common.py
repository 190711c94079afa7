"""What all benchmarks share: a machine of their own, contestants that take turns, and one table.

Times depend on the machine, and on what else it does; ratios within one run depend on it less. Therefore contestants
take turns (A B A B …), a ratio is the median of the ratios of single rounds, and budgets that are ratios are judged by
that.
"""

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
_GITCONFIG = """\
[user]
	name = Bench
	email = bench@example.com
[init]
	defaultBranch = main
[protocol "file"]
	allow = always
[advice]
	detachedHead = false
"""


class Unavailable(Exception):
    """A peer or a service that this machine cannot have; the text says why."""


@dataclass(frozen=True, slots=True)
class Timing:
    """The seconds that a contestant took, round by round."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def over(self, other: "Timing") -> float:
        """How many times as long as `other`: the median over the rounds."""
        return statistics.median(a / b for a, b in zip(self.seconds, other.seconds, strict=True))

    def __str__(self) -> str:
        low, high = min(self.seconds), max(self.seconds)
        return f"{duration(self.median)} ({duration(low)}–{duration(high)})"


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: what, how much, and for a budget whether it was met."""

    what: str
    measured: str
    ratio: str = ""
    budget: str = ""
    met: bool | None = None

    @property
    def verdict(self) -> str:
        return {None: "", True: "met", False: "MISSED"}[self.met]


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of one subject; `rounds` is how often each contestant had its turn."""

    title: str
    rows: Sequence[Row]


@dataclass
class Machine:
    """A folder for everything, a home that knows no other git configuration, and the processes to be ended."""

    folder: Path
    quick: bool
    env: dict[str, str] = field(default_factory=dict)
    _started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        home = self.folder / "home"
        home.mkdir()
        (home / ".gitconfig").write_text(_GITCONFIG)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "GZL_"))}
        self.env = {
            **kept,
            "HOME": os.fspath(home),
            "XDG_CONFIG_HOME": os.fspath(home / ".config"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "PATH": f"{BIN}:{kept['PATH']}",
            "LC_ALL": "C.UTF-8",
            # Compiled modules as an installed gzl has them, and none left in the checkout.
            "PYTHONPYCACHEPREFIX": os.fspath(self.folder / "pycache"),
        }
        self.env.pop("PYTHONDONTWRITEBYTECODE", None)

    def rounds(self, full: int, quick: int = 3) -> int:
        return quick if self.quick else full

    def run(self, *argv: str | Path, cwd: Path | None = None, stdin: bytes = b"", **env: str) -> str:
        """What a command prints; it must succeed."""
        done = subprocess.run(
            argv, cwd=cwd or self.folder, env={**self.env, **env}, input=stdin, capture_output=True, check=False
        )
        if done.returncode:
            said = (done.stderr or done.stdout).decode(errors="replace").strip()
            raise RuntimeError(f"{' '.join(map(str, argv))}: status {done.returncode}: {said}")
        return done.stdout.decode(errors="surrogateescape").strip()

    def git(self, directory: Path, *args: str) -> str:
        return self.run("git", "-C", directory, *args)

    def time(self, *argv: str | Path, cwd: Path | None = None, **env: str) -> float:
        """Seconds that a command takes, its output thrown away; it must succeed."""
        environment = {**self.env, **env}
        begun = time.perf_counter()
        subprocess.run(
            argv,
            cwd=cwd or self.folder,
            env=environment,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return time.perf_counter() - begun

    def start(self, *argv: str | Path, cwd: Path | None = None, log: Path) -> subprocess.Popen[bytes]:
        """Start a service that `close` ends."""
        with log.open("ab") as output:
            process = subprocess.Popen(
                argv, cwd=cwd or self.folder, env=self.env, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        self._started.append(process)
        return process

    def repository(self, name: str, gzlfile: str | None = None, *, gzl: bool = True) -> Path:
        """A repository with a working tree and one commit."""
        path = self.folder / name
        path.mkdir(parents=True)
        self.git(path, "init", "--quiet")
        (path / "Gzlfile").write_text(gzlfile or "idle:\n    true\n")
        self.git(path, "add", "--all")
        self.git(path, "commit", "--quiet", "--message", "first")
        if gzl:
            self.run("gzl", "init", "-C", path)
        return path

    def server(self, name: str, *, gzl: bool) -> Path:
        """A bare repository."""
        path = self.folder / name
        self.run("git", "init", "--quiet", "--bare", path)
        if gzl:
            self.run("gzl", "init", "-C", path)
        return path

    def clone(self, source: str | Path, name: str, **env: str) -> Path:
        path = self.folder / name
        self.run("git", "clone", "--quiet", source, path, cwd=None, stdin=b"", **env)
        return path

    def manager(self, repository: Path) -> subprocess.Popen[bytes]:
        """A repo manager at work on a bare repository, idle by now."""
        process = self.start("gzl", "manage-repo", "-C", repository, log=repository / "manager.log")
        wait_until(lambda: (repository / "gzl/manager.pid").exists(), "the manager starts")
        settle(repository / "gzl")
        return process

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        process.wait()
        self._started.remove(process)

    def close(self) -> None:
        for process in self._started:
            process.kill()
            process.wait()
        for pid_file in self.folder.glob("**/gzl/manager.pid"):
            stop_manager(pid_file.parent)


def in_turns(contestants: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, Timing]:
    """Let each contestant measure itself (seconds) once a round; the first one, which warms caches, is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, contestant in contestants.items():
            seconds = contestant()
            if number:
                taken[name].append(seconds)
    return {name: Timing(tuple(seconds)) for name, seconds in taken.items()}


def compare(
    timings: Mapping[str, Timing], base: str, budgets: Mapping[str, float] = {}, missing: Mapping[str, str] = {}
) -> Iterable[Row]:
    """Rows for contestants that took turns, as multiples of `base`; `missing` are peers that could not be had."""
    for name, timing in timings.items():
        ratio = timing.over(timings[base])
        budget = budgets.get(name)
        met = None if budget is None else ratio <= budget
        shown = "" if name == base else f"{ratio:.2f}×"
        yield Row(name, str(timing), shown, "" if budget is None else f"≤ {budget}×", met)
    for name, why in missing.items():
        yield Row(name, f"not measured: {why}")


def limit(what: str, timing: Timing, seconds: float) -> Row:
    """A row for a budget that is a time: the median is judged."""
    return Row(what, str(timing), "", f"≤ {duration(seconds)}", timing.median <= seconds)


def duration(seconds: float) -> str:
    """A time in the unit that people would use."""
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1e3:.1f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f} µs"


def timed(action: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def wait_until(happened: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait for something that another process does."""
    until = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > until:
            raise RuntimeError(f"waited {seconds} s in vain until {what}")
        time.sleep(0.005)


def settle(gzl_folder: Path) -> None:
    """Wait until every event is handled and every job recorded, and a moment more, so that processes are gone."""

    def settled() -> bool:
        waiting = [
            folder
            for folder in ("spool/tmp", "spool/new", "spool/cur", "jobs")
            if any((gzl_folder / folder).glob("[!.]*"))
        ]
        return not waiting

    wait_until(settled, f"the jobs in {gzl_folder} end")
    time.sleep(0.05)


def stop_manager(gzl_folder: Path) -> None:
    """End the manager of a repository, if there is one."""
    try:
        pid = int((gzl_folder / "manager.pid").read_text().split()[0])
        os.kill(pid, signal.SIGTERM)
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return
    wait_until(lambda: not _lives(pid), f"manager {pid} ends")
    (gzl_folder / "manager.pid").unlink(missing_ok=True)


def _lives(pid: int) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2][:1] not in (b"Z", b"X")
    return False


def python_packages(machine: Machine, *packages: str) -> tuple[Path, dict[str, str]]:
    """A venv with those packages that can be had; its bin folder, and why the others are missing."""
    folder = machine.folder / "peers"
    if not folder.exists():
        machine.run(sys.executable, "-m", "venv", folder)
    missing = {}
    for package in packages:
        try:
            machine.run(folder / "bin/pip", "install", "--quiet", "--disable-pip-version-check", package)
        except RuntimeError as error:
            missing[package] = f"pip install {package} failed: {str(error).splitlines()[-1]}"
    return folder / "bin", missing
