"""`--remote NAME`: run a reading command on a remote's server, over the SSH address that git itself would use."""

import re
import shlex
import subprocess
import sys

import click

from gzl.cli.context import App, Command, in_repository
from gzl.errors import UserError

_SCP_LIKE = re.compile(r"(?P<host>[^/:]+):(?P<path>.+)\Z", re.DOTALL)
_URL = re.compile(r"ssh://(?P<host>[^/:]+)(?::(?P<port>\d+))?(?P<path>/.+)\Z", re.DOTALL)


def reading(function: Command) -> Command:
    """`in_repository`, and the option `--remote NAME`: the command then runs on that remote's server, over its SSH."""

    def elsewhere(context: click.Context, _parameter: click.Parameter, value: str | None) -> None:
        if value is not None and not context.resilient_parsing:
            context.exit(run_there(context.ensure_object(App), value, sys.argv[1:]))

    option = click.option("--remote", metavar="NAME", expose_value=False, callback=elsewhere,
                          help="Run on the server of this git remote.")  # fmt: skip
    return in_repository(option(function))


def run_there(app: App, remote: str, arguments: list[str]) -> int:
    """Run `gzl arguments` (without its `--remote` and `-C`) in the remote's repository; give its exit status."""
    url = app.repo.config(f"remote.{remote}.url")
    if url is None:
        raise UserError(f"--remote {remote}: no such remote; `git remote -v` lists them")
    ssh = [*shlex.split(app.environ.get("GIT_SSH_COMMAND") or app.repo.config("core.sshCommand") or "ssh")]
    host, path, port = parse_ssh(url, remote)
    command = ["gzl", "-C", path, *_without_location(arguments)]
    if port:
        ssh += ["-p", port]
    if sys.stdout.isatty():
        ssh.append("-t")
    return subprocess.run([*ssh, "--", host, shlex.join(command)], check=False).returncode


def parse_ssh(url: str, remote: str) -> tuple[str, str, str | None]:
    """Host (with user), path and port of an SSH address in either of git's two forms (git-clone(1), GIT URLS)."""
    match = _URL.match(url) or (None if "://" in url else _SCP_LIKE.match(url))
    if match is None or match["host"].startswith("-"):
        raise UserError(f"--remote {remote}: {url} is not an SSH address; run gzl in that repository itself with -C")
    path = match["path"]
    if path.startswith("/~"):
        path = path[1:]
    return match["host"], path.removeprefix("~/"), match.groupdict().get("port")


def _without_location(arguments: list[str]) -> list[str]:
    kept, words = [], iter(arguments)
    for word in words:
        if word in ("--remote", "-C"):
            next(words, None)
        elif not word.startswith(("--remote=", "-C")):
            kept.append(word)
    return kept
