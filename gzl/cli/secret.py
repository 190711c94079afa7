"""`gzl secret`: set, list and remove the secrets of the repository. No value is ever in an argument, or shown."""

import json
import sys

import click

from gzl.cli.boundary import PASSED, say
from gzl.cli.context import App
from gzl.cli.remote import reading
from gzl.cli.render import Paper, ago
from gzl.errors import UserError
from gzl.kit.forms import SHORTEST
from gzl.kit.text import escaped
from gzl.records import secrets
from gzl.records.secrets import LONGEST, Secret


@click.group("secret")
def command() -> None:
    """Keep the secrets that stages may have: `deploy [secrets=deploy-key]: …`.

    They are files of this repository on this machine, never in git; --remote keeps them on a server.
    """


@command.command("set")
@click.argument("name")
@click.option("--branch", "branches", metavar="GLOB", multiple=True,
              help="Only for jobs on such branches; may be given several times.")  # fmt: skip
@reading
def set_(app: App, name: str, branches: tuple[str, ...]) -> int:
    """Set the secret NAME, or change it.

    The value is read from standard input (one line end at its end is not part of it), and asked for if that is a
    terminal.
    """
    layout = app.initialised.layout
    secret = Secret(name, _value(name), branches, app.clock())
    secrets.put(layout, secret)
    on = f" on branches {' '.join(map(escaped, branches))}" if branches else " on any branch"
    click.echo(f"{name}: set; a stage with secrets={name} has it as ${secret.variable},{on}")
    if not secret.masked:
        say(f"{name}: has fewer than {SHORTEST} bytes, and will NOT be masked in logs; a longer one will")
    return PASSED


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="As a JSON array.")
@reading
def list_(app: App, as_json: bool) -> int:
    """List the secrets: names, variables, branches, when they were set. Never values."""
    layout = app.initialised.layout
    found = [secret for name in secrets.names(layout) if (secret := secrets.get(layout, name)) is not None]
    if as_json:
        click.echo(json.dumps([_data(secret) for secret in found], indent=2))
        return PASSED
    paper = Paper.of(app)
    width = max((len(secret.name) for secret in found), default=0)
    for secret in found:
        on = " ".join(map(escaped, secret.branches)) or "any branch"
        short = "" if secret.masked else "  not masked: too short"
        click.echo(f"{secret.name:{width}}  {on}  {paper.dim(f'set {ago(secret.set, paper.now)}')}{short}")
    return PASSED


@command.command("remove")
@click.argument("name")
@reading
def remove(app: App, name: str) -> int:
    """Forget the secret NAME; stages that name it no longer start."""
    if not secrets.remove(app.initialised.layout, name):
        raise UserError(f"{escaped(name, 80)}: no such secret; `gzl secret list` shows them")
    click.echo(f"{name}: removed")
    return PASSED


def _value(name: str) -> bytes:
    if sys.stdin.isatty():
        typed: str = click.prompt(f"Value of {escaped(name, 80)}", hide_input=True, confirmation_prompt=True, err=True)
        return typed.encode(errors="surrogateescape")
    data = sys.stdin.buffer.read(LONGEST + 2)
    return data.removesuffix(b"\n").removesuffix(b"\r") if data.endswith(b"\n") else data


def _data(secret: Secret) -> dict[str, object]:
    return {
        "name": secret.name,
        "variable": secret.variable,
        "branches": list(secret.branches),
        "set": secret.set,
        "masked": secret.masked,
    }
