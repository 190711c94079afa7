"""What every command gets: the folder it works in, the environment, the repository. Wiring happens here."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import click

from gzl.cli.boundary import say
from gzl.errors import GzlError, UserError
from gzl.git.repo import Repo, open_repo
from gzl.kit.clock import Clock, system_clock

Command = Callable[..., int]


@dataclass
class App:
    """The wiring of one command: made in `cli.main`, passed down by click."""

    directory: Path = field(default_factory=Path.cwd)
    environ: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    clock: Clock = system_clock

    @cached_property
    def repo(self) -> Repo:
        """The repository around `directory`, whether or not `gzl init` was run in it."""
        return open_repo(self.directory, self.environ if "GIT_DIR" not in self.environ else None)

    @property
    def initialised(self) -> Repo:
        """The repository, which must know gzl already."""
        if not self.repo.layout.root.is_dir():
            raise UserError(f"{self.repo.worktree or self.repo.git_dir}: gzl is not set up here; run `gzl init`")
        self._heal_hooks()
        return self.repo

    def _heal_hooks(self) -> None:
        """Another hook manager may have put its own hooks in the place of gzl's since the last command."""
        from gzl.githooks.install import heal  # only what works in a repository pays for it

        try:
            report = heal(self.repo)
        except GzlError as error:
            say(f"the hooks cannot be mended: {error}")
            return
        for line in (*report.changed, *report.warnings) if report is not None else ():
            say(line)

    def enter(self, directory: str | None) -> None:
        """Go on in another folder, as `-C` of git does."""
        if directory is not None:
            path = self.directory / directory
            if not path.is_dir():
                raise UserError(f"-C {directory}: no such folder")
            self.directory = path.resolve()


def in_repository(function: Command) -> Command:
    """Give a command the option `-C DIR`, and the App as its first argument."""

    def enter(context: click.Context, _parameter: click.Parameter, value: str | None) -> None:
        context.ensure_object(App).enter(value)

    option = click.option("-C", "directory", metavar="DIR", expose_value=False, callback=enter, is_eager=True,
                          help="Work in the repository around DIR.")  # fmt: skip
    return option(click.pass_obj(function))
