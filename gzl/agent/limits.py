"""Limits in time: which attempt has run, or has been silent, for too long, and when to look again.

The agent's loop tells what begins and ends, sleeps until `next_deadline`, and stops what is `overdue`. Without limits
there is no deadline, and nothing is looked at.

Time is the monotonic clock of this agent, which neither a corrected wall clock nor a suspended machine moves on. Only
of what began under an earlier agent the age is taken from the wall clock: its beginning is in the journal. A stage
last said something when its log last changed; a heartbeat changes the log's time. Of that time only changes count: it
is compared with what it was at the last look, not with a clock that may have been set since.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from gzl.model.pipeline import Stage

CLOCKS_AGREE = 0.5  # seconds that both may differ over the time between two looks
LISTEN = 10.0  # seconds that an adopted attempt has at least to say something: while no agent was there, who knows


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds after which to stop, from the beginning and from the last output; None: never."""

    timeout: int | None = None
    idle: int | None = None

    def __bool__(self) -> bool:
        return self.timeout is not None or self.idle is not None


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant on both clocks: monotonic, and seconds since the epoch."""

    steady: float
    wall: float


@dataclass(frozen=True, slots=True)
class Watched:
    """A running attempt: when it began, and when it last said something, both on the monotonic clock."""

    limits: Limits
    began: float
    heard: float
    looked: Moment
    log: tuple[int, int]
    """Size and time of change (nanoseconds) of its log at the last look."""


@dataclass(frozen=True, slots=True)
class Overdue:
    """What is to be stopped, and why; no directory means the whole job."""

    directory: Path | None
    reason: str


def limits_of(stage: Stage) -> Limits:
    """What the stage's `timeout=` and `idle=` say."""
    said = {name: stage.options[name] for name in ("timeout", "idle") if name in stage.options}
    if not said:
        return Limits()
    from gzl.gzlfile.values import seconds  # 10 ms, with the language that it is a part of: only who needs it pays

    return Limits(**{name: seconds(text) for name, text in said.items()})


class Watch:
    """The limits of one job and of its running attempts."""

    def __init__(self, job: Limits, now: Moment, began: float | None = None) -> None:
        """`began`: when the job began, in seconds since the epoch, if that was under an earlier agent."""
        self._job = job
        self._began = now.steady - _age(began, now)
        self._silent_since = now.steady
        self._running: dict[Path, Watched] = {}

    def begin(self, directory: Path, limits: Limits, now: Moment, began: float | None = None) -> None:
        """An attempt runs; `began` as above."""
        self._silent_since = now.steady
        if not limits and self._job.idle is None:
            return
        watched = Watched(limits, now.steady - _age(began, now), now.steady, now, (0, 0))
        if began is not None:
            watched = adopted(watched, now, _log(directory))
        self._running[directory] = watched

    def end(self, directory: Path, now: Moment) -> None:
        """The attempt has ended, or is being stopped: it is looked at no more."""
        self._silent_since = now.steady
        self._running.pop(directory, None)

    def overdue(self, now: Moment) -> list[Overdue]:
        """What is to be stopped now, said once: of an attempt, or of the job and so of all of them."""
        found = []
        for directory, watched in list(self._running.items()):
            if _silent_too_long(watched, self._job, now):
                watched = self._running[directory] = heard(watched, now, _log(directory))
            if (reason := judge(watched, now)) is not None:
                del self._running[directory]
                found.append(Overdue(directory, reason))
        if (reason := self._judge_job(now)) is not None:
            found.append(Overdue(None, reason))
            self._job = Limits()
            self._running.clear()
        return found

    def next_deadline(self) -> float | None:
        """When `overdue` may have something to say, on the monotonic clock; None: never, as things stand."""
        deadlines = [deadline for watched in self._running.values() for deadline in _deadlines(watched)]
        if self._job.timeout is not None:
            deadlines.append(self._began + self._job.timeout)
        if self._job.idle is not None and self._running:
            deadlines.append(self._last_heard() + self._job.idle)
        return min(deadlines, default=None)

    def _judge_job(self, now: Moment) -> str | None:
        limits = self._job
        if limits.timeout is not None and now.steady >= self._began + limits.timeout:
            return f"the job's timeout={_written(limits.timeout)}: stopped after {now.steady - self._began:.1f} s"
        if limits.idle is not None and self._running and now.steady >= self._last_heard() + limits.idle:
            return f"the job's idle={_written(limits.idle)}: no output of any stage for {limits.idle} s"
        return None

    def _last_heard(self) -> float:
        return max(self._silent_since, *(watched.heard for watched in self._running.values()))


def heard(watched: Watched, now: Moment, log: tuple[int, int]) -> Watched:
    """The attempt after a look at its log."""
    when = watched.heard
    if log != watched.log:
        # It changed after the last look; how long ago, the wall clock tells, unless it was set meanwhile or the machine
        # slept: then it may have been just now.
        between = now.steady - watched.looked.steady
        trusted = abs(now.wall - watched.looked.wall - between) < CLOCKS_AGREE
        ago = max(0.0, now.wall - log[1] / 1e9) if trusted else 0.0
        when = now.steady - min(ago, between)
    return replace(watched, heard=when, looked=now, log=log)


def adopted(watched: Watched, now: Moment, log: tuple[int, int]) -> Watched:
    """An attempt that an earlier agent began, after the first look at its log."""
    silent = now.steady - min(now.steady - watched.began, max(0.0, now.wall - log[1] / 1e9))
    if watched.limits.idle is not None:
        silent = max(silent, now.steady - max(0.0, watched.limits.idle - LISTEN))
    return replace(watched, heard=silent, log=log)


def judge(watched: Watched, now: Moment) -> str | None:
    """Why the attempt is to be stopped now; None if it is not."""
    limits = watched.limits
    if limits.timeout is not None and now.steady >= watched.began + limits.timeout:
        return f"timeout={_written(limits.timeout)}: stopped after {now.steady - watched.began:.1f} s"
    if limits.idle is not None and now.steady >= watched.heard + limits.idle:
        return f"idle={_written(limits.idle)}: no output for {limits.idle} s"
    return None


def _silent_too_long(watched: Watched, job: Limits, now: Moment) -> bool:
    """Whether it would be, had it said nothing since the last look."""
    idle = [limit for limit in (watched.limits.idle, job.idle) if limit is not None]
    return bool(idle) and now.steady >= watched.heard + min(idle)


def _deadlines(watched: Watched) -> list[float]:
    limits = watched.limits
    found = [] if limits.timeout is None else [watched.began + limits.timeout]
    return found if limits.idle is None else [*found, watched.heard + limits.idle]


def _age(began: float | None, now: Moment) -> float:
    return 0.0 if began is None else max(0.0, now.wall - began)


def _log(directory: Path) -> tuple[int, int]:
    with suppress(FileNotFoundError):
        stat = (directory / "log").lstat()
        return stat.st_size, stat.st_mtime_ns
    return 0, 0


def _written(limit: int) -> str:
    """The seconds as a Gzlfile has them: 90 is 1m30s."""
    minutes, secs = divmod(limit, 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "m"), (secs, "s"))
    return "".join(f"{amount}{unit}" for amount, unit in parts if amount)
