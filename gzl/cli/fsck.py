"""`gzl fsck`: is all that gzl keeps in git as it should be?"""

import click

from gzl.cli.boundary import NOT_PASSED, PASSED
from gzl.cli.context import App, in_repository
from gzl.kit.text import escaped
from gzl.logs import check as logs_check
from gzl.notes import fsck
from gzl.notes.fsck import Problem
from gzl.notes.writer import own
from gzl.objects import opening


@click.command("fsck")
@click.option("--repair", is_flag=True, help="Mend what is derived from the ledgers: notes, refs, the index.")
@in_repository
def command(app: App, repair: bool) -> int:
    """Check gzl's refs, notes, logs and index. Exit status 0: all is well (or was mended), 1: problems are left."""
    problems = _problems(app)
    if repair and any(problem.mends for problem in problems):
        fsck.mend(app.repo, problems, app.clock())
        left = _problems(app)
        for problem in problems:
            if problem not in left:
                click.echo(f"mended  {escaped(str(problem))}")
        problems = left
    for problem in problems:
        click.echo(f"wrong   {escaped(str(problem))}")
    if not problems:
        click.echo("all is well")
    return NOT_PASSED if problems else PASSED


def _problems(app: App) -> list[Problem]:
    repo = app.initialised
    problems, held = fsck.check(repo, app.clock())
    records = {one.record.id: one.record for one in held}.values()
    lost = logs_check.problems(repo, own(repo), records, lambda: opening.of(repo, app.environ))
    return [*problems, *(Problem("log", what, mends=False) for what in lost)]
