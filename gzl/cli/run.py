"""`gzl run`: make a job for a commit, or for the working tree as it is, and watch it."""

from dataclasses import replace

import click

from gzl.cli.boundary import INTERRUPTED, PASSED, say
from gzl.cli.context import App, in_repository
from gzl.cli.follow import Follower
from gzl.cli.join import join
from gzl.cli.render import Paper, summary
from gzl.cli.stop import stop
from gzl.cli.watch import exit_status, watch
from gzl.errors import UserError
from gzl.git import source as git_source
from gzl.git.repo import Repo
from gzl.git.snapshot import snapshot
from gzl.gzlfile.values import seconds
from gzl.managers import jobs
from gzl.managers.jobs import Asked, Known, Nothing, Refused
from gzl.managers.launch import start_agent
from gzl.managers.settings import Settings
from gzl.managers.settings import read as read_settings
from gzl.model.event import Event, EventKind
from gzl.model.ids import new_job_id
from gzl.model.record import JobRecord
from gzl.model.request import JobRequest
from gzl.notes.index import open_index
from gzl.records.index import Index
from gzl.runners.base import runner


def _duration(_context: click.Context, _option: click.Parameter, value: str | None) -> int | None:
    try:
        return None if value is None else seconds(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r}: {error}") from error


@click.command("run")
@click.argument("provider", default="local")
@click.option("--commit", metavar="COMMIT", help="Run this commit. [default: the working tree, changes and all]")
@click.option("--stage", "stages", multiple=True, metavar="STAGE", help="Run this stage and what it needs (several).")
@click.option("--again", is_flag=True, help="Run though there is a verdict already.")
@click.option("--failed", is_flag=True, help="With --again: only what did not pass, and what depends on it.")
@click.option("--timeout", callback=_duration, metavar="DURATION", help="Stop the job after this time, such as 1h30m.")
@click.option(
    "--idle", callback=_duration, metavar="DURATION", help="Stop it when no stage has printed anything for this time."
)
@click.option("--detach", is_flag=True, help="Start the job, print its id, and leave it to itself.")
@click.option(
    "--join",
    "joining",
    is_flag=True,
    help="With --stage: take the verdict on these stages at COMMIT [default: HEAD] if there is one, in whatever job;"
    " else follow the job that is at it; only else start one.",
)
@click.option("--or-head", is_flag=True, hidden=True, help="With --join: HEAD, where there is no such commit.")
@click.option("--json", "as_json", is_flag=True, help="With --join: print the record of the job that was taken.")
@in_repository
def command(
    app: App, provider: str, commit: str | None, stages: tuple[str, ...], again: bool, failed: bool,
    timeout: int | None, idle: int | None, detach: bool, joining: bool, or_head: bool, as_json: bool,
) -> int:  # fmt: skip
    """Run the pipeline on PROVIDER.

    Which stages: those that --stage names; else those of the Gzlfile's `on manual` rules; else those that a push to
    this branch would run; else all. A working tree with changes runs as a snapshot commit.

    The exit status is the job's: 0 passed, 1 did not pass. Ctrl-C stops the job.
    """
    if failed and not again:
        raise UserError("--failed goes with --again: `gzl run --again --failed`")
    if joining and (not stages or again or detach):
        raise UserError("--join needs --stage, and goes with neither --again nor --detach")
    if as_json and not joining:
        raise UserError("--json goes with --join; `gzl show --json` prints the record of a job that has run")
    runner(provider)  # says what there is, before anything is made
    repo = app.initialised
    settings = read_settings(repo)
    if joining:
        commit = "HEAD" if commit is None or (or_head and repo.resolve(commit) is None) else commit
    asked = replace(_asked(app, settings, commit, stages, provider, again=again), timeout=timeout, idle=idle)
    if joining:
        return join(app, repo, settings, asked, as_json=as_json)
    with open_index(repo) as index:
        outcome = jobs.answer(repo, asked, index, settings.trusted)
        if isinstance(outcome, JobRequest) and failed:
            outcome = jobs.only_failed(outcome, _earlier(index, outcome.record))
    match outcome:
        case Nothing(because):
            raise UserError(because)
        case Refused(record):
            raise UserError(record.reason)
        case Known(record):
            click.echo(f"{summary(record, Paper.of(app))}, on {_where(record, asked)}; `gzl run --again` runs it again")
            return exit_status(record)
        case JobRequest():
            return _run(app, repo, outcome, detach=detach)


def _run(app: App, repo: Repo, request: JobRequest, *, detach: bool) -> int:
    job = request.record.id
    jobs.create(repo, request)
    start_agent(repo, job, app.environ)
    if detach:
        click.echo(job)
        return PASSED
    follower = Follower.of(repo, job, app.environ)
    if follower is None:
        raise UserError(f"{job}: was removed before it could be watched; `gzl show {job}`")
    try:
        return watch(app, follower)
    except KeyboardInterrupt:
        say(f"stopping job {job}")
        click.echo(summary(stop(app, repo, job), Paper.of(app)))
        return INTERRUPTED


def _asked(
    app: App, settings: Settings, commit: str | None, stages: tuple[str, ...], provider: str, *, again: bool
) -> Asked:
    repo = app.repo
    if commit is None:
        oid, base = snapshot(repo, app.directory)
    else:
        found, base = repo.resolve(commit), None
        if found is None:
            raise UserError(f"--commit {commit}: no such commit; `git log` lists them")
        oid = found
    source = git_source.read(repo, oid)
    if source is None or source.gzlfile is None:
        raise UserError(f"{commit or 'HEAD'}: has no Gzlfile; `gzl init` writes one to start with")
    event = Event(EventKind.MANUAL, _ref(repo, commit), None, oid)
    return Asked(
        job=new_job_id(app.clock()),
        event=event,
        source=source,
        writer=settings.writer,
        now=app.clock(),
        slots=settings.slots,
        targets=stages or None,
        again=again,
        snapshot_of=base,
        runner=provider,
    )


def _ref(repo: Repo, commit: str | None) -> str:
    """The branch that the job counts for: the one that was named, or the one that is checked out."""
    named = repo.symbolic(commit or "HEAD")
    return named if named.startswith(("refs/heads/", "refs/tags/")) else "HEAD"


def _earlier(index: Index, record: JobRecord) -> JobRecord:
    found = index.latest(record.commit, record.tree, record.definition)
    if found is None:
        raise UserError("--failed: nothing has run on this commit yet; leave --again --failed away")
    return found


def _where(record: JobRecord, asked: Asked) -> str:
    same = record.commit == asked.source.commit
    return "this commit" if same else f"{record.commit[:12]}, which has the same tree"
