"""Reading many objects with one git process, without importing pygit2."""

import itertools
from collections.abc import Iterable, Iterator
from typing import TypeVar

from gzl.git.repo import Repo

_Item = TypeVar("_Item")
_BATCH = 2000  # job records in one git process: 2 to 20 MB of output


def read(repo: Repo, names: Iterable[str]) -> Iterator[bytes | None]:
    """The bytes of each object (git-cat-file(1), `--batch`), in order; None for one that there is not."""
    for batch in batched(names):
        yield from _parsed(repo.git("cat-file", "--batch", stdin="\n".join([*batch, ""]).encode()))


def batched(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    """The items in lists of as many as one git process is given."""
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, _BATCH)):
        yield batch


def _parsed(printed: bytes) -> Iterator[bytes | None]:
    at = 0
    while at < len(printed):
        end = printed.index(b"\n", at)
        words = printed[at:end].rsplit(b" ", 2)
        at = end + 1
        if len(words) == 3 and words[2].isdigit():
            size = int(words[2])
            yield printed[at : at + size]
            at += size + 1
        else:
            yield None
