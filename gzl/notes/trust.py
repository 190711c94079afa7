"""Whose records count in decisions: a skip, a gate, a line in the notes of a server."""

from collections.abc import Iterable

from gzl.git.repo import Repo
from gzl.kit.proc import run
from gzl.notes.writer import own

KEY = "gzl.trust"


def trusted(repo: Repo) -> frozenset[str] | None:
    """The writers on the repository's trust list (git's configuration, `gzl.trust`, one each), and its own always.

    None: all of them, which the entry `*` says.
    """
    done = run(["git", "--git-dir", str(repo.git_dir), "config", "-z", "--get-all", KEY])
    return among(done.stdout.decode(errors="surrogateescape").split("\0"), own(repo))


def among(listed: Iterable[str], own: str) -> frozenset[str] | None:
    """The writers that count where the list says `listed`; None: all of them."""
    names = {name for name in listed if name}
    return None if "*" in names else frozenset(names | {own})
