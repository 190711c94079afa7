"""Secrets of a repository: a file for each in gzl's folder, which only its owner reads, and never in git.

A file holds JSON: the value, the branches it is for, when it was set. Who pushes decides what runs, so a secret without
branches is everybody's who may push; one with branches is only given to jobs on such branches.
"""

import json
import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gzl.errors import UserError
from gzl.gzlfile.globs import flaw, matches
from gzl.kit.forms import SHORTEST
from gzl.kit.fs import write_atomic
from gzl.kit.text import escaped
from gzl.model.event import EventKind
from gzl.model.layout import Layout
from gzl.model.refs import short_branch

LONGEST = 64 * 1024
"""Bytes of a value. A process takes no variable longer than 128 KiB (execve(2), MAX_ARG_STRLEN)."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")  # as in the option `secrets=`
_OWN = "GZL_"


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret and who may have it."""

    name: str
    value: bytes = field(repr=False)
    branches: tuple[str, ...]
    """Patterns; none means any ref."""
    set: float
    """When, in seconds since the epoch."""

    @property
    def variable(self) -> str:
        """The name that it has in the environment of a stage."""
        return variable(self.name)

    @property
    def masked(self) -> bool:
        """Whether it is long enough to be kept out of logs."""
        return len(self.value) >= SHORTEST


@dataclass(frozen=True, slots=True)
class Given:
    """What a stage gets of the secrets that it names: variables, or why it must not start."""

    values: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """By the names of their variables."""
    refusal: str | None = None


def variable(name: str) -> str:
    """The variable for a secret's name: itself, with `_` for `-`, which no variable may have (POSIX, XBD 3.231)."""
    return name.replace("-", "_")


def put(layout: Layout, secret: Secret) -> None:
    """Keep a secret, in the place of one of the same name. UserError if it is none that a stage could have."""
    _check(secret)
    for other in names(layout):
        if other != secret.name and variable(other) == secret.variable:
            raise UserError(
                f"{secret.name}: would be ${secret.variable} in a stage, as {other} is; choose another name"
            )
    layout.secrets.mkdir(mode=0o700, parents=True, exist_ok=True)
    layout.secrets.chmod(0o700)
    data = {
        "value": secret.value.decode(errors="surrogateescape"),
        "branches": secret.branches,
        "set": round(secret.set, 3),
    }
    write_atomic(layout.secrets / secret.name, json.dumps(data).encode() + b"\n", mode=0o600)


def names(layout: Layout) -> list[str]:
    """The names of all secrets."""
    try:
        return sorted(name for name in os.listdir(layout.secrets) if _NAME.fullmatch(name))
    except FileNotFoundError:
        return []


def get(layout: Layout, name: str) -> Secret | None:
    """The secret of that name, or None. UserError if others can read its file, or it is damaged."""
    if _NAME.fullmatch(name) is None:
        return None
    path = layout.secrets / name
    data = _read(path)
    if data is None:
        return None
    try:
        raw = json.loads(data)
        value = raw["value"].encode(errors="surrogateescape")
        return Secret(name, value, tuple(raw["branches"]), float(raw["set"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        # Without the error's own text, which may quote what it could not read.
        raise UserError(f"{path}: is damaged; set it again: gzl secret set {name}") from error


def remove(layout: Layout, name: str) -> bool:
    """Forget a secret; whether there was one."""
    if name not in names(layout):
        return False
    (layout.secrets / name).unlink(missing_ok=True)
    return True


def allowed(layout: Layout, wanted: Iterable[str], *, ref: str, event: str) -> Given:
    """The secrets of these names, for a job on `ref` (a full name) that `event` (a word of `EventKind`) has made: all
    of them, or why the stage must not start. Never for pull requests: what they run is a stranger's."""
    values: dict[str, bytes] = {}
    for name in wanted:
        if event == EventKind.PULL_REQUEST:
            return Given(refusal=f"secret {name}: is not given to pull requests; run the stage on a branch that has it")
        try:
            secret = get(layout, name)
        except UserError as error:
            return Given(refusal=f"secret {name}: {error}")
        if secret is None:
            return Given(refusal=f"secret {name}: is not set in this repository; `gzl secret set {name}` sets it")
        if not _may_have(secret, ref):
            where = escaped(short_branch(ref) or ref, 200)
            only = " ".join(map(escaped, secret.branches))
            return Given(
                refusal=f"secret {name}: is not given on {where}, only on branches {only}; `gzl secret set {name} "
                "--branch …` sets it for others"
            )
        values[secret.variable] = secret.value
    return Given(values)


def _may_have(secret: Secret, ref: str) -> bool:
    branch = short_branch(ref)
    return not secret.branches or (branch is not None and any(matches(glob, branch) for glob in secret.branches))


def _check(secret: Secret) -> None:
    name = escaped(secret.name, 80)
    if _NAME.fullmatch(secret.name) is None:
        raise UserError(f"{name}: is no name for a secret: letters, digits, _ and -, a letter or _ first, at most 100")
    if secret.variable.upper().startswith(_OWN):
        raise UserError(f"{name}: names that begin with {_OWN} are gzl's own; choose another")
    if not secret.value.strip():
        raise UserError(f"{name}: the value is empty; give it on standard input, as in `gzl secret set {name} <file`")
    if b"\0" in secret.value:
        raise UserError(f"{name}: the value has a NUL byte, which no environment can hold; encode it, with base64 say")
    if len(secret.value) > LONGEST:
        raise UserError(
            f"{name}: the value has {len(secret.value)} bytes of at most {LONGEST}; keep the file encrypted in the "
            "repository, and its key as the secret"
        )
    for glob in secret.branches:
        if wrong := flaw(glob) or ("it is empty" if not glob else None):
            raise UserError(f"--branch {escaped(glob, 80)}: in the pattern {wrong}")


def _read(path: Path) -> bytes | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; it must be a file of this user") from error
    with open(fd, "rb") as file:
        mode = stat.S_IMODE(os.fstat(fd).st_mode)
        if mode & 0o077:
            raise UserError(f"{path}: others may read it (mode {mode:o}); `chmod 600 {path}`, and set a new value")
        return file.read()
