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
        before = index.count()
    report = sync.sync(repo, remote or sync.default_remote(repo), socket.gethostname())
    with open_index(repo) as index:
        new = index.count() - before
    for remark in report.remarks:
        click.echo("\n".join(escaped(line) for line in remark.splitlines()))
    kind = " (a gzl server)" if report.server else ""
    what = f"{new} new job{'' if new == 1 else 's'} fetched" if new else "nothing new fetched"
    pushed = "own results pushed" if report.pushed else "nothing to push"
    click.echo(f"{escaped(report.remote)}{kind}: {what}, {pushed}")
    return PASSED
