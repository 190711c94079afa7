"""`gzl logs`: what the stages of a job wrote, with their secrets masked."""

import sys
import time
from collections.abc import Iterator
from contextlib import closing

import click

from gzl.cli import find
from gzl.cli.boundary import NOT_PASSED, PASSED
from gzl.cli.context import App
from gzl.cli.follow import Follower, Output
from gzl.cli.lines import Lines, Wanted, moment, pattern
from gzl.cli.remote import reading
from gzl.cli.watch import find_agent, watch
from gzl.errors import UserError
from gzl.git.repo import Repo
from gzl.kit.text import escaped
from gzl.logs import store as log_store
from gzl.logs import times
from gzl.logs.live import LiveLog
from gzl.logs.masking import masker
from gzl.logs.times import Piece
from gzl.model.journal import Entry
from gzl.model.record import Attempt, JobRecord
from gzl.notes.ledger import read_job
from gzl.objects import opening
from gzl.objects.base import ObjectStore

_LOOK_BACK = 1 << 16  # bytes before the first one of --since, in which its line begins
_POLL = 0.05  # seconds


@click.command("logs")
@click.argument("job", metavar="JOB[/STAGE]", default="HEAD")
@click.option("--stage", "stages", multiple=True, metavar="STAGE", help="Only this stage (several).")
@click.option("-f", "--follow", is_flag=True, help="Go on as long as the job runs.")
@click.option("--grep", metavar="REGEX", help="Only lines that match this (Python's) regular expression.")
@click.option("--since", metavar="TIME", help="Only what was written since then: 10m, 2h, 3d, 2026-03-01T14:30.")
@click.option("--timestamps", is_flag=True, help="Begin each line with the time at which it was there.")
@click.option("--attempt", type=click.IntRange(1), metavar="N", help="The log of an earlier attempt of the stage.")
@reading
def command(
    app: App,
    job: str,
    stages: tuple[str, ...],
    follow: bool,
    grep: str | None,
    since: str | None,
    timestamps: bool,
    attempt: int | None,
) -> int:
    """Print the logs of JOB (an id, a unique prefix, or a commit: its latest job), or of one STAGE of it.

    A stage's log is printed byte for byte, but for secrets, which are masked. Of several stages each one's log is
    printed after a line with its name; with --follow or --grep each line comes after its stage's name.

    Lines longer than 1 MiB are searched, and printed, in parts. The exit status with --grep is 0 if a line matched, and
    1 if none did.
    """
    repo = app.initialised
    wanted = Wanted(
        pattern(grep) if grep is not None else None, moment(since, app.clock()) if since else None, timestamps
    )
    record, stage = find.job_and_stage(app, job)
    named = _named(record, stage, stages)
    follower = Follower.of(repo, record.id, app.environ, timed=not wanted.all) if follow else None
    if follower is not None:
        if not named and wanted.all:
            return watch(app, follower)
        printed = _follow(app, follower, named, wanted)
    else:
        printed = _print_all(app, record, named, wanted, attempt)
    return NOT_PASSED if wanted.grep is not None and not printed else PASSED


def _named(record: JobRecord, stage: str | None, more: tuple[str, ...]) -> list[str]:
    """The stages that were asked for by name, in the order of the job; none: all."""
    asked = {*more, *([stage] if stage is not None else [])}
    for name in more:
        if name not in record.stages:
            raise UserError(
                f"{record.id}: no stage {escaped(name)!r}; it has {', '.join(map(escaped, record.stages)) or 'none'}"
            )
    return [name for name in record.stages if name in asked]


def _print_all(app: App, record: JobRecord, named: list[str], wanted: Wanted, number: int | None) -> bool:
    """Whether anything was printed of the stages' logs as they are now."""
    chosen = named or [name for name, stage in record.stages.items() if stage.attempts]
    several = len(named) != 1
    width = min(24, max(map(len, chosen), default=0))
    printed = False
    for name in chosen:
        if several and named and not record.stages[name].attempts:
            click.echo(f"{escaped(name)}: {escaped(_why_none(record, name))}", err=True)
            continue
        prefix = f"{escaped(name):{width}} | " if several and wanted.grep is not None else ""
        if several and not prefix:
            click.echo(f"==> {escaped(name)} <==")
        source = _Source(app, record, name, _attempt(record, name, number))
        printed |= _print(source.pieces(wanted), Lines(wanted, prefix, source.end), raw=wanted.all)
    return printed


