"""`gzl`: finds the command, imports that one alone, and runs it inside the boundary."""

import io
import os
import sys

from gzl import __version__
from gzl.cli.boundary import guarded

_COMPLETE = "_GZL_COMPLETE"  # set by the shell functions that click makes for completion


def main(argv: list[str] | None = None) -> None:
    """Run gzl with `argv` (default: the process's own arguments) and exit."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments == ["--version"]:
        print(f"gzl {__version__}")
        sys.exit(0)
    sys.exit(guarded(lambda: _run(arguments)))


def _run(arguments: list[str]) -> int:
    import click

    from gzl.cli.group import gzl

    if instruction := os.environ.get(_COMPLETE):
        from click.shell_completion import shell_complete

        return shell_complete(gzl, {}, "gzl", _COMPLETE, instruction)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # what a terminal cannot show must not end a command
    try:
        with gzl.make_context("gzl", arguments) as context:
            outcome = gzl.invoke(context)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.Abort:
        raise KeyboardInterrupt from None
    except click.ClickException as error:
        error.show()
        return 2
    return outcome if isinstance(outcome, int) else 0
