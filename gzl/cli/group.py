"""The click group behind `gzl`, which imports a command's module only when that command is used."""

import difflib
from importlib import import_module

import click

from gzl import __version__
from gzl.cli.commands import ALIASES, COMMANDS
from gzl.cli.context import App


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        name = ALIASES.get(cmd_name, cmd_name)
        if name not in COMMANDS:
            return None
        command = import_module(COMMANDS[name][0]).command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and name not in COMMANDS and name not in ALIASES:
            near = difflib.get_close_matches(name, [*COMMANDS, *ALIASES], 1)
            hint = f"did you mean {near[0]!r}?" if near else "`gzl --help` lists them all."
            ctx.fail(f"no command {name!r}; {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_line) for name, (_, help_line) in COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="gzl %(version)s")
@click.option("-C", "directory", metavar="DIR", help="Work in the repository around DIR.")
@click.pass_context
def gzl(context: click.Context, directory: str | None) -> None:
    """A git repository that is its own CI/CD system.

    Exit status: 0 passed, 1 did not pass, 2 user error, 3 a bug in gzl, 75 try again later, 130 interrupted.
    """
    context.obj = App()
    context.obj.enter(directory)
