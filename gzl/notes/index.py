"""Keeps the index in step with the ledgers: one `git for-each-ref` where nothing has moved."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from gzl.git.repo import Repo
from gzl.kit.fs import locked
from gzl.kit.proc import CommandFailed
from gzl.notes import ledger
from gzl.records.index import Index, IndexDamaged


class _Shrunk(Exception):
    """A ledger no longer holds what it held: what it brought cannot be taken out of the index again."""


def open_index(repo: Repo) -> Index:
    """The repository's index, holding all that its ledgers hold now. A damaged or deleted file is made again."""
    path = repo.layout.index
    path.parent.mkdir(exist_ok=True)
    try:
        return _refreshed(repo, Index(path))
    except IndexDamaged:
        return _again(repo, path)


def rebuild(repo: Repo) -> Index:
    """Fill the index anew from all ledgers."""
    path = repo.layout.index
    try:
        index = Index(path)
        with index.filling():
            _fill(repo, index, ledger.heads(repo))
    except IndexDamaged:
        with _alone(path):
            return _anew(repo, path)
    return index


def _again(repo: Repo, path: Path) -> Index:
    with _alone(path):
        try:
            return _refreshed(repo, Index(path))  # another process has made it again meanwhile
        except IndexDamaged:
            return _anew(repo, path)


def _alone(path: Path) -> AbstractContextManager[None]:
    """Keeps two processes from deleting each other's new file."""
    return locked(path.with_name(f"{path.name}.lock"))


def _anew(repo: Repo, path: Path) -> Index:
    for name in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        name.unlink(missing_ok=True)
    return _refreshed(repo, Index(path))


def _refreshed(repo: Repo, index: Index) -> Index:
    heads = ledger.heads(repo)
    if index.sources() != heads:
        with index.filling():
            # Read again: another process may have filled it while this one waited.
            _follow(repo, index, ledger.heads(repo))
    return index


def _follow(repo: Repo, index: Index, heads: dict[str, str]) -> None:
    known = index.sources()
    try:
        if known.keys() - heads.keys():
            raise _Shrunk
        for ref, tip in heads.items():
            if known.get(ref) != tip:
                _add(repo, index, ref, tip, known.get(ref))
    except (_Shrunk, CommandFailed):
        _fill(repo, index, heads)


def _fill(repo: Repo, index: Index, heads: dict[str, str]) -> None:
    index.clear()
    for ref, tip in heads.items():
        with suppress(CommandFailed):  # a ref that holds no ledger, whatever it is called: `gzl fsck` reports it
            _add(repo, index, ref, tip, None)
        index.reached(ref, tip)


def _add(repo: Repo, index: Index, ref: str, tip: str, since: str | None) -> None:
    entries = _additions(repo, tip, since)
    index.add(ledger.writer_of(ref), (r for entry in entries if (r := ledger.valid_or_none(entry)) is not None))
    index.reached(ref, tip)


def _additions(repo: Repo, tip: str, since: str | None) -> Iterator[ledger.Entry]:
    for entry in ledger.changes(repo, tip, since):
        if entry.data is None or entry.replaced:
            raise _Shrunk
        yield entry
