"""Keeps the index in step with the ledgers: one `git for-each-ref` where nothing has moved."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from gzl.git import blobs
from gzl.git.repo import Repo
from gzl.kit.fs import locked
from gzl.kit.proc import CommandFailed
from gzl.notes import ledger, writer
from gzl.records.backend import Backend, backend
from gzl.records.index import Index, IndexDamaged

KEY = "gzl.index"
"""git's configuration: the URL of a PostgreSQL database; where it is not set, the index is a SQLite file."""


class _Shrunk(Exception):
    """A ledger no longer holds what it held: what it brought cannot be taken out of the index again."""


def open_index(repo: Repo) -> Index:
    """The repository's index, holding all that its ledgers hold now. A damaged or deleted one is made again."""
    repo.layout.index.parent.mkdir(exist_ok=True)
    try:
        return _refreshed(repo, Index(_backend(repo)))
    except IndexDamaged:
        return _again(repo)


def rebuild(repo: Repo) -> Index:
    """Fill the index anew from all ledgers."""
    try:
        index = Index(_backend(repo))
        with _closed_on_failure(index), index.filling():
            _fill(repo, index, ledger.heads(repo))
    except IndexDamaged:
        with _alone(repo):
            return _anew(repo)
    return index


def _backend(repo: Repo) -> Backend:
    url = repo.config(KEY)
    owner = ("", "") if url is None else (writer.own(repo), os.fsdecode(repo.common_dir))
    return backend(url, repo.layout.index, owner)


def _again(repo: Repo) -> Index:
    with _alone(repo):
        try:
            return _refreshed(repo, Index(_backend(repo)))  # another process has made it again meanwhile
        except IndexDamaged:
            return _anew(repo)


def _alone(repo: Repo) -> AbstractContextManager[None]:
    """Keeps two processes from discarding each other's new index."""
    return locked(repo.layout.index.with_name(f"{repo.layout.index.name}.lock"))


def _anew(repo: Repo) -> Index:
    place = _backend(repo)
    place.discard()
    return _refreshed(repo, Index(place))


@contextmanager
def _closed_on_failure(index: Index) -> Iterator[None]:
    try:
        yield
    except BaseException:
        index.close()
        raise


def _refreshed(repo: Repo, index: Index) -> Index:
    with _closed_on_failure(index):
        heads = ledger.heads(repo)
        if index.sources() != heads:
            with index.filling():
                # Read again: another process may have filled it while this one waited.
                _follow(repo, index, ledger.heads(repo))
    return index


def _follow(repo: Repo, index: Index, heads: dict[str, str]) -> None:
    try:
        for ref, tip in index.behind().items():
            index.add_comments(ledger.writer_of(ref), ledger.comments(repo, tip))
            index.reached(ref, tip)
        known = index.sources()
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
    name = ledger.writer_of(ref)
    for entries in blobs.batched(_additions(repo, tip, since)):
        index.add(name, [record for entry in entries if (record := ledger.valid_or_none(entry))])
        index.add_comments(name, filter(None, map(ledger.comment_or_none, entries)))
    index.reached(ref, tip)


def _additions(repo: Repo, tip: str, since: str | None) -> Iterator[ledger.Entry]:
    for entry in ledger.changes(repo, tip, since):
        if entry.data is None or entry.replaced:
            raise _Shrunk
        yield entry
