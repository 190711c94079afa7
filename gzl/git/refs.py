"""Refs read and changed through git itself: many at once, all or none, each naming the old value that it expects.

Every ref of gzl changes through `transaction`; nothing else in gzl writes one.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from gzl.errors import TransientError, UserError
from gzl.git.repo import Repo
from gzl.kit.proc import CommandFailed


class _Old(Enum):
    ANY = "any"


ANY: Literal[_Old.ANY] = _Old.ANY
"""For `RefUpdate.old`: whatever the ref holds now, or nothing."""


@dataclass(frozen=True, slots=True)
class RefUpdate:
    """One change in a transaction: `new` None deletes; `old` None means that the ref must not exist yet."""

    name: str
    new: str | None
    old: str | Literal[_Old.ANY] | None


class RefChanged(TransientError):
    """A ref did not hold the expected value; nothing was changed. `name` is that ref."""

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(f"{name}: somebody else changed it ({detail})")
        self.name = name


class RefInTheWay(UserError):
    """git cannot keep `a` and `a/b` at once; nothing was changed."""

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(f"{name}: {detail}; `git update-ref -d` removes the one that is no longer wanted")
        self.name = name


# What git 2.39 prints in the C locale (refs.c, refs/files-backend.c).
_CANNOT = re.compile(r"cannot (?:lock|update) ref '(?P<name>.*?)': (?P<detail>.*)", re.DOTALL)
_CHANGED = ("but expected", "reference already exists", "unable to resolve reference", "reference is missing")
_IN_THE_WAY = ("; cannot create", "at the same time")

# gzl holds its own lock, but `git gc` packs refs and a user's git writes notes: wait for them (milliseconds), instead
# of the 100 ms that git waits by itself. The identity is for the reflog of refs/notes, where the user has none set.
_SETTINGS = ("-c", "core.filesRefLockTimeout=5000", "-c", "core.packedRefsTimeout=5000",
             "-c", "user.name=gzl", "-c", "user.email=gzl@localhost")  # fmt: skip


def read(repo: Repo, *prefixes: str) -> dict[str, str]:
    """Ref name → object id, of the refs that are, or are below, one of `prefixes`.

    Three milliseconds, against 85 for importing pygit2: this is how a command finds out that nothing has changed.
    """
    printed = repo.git("for-each-ref", "--format=%(objectname) %(refname)", *prefixes)
    lines = (os.fsdecode(line).partition(" ") for line in printed.split(b"\n") if line)
    return {name: oid for oid, _, name in lines}


def transaction(repo: Repo, updates: Sequence[RefUpdate]) -> None:
    """Make all `updates` or none (git-update-ref(1), `--stdin`).

    Raises RefChanged, RefInTheWay, or TransientError where another process holds a ref's lock.
    """
    if not updates:
        return
    zero = _zero(updates)
    commands = [b"start", *(_command(update, zero) for update in updates), b"prepare", b"commit", b""]
    try:
        repo.git(*_SETTINGS, "update-ref", "-m", "gzl", "-z", "--stdin", stdin=b"\0".join(commands),
                 extra={"LC_ALL": "C"})  # fmt: skip
    except CommandFailed as error:
        raise _translated(error) from error


def _zero(updates: Sequence[RefUpdate]) -> str:
    ids = (value for update in updates for value in (update.new, update.old) if isinstance(value, str))
    return "0" * len(next(ids, "0" * 40))


def _command(update: RefUpdate, zero: str) -> bytes:
    # In the -z form an empty old value means "not checked", and zeros mean "must not exist".
    old = "" if update.old is ANY else zero if update.old is None else update.old
    name = os.fsencode(update.name)
    if update.new is None:
        return b"delete %b\0%b" % (name, old.encode())
    return b"update %b\0%b\0%b" % (name, update.new.encode(), old.encode())


def _translated(error: CommandFailed) -> Exception:
    match = _CANNOT.search(error.stderr)
    if match is None:
        return error
    name, detail = match["name"], match["detail"].strip()
    if any(sign in detail for sign in _IN_THE_WAY):
        return RefInTheWay(name, detail)
    if any(sign in detail for sign in _CHANGED):
        return RefChanged(name, detail)
    if "File exists" in detail:
        return TransientError(
            f"{name}: another git holds its lock; if none runs, `gzl fsck --repair` removes what a crash left"
        )
    return error
