"""`gzl sync`: exchange results with a remote."""

import socket

import click

from gzl.cli.boundary import PASSED
from gzl.cli.context import App, in_repository
from gzl.kit.text import escaped
from gzl.notes import sync
from gzl.notes.index import open_index


@click.command("sync")
@click.argument("remote", required=False)
@in_repository
def command(app: App, remote: str | None) -> int:
    """Exchange results with REMOTE (default: the server that this clone follows, else origin).

    Fetches what others recorded, pushes what this clone did, forces nothing. Exit status 75: try again later.
    """
    repo = app.initialised
    with open_index(repo) as index:
        before, said_before = index.count(), index.count_comments()
    report = sync.sync(repo, remote or sync.default_remote(repo), socket.gethostname())
    with open_index(repo) as index:
        new = [_count(index.count() - before, "job"), _count(index.count_comments() - said_before, "comment")]
    for remark in report.remarks:
        click.echo("\n".join(escaped(line) for line in remark.splitlines()))
    kind = " (a gzl server)" if report.server else ""
    what = " and ".join(filter(None, new)) or "nothing new"
    pushed = "own results pushed" if report.pushed else "nothing to push"
    click.echo(f"{escaped(report.remote)}{kind}: {what} fetched, {pushed}")
    return PASSED


def _count(number: int, what: str) -> str:
    return f"{number} new {what}{'' if number == 1 else 's'}" if number else ""
