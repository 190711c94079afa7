"""Which objects are caches: `<gzl>/caches/<family>/<key>.json` says where the archive is that a stage saved.

A family is what may stand in for one another: the same paths of the same stage. The time of such a file is when the
cache was last used. `gzl gc` keeps what is `referenced`, and takes from here what is too old or too much (`prune`).
"""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gzl.kit.fs import read_or_none, write_atomic
from gzl.model.layout import Layout


@dataclass(frozen=True, slots=True)
class Entry:
    """A cache: the object with its archive, the object's length in bytes, times in seconds since the epoch."""

    path: Path
    digest: str
    size: int
    created: float
    used: float


def find(layout: Layout, family: str, key: str) -> Entry | None:
    """The cache of exactly this key."""
    return _entry(_path(layout, family, key))


def newest(layout: Layout, family: str) -> Entry | None:
    """The cache that was saved last, of whatever key."""
    return max(_entries(layout.caches / family), key=lambda entry: entry.created, default=None)


def keep(layout: Layout, family: str, key: str, *, digest: str, size: int, now: float) -> None:
    """Remember what was saved. The object is in the store already."""
    path = _path(layout, family, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps({"digest": digest, "size": size, "created": round(now, 3)}).encode() + b"\n")
    os.utime(path, (now, now))


def use(entry: Entry, now: float) -> None:
    """It was restored: what is not used is removed first."""
    with suppress(FileNotFoundError):
        os.utime(entry.path, (now, now))


def drop(entry: Entry) -> None:
    """Forget a cache; its object goes with the next `gzl gc`."""
    entry.path.unlink(missing_ok=True)


def referenced(layout: Layout) -> set[str]:
    """The digests of all caches' objects."""
    return {entry.digest for entry in all_entries(layout)}


def prune(
    layout: Layout, *, max_bytes: int | None, max_age: float | None, now: float, dry_run: bool = False
) -> list[Entry]:
    """Forget what was not used for `max_age` seconds, and of the rest the least recently used beyond `max_bytes` in all
    (an object that two caches share counts once); None sets no limit. Gives what went, or would with `dry_run`."""
    gone, kept, total = [], set[str](), 0
    for entry in sorted(all_entries(layout), key=lambda entry: entry.used, reverse=True):
        size = 0 if entry.digest in kept else entry.size
        old = max_age is not None and now - entry.used > max_age
        if old or (max_bytes is not None and total + size > max_bytes):
            gone.append(entry)
        else:
            kept.add(entry.digest)
            total += size
    if not dry_run:
        for entry in gone:
            drop(entry)
    return gone


def all_entries(layout: Layout) -> list[Entry]:
    """The caches of all stages."""
    with suppress(FileNotFoundError):
        return [entry for folder in sorted(layout.caches.iterdir()) for entry in _entries(folder)]
    return []


def _path(layout: Layout, family: str, key: str) -> Path:
    return layout.caches / family / f"{key}.json"


def _entries(folder: Path) -> Iterator[Entry]:
    for path in sorted(folder.glob("[0-9a-f]*.json")):
        if (entry := _entry(path)) is not None:
            yield entry


def _entry(path: Path) -> Entry | None:
    data = read_or_none(path)
    if data is None:
        return None
    try:
        raw = json.loads(data)
        return Entry(path, str(raw["digest"]), int(raw["size"]), float(raw["created"]), path.stat().st_mtime)
    except (ValueError, KeyError, TypeError, FileNotFoundError):
        return None  # of no use any more, whatever it was: the stage saves it again
