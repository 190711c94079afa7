"""`gzl check`: every mistake of a Gzlfile, with its place and what to do."""

import sys
from pathlib import Path

import click

from gzl.cli.boundary import PASSED, USER_ERROR
from gzl.cli.context import App, in_repository
from gzl.errors import UserError
from gzl.gzlfile import Parsed, parse, render
from gzl.kit.proc import CommandFailed

NAME = "Gzlfile"


@click.command("check")
@click.argument("file", required=False)
@in_repository
def command(app: App, file: str | None) -> int:
    """Report every mistake of a Gzlfile, and what this version of gzl cannot do yet.

    FILE is by default the Gzlfile of the working tree, or that of HEAD in a bare repository; `-` is the standard
    input. Exit status: 0 if there is none (warnings do not count), 2 otherwise.
    """
    data, name = read_gzlfile(app, file)
    parsed = parse(data, name)
    color = use_color(app)
    for mistake in parsed.mistakes:
        click.echo(render(mistake, color), color=color)
    click.echo(f"{click.format_filename(name)}: {_verdict(parsed)}")
    return USER_ERROR if parsed.errors else PASSED


def read_gzlfile(app: App, file: str | None) -> tuple[bytes, str]:
    """The bytes of the file that a command was given (see `command`), and what messages call it."""
    if file == "-":
        return sys.stdin.buffer.read(), "<stdin>"
    if file is not None:
        return _read(app.directory / file, file), file
    if app.repo.worktree is not None:
        return _read(app.repo.worktree / NAME, NAME), NAME
    try:
        return app.repo.git("cat-file", "blob", f"HEAD:{NAME}"), f"HEAD:{NAME}"
    except CommandFailed as error:
        raise UserError(f"HEAD:{NAME}: there is none in this bare repository; name a file instead") from error


def use_color(app: App) -> bool:
    """Whether the output is a terminal of somebody who wants colours (https://no-color.org)."""
    return sys.stdout.isatty() and not app.environ.get("NO_COLOR")


def _read(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        hint = "`gzl init` writes one to begin with" if name == NAME else "`gzl check -` reads the standard input"
        raise UserError(f"{click.format_filename(name)}: no such file; {hint}") from error
    except OSError as error:
        raise UserError(f"{click.format_filename(name)}: cannot be read: {error.strerror}") from error


def _verdict(parsed: Parsed) -> str:
    pipeline, errors = parsed.pipeline, len(parsed.errors)
    warnings = len(parsed.mistakes) - errors
    if errors:
        return _amount(errors, "error") + (f", {_amount(warnings, 'warning')}" if warnings else "")
    stages = _amount(len(pipeline.stages), "stage")
    rules = _amount(len(pipeline.rules), "rule")
    return f"fine: {stages}, {rules}" + (f", {_amount(warnings, 'warning')}" if warnings else "")


def _amount(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
