"""`gzl list`: recent commits and what became of them."""

import json
import os
from dataclasses import dataclass

import click

from gzl.cli import comments, find
from gzl.cli.boundary import PASSED
from gzl.cli.context import App
from gzl.cli.find import Found
from gzl.cli.remote import reading
from gzl.cli.render import Paper, comment_line, job_line
from gzl.errors import UserError
from gzl.git.repo import Repo
from gzl.kit.proc import CommandFailed
from gzl.kit.text import escaped
from gzl.model.record import JobRecord, to_data
from gzl.notes.index import open_index
from gzl.records.index import Index

_FORMAT = "--format=%H %T %h %s"
_EVERYWHERE = ("--exclude=refs/gzl/*", "--exclude=refs/notes/*", "--exclude=refs/stash", "--all")


@dataclass(frozen=True, slots=True)
class _Commit:
    oid: str
    tree: str
    short: str
    subject: str


@click.command("list")
@click.argument("revision", metavar="[REV]", required=False)
@click.option("-n", "count", metavar="N", type=click.IntRange(1), default=10, show_default=True, help="How many.")
@click.option("--all", "everywhere", is_flag=True, help="Commits of all branches and tags.")
@click.option("--jobs", "by_time", is_flag=True, help="The newest jobs, whatever became of their commits.")
@click.option("--json", "as_json", is_flag=True, help="The jobs as a JSON array, newest first.")
@reading
def command(app: App, revision: str | None, count: int, everywhere: bool, by_time: bool, as_json: bool) -> int:
    """List recent commits and their jobs.

    Starts from REV (a branch, a tag, any commit; default HEAD). Jobs that are still running are always shown.
    """
    repo = app.initialised
    if everywhere and revision is not None:
        raise UserError(f"--all: means every branch and tag, {escaped(revision)} too; leave one of the two away")
    with open_index(repo) as index:
        if by_time:
            return _show(app, index, [], _newest(repo, index, count), as_json=as_json)
        commits = _log(repo, revision, count, everywhere=everywhere)
        jobs = find.of_commits(repo, index, {commit.oid: commit.tree for commit in commits})
        shown = {found.record.id for group in jobs.values() for found in group}
        elsewhere = [record for record in find.unfinished(repo) if record.id not in shown]
        return _show(app, index, [(c, jobs.get(c.oid, [])) for c in commits], elsewhere, as_json=as_json)


def _newest(repo: Repo, index: Index, count: int) -> list[JobRecord]:
    found = {record.id: record for record in (*find.unfinished(repo), *index.recent(count))}
    return sorted(found.values(), key=lambda record: record.id, reverse=True)[:count]


def _show(
    app: App, index: Index, commits: list[tuple[_Commit, list[Found]]], others: list[JobRecord], *, as_json: bool
) -> int:
    records = [*others, *(found.record for _, jobs in commits for found in jobs)]
    said = comments.of_jobs(app.repo, index, records) if records else {}
    if as_json:
        once = {record.id: record for record in records}
        data = [{**to_data(once[job]), "comments": comments.data(said.get(job, []))}
                for job in sorted(once, reverse=True)]  # fmt: skip
        click.echo(json.dumps(data, indent=2))
        return PASSED
    paper = Paper.of(app)
    width = find.id_width(index, records, find.unfinished(app.repo))
    own = app.repo.config("gzl.writer") if records else None

    def show(record: JobRecord, remark: str) -> None:
        click.echo(job_line(record, paper, id_width=width, own=own, remark=remark))
        if record.id in said:
            click.echo(comment_line(said[record.id], paper, indent=width + 4))

    for record in others:
        show(record, f"commit {record.commit[:12]}")
    for commit, jobs in commits:
        subject = paper.cut(commit.subject, len(commit.short) + 2)
        click.echo(f"{paper.paint(commit.short, 'yellow')}  {subject}")
        for found in jobs:
            show(found.record, found.remark)
    if not records and not commits:
        click.echo("no jobs yet; `gzl run` runs one")
    return PASSED


def _log(repo: Repo, revision: str | None, count: int, *, everywhere: bool) -> list[_Commit]:
    starts = _EVERYWHERE if everywhere else ("--end-of-options", revision or "HEAD")
    try:
        printed = repo.git("log", "-z", f"-n{count}", _FORMAT, *starts, "--")
    except CommandFailed as error:
        if revision is None and repo.resolve("HEAD") is None:
            return []  # nothing is committed yet
        raise UserError(f"{escaped(revision or 'HEAD')}: no such commit; `git branch -a` lists the branches") from error
    lines = (os.fsdecode(line).split(" ", 3) for line in printed.split(b"\0") if line)
    return [_Commit(*line) for line in lines]
