"""`on cron` rules: which ticks are due, and when the next one is. Schedules are read in the machine's time zone."""

from datetime import datetime
from pathlib import Path

from gzl.errors import UserError
from gzl.git import source
from gzl.git.repo import Repo
from gzl.gzlfile import load
from gzl.kit.fs import read_or_none, write_atomic
from gzl.model.event import Event, EventKind


class Schedule:
    """The cron rules of the Gzlfile at the repository's HEAD, and the time up to which their ticks have been told.

    That time is kept in a file, so that a tick which fell into a time without a manager is made up for, once.
    """

    def __init__(self, repo: Repo, now: float) -> None:
        self._repo = repo
        self._file: Path = repo.layout.root / "cron"
        self._told = float(read_or_none(self._file) or now)
        self._commit: str | None = None
        self._schedules: tuple[str, ...] = ()
        self.refresh()

    def refresh(self) -> None:
        """Read the rules again if HEAD has moved."""
        commit = self._repo.resolve("HEAD")
        if commit is None or commit == self._commit:
            return
        self._commit = commit
        self._schedules = ()
        head = source.read(self._repo, commit)
        if head is None or head.gzlfile is None:
            return
        try:
            rules = load(head.gzlfile, commit).rules
        except UserError:
            return  # said by the job of the push that brought it
        self._schedules = tuple(dict.fromkeys(rule.patterns[0] for rule in rules if rule.kind is EventKind.CRON))
        if not self._file.exists():
            self.keep()

    def due(self, now: float) -> list[Event]:
        """An event for each schedule that ticked since the last call; several ticks of one schedule are one."""
        ticked = [schedule for schedule in self._schedules if _next(schedule, self._told) <= now]
        self._told = now
        ref = (self._repo.symbolic("HEAD") or "HEAD") if ticked else ""
        return [Event(EventKind.CRON, ref, None, self._commit, cron=schedule) for schedule in ticked]

    def keep(self) -> None:
        """The events of `due` are safe in the spool: do not tell them again."""
        if self._schedules:
            write_atomic(self._file, f"{self._told}\n".encode())

    def next(self) -> float | None:
        """When the next tick is, in seconds since the epoch; None without rules."""
        return min((_next(schedule, self._told) for schedule in self._schedules), default=None)


def _next(schedule: str, after: float) -> float:
    from croniter import croniter  # 50 ms: only repositories with such rules pay for it

    when: datetime = croniter(schedule, datetime.fromtimestamp(after).astimezone()).get_next(datetime)
    return when.timestamp()
