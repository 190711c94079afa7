"""`gzl logs`: what the stages of a job wrote, as they wrote it."""

import sys
from collections.abc import Iterator
from datetime import datetime
from typing import BinaryIO

import click

from gzl.cli import find
from gzl.cli.boundary import PASSED
from gzl.cli.context import App
from gzl.cli.follow import Follower, Output
from gzl.cli.remote import reading
from gzl.cli.watch import watch
from gzl.errors import UserError
from gzl.git.repo import Repo
from gzl.kit.fs import read_or_none
from gzl.logs import store as log_store
from gzl.logs import times
from gzl.model.record import Attempt, JobRecord


@click.command("logs")
@click.argument("job", metavar="JOB[/STAGE]", default="HEAD")
@click.option("-f", "--follow", is_flag=True, help="Go on as long as the job runs.")
@click.option("--timestamps", is_flag=True, help="Begin each line with the time at which it was there.")
@click.option("--attempt", type=click.IntRange(1), metavar="N", help="The log of an earlier attempt of the stage.")
@reading
def command(app: App, job: str, follow: bool, timestamps: bool, attempt: int | None) -> int:
    """Print the logs of JOB (an id, a unique prefix, or a commit: its latest job), or of one STAGE of it.

    A stage's log is printed byte for byte. Of a whole job each stage's log is printed after a line with its name; with
    --follow lines come as they are written, each after its stage's name.
    """
    repo = app.initialised
    record, stage = find.job_and_stage(app, job)
    follower = Follower.of(repo, record.id)
    if follow and follower is not None:
        return watch(app, follower) if stage is None else _follow(follower, stage)
    chosen = [stage] if stage is not None else [name for name, s in record.stages.items() if s.attempts]
    for name in chosen:
        if stage is None:
            click.echo(f"==> {name} <==")
        _print(repo, record, _attempt(record, name, attempt), name, timestamps=timestamps)
    return PASSED


def _attempt(record: JobRecord, stage: str, number: int | None) -> Attempt:
    attempts = record.stages[stage].attempts
    if not attempts:
        because = record.stages[stage].skipped_because or record.stages[stage].state
        raise UserError(f"{record.id}/{stage}: has no log: {because}")
    if number is None:
        return attempts[-1]
    for attempt in attempts:
        if attempt.number == number:
            return attempt
    raise UserError(f"{record.id}/{stage}: no attempt {number}; there are {', '.join(str(a.number) for a in attempts)}")


def _print(repo: Repo, record: JobRecord, attempt: Attempt, stage: str, *, timestamps: bool) -> None:
    out = sys.stdout.buffer
    sys.stdout.flush()
    with _open(repo, record, attempt, stage) as file:
        if timestamps:
            out.writelines(_stamped(file, _times(repo, record, attempt, stage), attempt))
        else:
            while data := file.read(1 << 16):
                out.write(data)
    out.flush()


def _open(repo: Repo, record: JobRecord, attempt: Attempt, stage: str) -> BinaryIO:
    if not record.state.final:
        try:
            return (repo.layout.job(record.id).attempt(stage, attempt.number) / "log").open("rb")
        except FileNotFoundError:
            pass  # recorded since it was looked up: its log is in the store by now
    return log_store.open_log(repo, record, stage, attempt.number)


def _times(repo: Repo, record: JobRecord, attempt: Attempt, stage: str) -> times.Times:
    if record.state.final:
        return times.read(repo, record, stage, attempt)
    directory = repo.layout.job(record.id).attempt(stage, attempt.number)
    return times.parse(read_or_none(directory / "log.t") or b"", attempt)


def _stamped(file: BinaryIO, when: times.Times, attempt: Attempt) -> Iterator[bytes]:
    offset = 0
    for line in file:
        at = when.at(offset + len(line) - 1) or attempt.finished or attempt.started or 0.0
        offset += len(line)
        stamp = datetime.fromtimestamp(at).astimezone().isoformat(timespec="milliseconds")
        yield f"{stamp} ".encode() + line


def _follow(follower: Follower, stage: str) -> int:
    import time

    out = sys.stdout.buffer
    while not follower.over:
        for news in follower.poll():
            if isinstance(news, Output) and news.stage == stage:
                out.write(news.data)
        out.flush()
        if follower.record.stages[stage].state.final:
            break
        time.sleep(0.05)
    return PASSED