def _print(pieces: Iterator[Piece], lines: Lines, *, raw: bool) -> bool:
    out = sys.stdout.buffer
    sys.stdout.flush()
    printed = False
    for piece in pieces:
        for data in [piece.data] if raw else lines.feed(piece):
            out.write(data)
            printed = True
    for data in lines.finish():
        out.write(data)
        printed = True
    out.flush()
    return printed


def _attempt(record: JobRecord, stage: str, number: int | None) -> Attempt:
    attempts = record.stages[stage].attempts
    if not attempts:
        raise UserError(f"{record.id}/{stage}: has no log: {_why_none(record, stage)}")
    if number is None:
        return attempts[-1]
    for attempt in attempts:
        if attempt.number == number:
            return attempt
    raise UserError(f"{record.id}/{stage}: no attempt {number}; there are {', '.join(str(a.number) for a in attempts)}")


def _why_none(record: JobRecord, stage: str) -> str:
    return record.stages[stage].skipped_because or str(record.stages[stage].state)


class _Source:
    """The log of one attempt, wherever it is at the moment."""

    def __init__(self, app: App, record: JobRecord, stage: str, attempt: Attempt) -> None:
        self._app = app
        self._repo: Repo = app.repo
        self._record = record
        self._stage = stage
        self._attempt = attempt

    def end(self) -> float:
        """When the last of it was there, as far as is known."""
        return self._attempt.finished or self._app.clock()

    def pieces(self, wanted: Wanted) -> Iterator[Piece]:
        if self._attempt.log is None:
            folder = self._repo.layout.job(self._record.id)
            directory = folder.attempt(self._stage, self._attempt.number)
            try:
                log = LiveLog(directory, masker(folder), timed=not wanted.all)
            except FileNotFoundError:
                self._read_again()
            else:
                with closing(log):
                    yield from log.news()
                    yield from log.finish()
                return
        yield from self._kept(wanted)

    def _read_again(self) -> None:
        """The job may have been recorded since it was looked up: its log is in the store by now."""
        self._record = read_job(self._repo, self._record.id) or self._record
        self._attempt = _attempt(self._record, self._stage, self._attempt.number)

    def _kept(self, wanted: Wanted) -> Iterator[Piece]:
        start, when = 0, times.Times([], [])
        if not wanted.all:
            when = times.read(self._repo, self._record, self._stage, self._attempt)
        if wanted.since is not None:
            start = max(0, when.since(wanted.since) - _LOOK_BACK)
        number = self._attempt.number
        with log_store.open_log(self._repo, self._record, self._stage, number, self._objects, offset=start) as file:
            yield from times.timed(file, when, start)

    def _objects(self) -> ObjectStore:
        return opening.of(self._repo, self._app.environ)


def _follow(app: App, follower: Follower, named: list[str], wanted: Wanted) -> bool:
    """Print what is wanted as it is written, until the named stages (none: all) have ended; whether there was any."""
    out = sys.stdout.buffer
    width = min(24, max(map(len, named or follower.record.stages), default=0))
    shown: dict[str, Lines] = {}
    printed = False
    while not follower.over:
        for news in follower.poll():
            if named and news.stage not in named:
                continue
            if news.stage not in shown:
                prefix = "" if len(named) == 1 else f"{escaped(news.stage):{width}} | "
                shown[news.stage] = Lines(wanted, prefix, app.clock)
            for data in _news(news, shown[news.stage], raw=wanted.all and len(named) == 1):
                out.write(data)
                printed = True
        out.flush()
        if named and all(follower.record.stages[name].state.final for name in named):
            break
        if follower.unattended():
            find_agent(app, follower)
        time.sleep(_POLL)
    return printed


def _news(news: Output | Entry, lines: Lines, *, raw: bool) -> Iterator[bytes]:
    if isinstance(news, Output):
        yield from [news.data] if raw else lines.feed(Piece(news.data, news.time))
    elif news.what == "ended":
        yield from lines.finish()
