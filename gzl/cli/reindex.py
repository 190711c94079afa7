"""`gzl reindex`: make the index again from the refs."""

import click

from gzl.cli.boundary import PASSED
from gzl.cli.context import App, in_repository
from gzl.notes import index as notes_index


@click.command("reindex")
@in_repository
def command(app: App) -> int:
    """Rebuild the index from the refs. Losing the index loses nothing; its answers are the same afterwards."""
    with notes_index.rebuild(app.initialised) as index:
        jobs, ledgers = index.count(), len(index.sources())
    click.echo(f"{jobs} job{'' if jobs == 1 else 's'} in {ledgers} ledger{'' if ledgers == 1 else 's'}")
    return PASSED
