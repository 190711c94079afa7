"""The option `cache="PATH… key=GLOB…"`: paths that are there again when the stage runs the next time.

They are restored into a clean checkout, whose own files stay, and saved when the stage has passed, unless there is a
cache of that key. The key is that of the files that the globs match, as the commit has them. A cache only ever saves
time: whatever is wrong with one is said in a sentence, and the stage runs without.

A cache can be poisoned by whoever may write it, for all who read it. So pull requests never write one, and
`git config gzl.cacheRefs` can leave it to some branches and tags.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO, cast

from gzl.errors import GzlError, UserError
from gzl.git.changes import files, matching
from gzl.git.repo import Repo
from gzl.gzlfile import values
from gzl.gzlfile.globs import matches
from gzl.kit.clock import Clock
from gzl.kit.mask import Masker
from gzl.kit.text import escaped, human_size
from gzl.model.event import EventKind
from gzl.model.pipeline import Stage
from gzl.model.record import JobRecord
from gzl.objects import archive
from gzl.objects.base import ObjectDamaged, ObjectNotFound, ObjectStore
from gzl.records import caches
from gzl.records.caches import Entry

OPTION = "cache"
REFS = "gzl.cacheRefs"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a stage's option says."""

    paths: tuple[str, ...]
    globs: tuple[str, ...]
    family: str
    """Caches that may stand in for one another: of the same paths, stage and kind of machine."""

    def __str__(self) -> str:
        return f"cache {escaped(' '.join(self.paths), 200)}"


def wanted(stage: Stage) -> Wanted | None:
    """The stage's cache, or None if it has none."""
    if OPTION not in stage.options:
        return None
    words = values.cache(stage.options[OPTION])
    paths = tuple(sorted(word for word in words if not word.startswith("key=")))
    globs = tuple(word.removeprefix("key=") for word in words if word.startswith("key="))
    machine = os.uname()
    kind = (machine.sysname, machine.machine, stage.options.get("runner", ""), stage.options.get("image", ""))
    return Wanted(paths, globs, _digest(stage.family or stage.name, *kind, *paths))


def may_write(repo: Repo, event: str, ref: str) -> bool:
    """Whether a job that `event` made on `ref` (a full name) may write caches."""
    if event == EventKind.PULL_REQUEST or not (ref == "HEAD" or ref.startswith(("refs/heads/", "refs/tags/"))):
        return False
    patterns = (repo.config(REFS) or "").split()
    name = ref.removeprefix("refs/heads/").removeprefix("refs/tags/")
    return not patterns or any(matches(pattern, name) for pattern in patterns)


class Caches:
    """Restores and saves for one job; threads may share it. `tmp` is a folder on the disk of gzl's own files."""

    def __init__(
        self,
        repo: Repo,
        store: Callable[[], ObjectStore],
        record: JobRecord,
        *,
        masker: Callable[[], Masker],
        tmp: Path,
        clock: Clock,
    ) -> None:
        self._repo = repo
        self._store = store
        self._record = record
        self._masker = masker
        self._tmp = tmp
        self._clock = clock

    def restore(self, stage: Stage, workspace: Path) -> str | None:
        """Put the stage's cache into the clean workspace; the sentence that says so, None if the stage has none."""
        cache = wanted(stage)
        if cache is None:
            return None
        layout = self._repo.layout
        try:
            exact = caches.find(layout, cache.family, self._key(cache))
            entry = exact or caches.newest(layout, cache.family)
            if entry is None:
                return f"{cache}: nothing was saved yet"
            self._unpack(entry, workspace)
        except (GzlError, OSError) as error:
            return f"{cache}: not restored: {escaped(str(error))}"
        which = "restored" if exact else "restored the newest, which is of another key"
        return f"{cache}: {which} ({human_size(entry.size)})"

    def save(self, stage: Stage, workspace: Path) -> str | None:
        """Save the stage's cache after it has passed; the sentence that says so, None if there is nothing to say."""
        cache = wanted(stage)
        if cache is None:
            return None
        try:
            key = self._key(cache)
            if caches.find(self._repo.layout, cache.family, key) is not None:
                return None
            if not may_write(self._repo, self._record.event, self._record.ref):
                return f"{cache}: not saved: {self._record.event} on {escaped(self._record.ref)} may not write caches"
            size = self._pack(cache, key, workspace)
        except (GzlError, OSError) as error:
            return f"{cache}: not saved: {escaped(str(error))}"
        return f"{cache}: saved ({human_size(size)})"

    def _key(self, cache: Wanted) -> str:
        """Without globs nothing tells whether a cache is still right, so every commit has its own."""
        if not cache.globs:
            return _digest(self._record.commit)
        found = matching(files(self._repo, self._record.commit), cache.globs)
        return _digest(*(part for file in found for part in (file.path, file.mode, file.oid)))

    def _unpack(self, entry: Entry, workspace: Path) -> None:
        # What is of no use is dropped, to be saved again; not so if it is the store that says no (credentials).
        with _dropping(entry, ObjectNotFound, ObjectDamaged):
            source = self._store().get(entry.digest)
        with source, _dropping(entry, ObjectNotFound, ObjectDamaged, UserError):
            archive.unpack(source, workspace, replace=False)
        caches.use(entry, self._clock())

    def _pack(self, cache: Wanted, key: str, workspace: Path) -> int:
        there = [path for path in cache.paths if os.path.lexists(workspace / path)]
        if not there:
            raise UserError("the stage left none of these paths")
        self._tmp.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=self._tmp, prefix="cache-", delete=False) as out:
            path = Path(out.name)
            try:
                archive.pack_many(workspace, there, cast(BinaryIO, out), times=True)
                out.flush()
                if archive.holds_secret(path, self._masker()):  # other branches' stages could read it there
                    raise UserError("a file in it holds the value of a secret; keep that file out of these paths")
                blob = self._store().put_file(path, take=True)
            finally:
                path.unlink(missing_ok=True)
        caches.keep(self._repo.layout, cache.family, key, digest=blob.digest, size=blob.size, now=self._clock())
        return blob.size


@contextmanager
def _dropping(entry: Entry, *errors: type[Exception]) -> Iterator[None]:
    """Forget the cache where one of these errors says that it is of no use."""
    try:
        yield
    except errors:
        caches.drop(entry)
        raise


def _digest(*parts: str) -> str:
    """A name for these texts, in this order: each with its length before it, so that no two lists have the same."""
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode(errors="surrogateescape")
        whole.update(b"%d:%b" % (len(data), data))
    return whole.hexdigest()
