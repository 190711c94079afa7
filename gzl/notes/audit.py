"""What the notes should say, by the ledgers: the part of `gzl fsck` that compares the one with the other.

A note's lines are of three kinds. Lines that gzl did not write stay as they are. Lines about a job that a trusted
ledger holds must be exactly what its record renders to. Other lines of gzl's have to come from somewhere: in a
repository that is no server from any ledger that it knows, or from notes that it fetched (exchanging notes through a
plain remote brings such lines in); in a server's from nowhere.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from pygit2 import Oid, Repository

from gzl.git import trees
from gzl.git.refs import RefUpdate, read, transaction
from gzl.git.repo import Repo
from gzl.kit.fs import locked
from gzl.model import refs as names
from gzl.model.record import JobRecord
from gzl.notes import fanout, text
from gzl.notes.store import notes_ref


@dataclass(frozen=True, slots=True)
class Held:
    """A record, and the writer of the ledger that holds it."""

    ledger: str
    record: JobRecord


@dataclass(frozen=True, slots=True)
class Difference:
    """A note that is not as it should be."""

    commit: str
    missing: tuple[bytes, ...]
    extra: tuple[bytes, ...]
    text: bytes
    """What the note should be."""


def differences(repo: Repo, held: Iterable[Held], trusted: frozenset[str] | None) -> list[Difference]:
    """The notes of this clone's own jobs that differ from what the ledgers say."""
    everything = list(held)

    def compare(objects: Repository) -> list[Difference]:
        tree = trees.tree_of(objects, trees.tip(objects, notes_ref(objects)))
        return list(_differences(objects, tree, _Sayings.of(repo, objects, everything, trusted)))

    return trees.again(repo.common_dir, compare)


def misplaced(repo: Repo) -> list[tuple[str, bool]]:
    """(path, whether it is there twice) of each note that is not at its 2/38 path."""
    objects = trees.open(repo.common_dir)
    tree = trees.tree_of(objects, trees.tip(objects, notes_ref(objects)))
    return [
        (place, trees.exists(objects, tree, fanout.path(place.replace("/", ""))))
        for place in fanout.misplaced(objects, tree)
    ]


def mend(repo: Repo, read_held: Callable[[], list[Held]], trusted: frozenset[str] | None, author: str) -> None:
    """Put every note in its place, and make it what the ledgers say.

    `read_held` is called under the store's lock: a job that is recorded meanwhile must not lose its lines.
    """
    with locked(repo.layout.store_lock):
        held = read_held()
        transaction(repo, trees.again(repo.common_dir, lambda o: list(_mended(repo, o, held, trusted, author))))


def _mended(
    repo: Repo, objects: Repository, held: list[Held], trusted: frozenset[str] | None, author: str
) -> Iterator[RefUpdate]:
    ref = notes_ref(objects)
    tip = trees.tip(objects, ref)
    before = trees.tree_of(objects, tip)
    tree = fanout.normal(objects, before)
    sayings = _Sayings.of(repo, objects, held, trusted)
    tree = fanout.write(objects, tree, {d.commit: d.text for d in _differences(objects, tree, sayings)})
    if tree != before:
        when = max((one.record.finished or one.record.created for one in held), default=0.0)
        parents = [tip] if tip is not None else []
        new = trees.commit(objects, tree, parents, author=author, time=when, message="Mended by gzl fsck\n")
        yield RefUpdate(ref, str(new), None if tip is None else str(tip))


@dataclass(frozen=True, slots=True)
class _Sayings:
    """What may stand in notes, and what must: commit → lines."""

    must: Mapping[str, set[bytes]]
    may: Mapping[str, set[bytes]]

    @classmethod
    def of(cls, repo: Repo, objects: Repository, held: Iterable[Held], trusted: frozenset[str] | None) -> "_Sayings":
        everything = list(held)
        ours = [one for one in everything if trusted is None or one.ledger in trusted]
        if trees.tip(objects, names.SERVER) is not None:
            return cls(_lines(ours), {})
        may = _lines(everything)
        for ref in read(repo, "refs/gzl/remotes"):
            if ref.endswith("/notes/gzl"):
                tree = trees.tree_of(objects, trees.tip(objects, ref))
                for commit, blob in fanout.notes(objects, tree):
                    may.setdefault(commit, set()).update(fanout.text_of(objects, blob).split(b"\n"))
        return cls(_lines(ours), may)


def _lines(held: Iterable[Held]) -> dict[str, set[bytes]]:
    lines: dict[str, set[bytes]] = {}
    for one in held:
        rendered = text.encoded(text.render(one.record)).split(b"\n")
        lines.setdefault(one.record.commit, set()).update(line for line in rendered if line)
    return lines


def _differences(objects: Repository, tree: Oid | None, sayings: _Sayings) -> Iterator[Difference]:
    blobs = dict(fanout.notes(objects, tree))
    for commit in sorted(blobs.keys() | sayings.must.keys()):
        stands = {line for line in fanout.read(objects, tree, commit).split(b"\n") if line}
        must = sayings.must.get(commit, set())
        known_jobs = {text.job_of(line) for line in must}
        allowed = must | {line for line in sayings.may.get(commit, set()) if text.job_of(line) not in known_jobs}
        extra = {line for line in stands if text.job_of(line) is not None and line not in allowed}
        missing = must - stands
        if missing or extra:
            wanted = text.merged(b"\n".join((stands - extra) | missing))
            yield Difference(commit, tuple(sorted(missing)), tuple(sorted(extra)), wanted)
