"""`gzl show`: one job, whole."""

import json
import os

import click

from gzl.cli import comments, find
from gzl.cli.boundary import PASSED
from gzl.cli.context import App
from gzl.cli.remote import reading
from gzl.cli.render import Paper, job_page
from gzl.git.repo import Repo
from gzl.kit.proc import CommandFailed
from gzl.logs import store as log_store
from gzl.model.record import to_data
from gzl.notes.index import open_index


@click.command("show")
@click.argument("job", metavar="JOB", default="HEAD")
@click.option("--json", "as_json", is_flag=True, help="The record as it is in the ledger, and its comments.")
@reading
def command(app: App, job: str, as_json: bool) -> int:
    """Show a job: its stages, what they told, steps, attempts, comments.

    JOB is an id, a unique beginning of one, or a commit-ish, which stands for its latest job (default: HEAD).
    """
    with open_index(app.initialised) as index:
        found = find.find_in(app.repo, index, job)
        said = comments.of_jobs(app.repo, index, [found.record]).get(found.record.id, [])
    if as_json:
        click.echo(json.dumps({**to_data(found.record), "comments": comments.data(said)}, indent=2))
        return PASSED
    paper = Paper.of(app)
    if found.remark:
        click.echo(paper.dim(f"{job}: no job of its own; this is one {found.remark}"))
    click.echo(job_page(found.record, paper, subject=_subject(app.repo, found.record.commit), said=said))
    if gone := log_store.remark(app.repo, found.record):
        click.echo(paper.dim(gone))
    return PASSED


def _subject(repo: Repo, commit: str) -> str:
    try:
        return os.fsdecode(repo.git("log", "-1", "--format=%s", commit, "--")).strip()
    except CommandFailed:
        return "(this commit is not in this repository)"
