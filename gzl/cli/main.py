"""`gzl`: finds the command, imports that one alone, and runs it inside the boundary."""

import io
import sys

from gzl import __version__
from gzl.cli.boundary import guarded

# name → (module, one line of help): a command pays only for its own imports, and `gzl --help` for none of them.
COMMANDS = {
    "init": ("gzl.cli.init", "Set up gzl in this repository: hooks, refs, a starter Gzlfile."),
    "run": ("gzl.cli.run", "Run the pipeline for a commit, or for the working tree as it is."),
    "list": ("gzl.cli.list", "List recent commits and their jobs."),
    "show": ("gzl.cli.show", "Show a job: its stages, steps, attempts."),
    "logs": ("gzl.cli.logs", "Print the logs of a job or of one of its stages."),
    "attach": ("gzl.cli.attach", "Watch a running job; Ctrl-C detaches."),
    "stop": ("gzl.cli.stop", "Stop a running job."),
    "check": ("gzl.cli.check", "Report every mistake of a Gzlfile."),
    "graph": ("gzl.cli.graph", "Show the graph of stages."),
    "sync": ("gzl.cli.sync", "Exchange results with a remote."),
    "fsck": ("gzl.cli.fsck", "Check gzl's refs and notes, and mend what is derived."),
    "reindex": ("gzl.cli.reindex", "Rebuild the index from the refs."),
    "manage-repo": ("gzl.cli.manage_repo", "Turn events into jobs, and run them."),
}
ALIASES = {"ls": "list"}


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
