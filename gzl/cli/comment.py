"""`gzl comment`: say something about a job, for everybody who has the ledger."""

import getpass
import sys

import click

from gzl.cli import find
from gzl.cli.boundary import PASSED, say
from gzl.cli.context import App
from gzl.cli.remote import reading
from gzl.git.refs import read
from gzl.model.comment import LIMIT, Comment, checked
from gzl.model.ids import new_job_id
from gzl.model.refs import SERVER
from gzl.notes import store, writer

_ACTORS = ("GZL_ACTOR", "GL_USER", "REMOTE_USER", "LOGNAME", "USER")  # as in share/hooks/spool.sh


@click.command("comment")
@click.argument("job", metavar="JOB")
@click.argument("text", required=False)
@reading
def command(app: App, job: str, text: str | None) -> int:
    """Comment on JOB: an id, a unique beginning of one, or a commit-ish, which stands for its latest job.

    Without TEXT, or with `-`, the text is read from standard input. It goes into this clone's ledger, whoever ran the
    job, and with that to others (`gzl sync`); `gzl show` shows it.
    """
    repo = app.initialised
    found = find.job(app, job)
    words = checked(_read() if text is None or text == "-" else text)
    now = app.clock()
    store.comment(repo, writer.own(repo), [Comment(new_job_id(now), found.id, _author(app), now, words)])
    click.echo(f"job {found.id}: comment kept")
    return PASSED


def _read() -> str:
    if sys.stdin.isatty():
        say("type the comment; Ctrl-D in an empty line ends it")
    return sys.stdin.buffer.read(LIMIT + 2).decode(errors="surrogateescape")


def _author(app: App) -> str:
    """On a server who the transport says it is, as for events; elsewhere whom git names as the author of commits."""
    repo = app.repo
    user = next((app.environ[name] for name in _ACTORS if app.environ.get(name)), None) or getpass.getuser()
    if read(repo, SERVER):
        return user
    name, email = repo.config("user.name"), repo.config("user.email")
    return " ".join(word for word in (name or user, f"<{email}>" if email else "") if word)
