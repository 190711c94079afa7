"""Checks what gzl keeps in git, says what is wrong and what to do, and mends what is derived from the ledgers.

The ledgers themselves are never changed: they are what everything else is derived from.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gzl.errors import UserError
from gzl.git.refs import RefUpdate, read, transaction
from gzl.git.repo import Repo
from gzl.kit.proc import CommandFailed
from gzl.model import refs as names
from gzl.model.comment import Comment
from gzl.model.comment import to_json as comment_json
from gzl.model.record import to_json
from gzl.notes import audit, index, ledger, store, trust, writer
from gzl.notes.audit import Held
from gzl.records import unfinished

_STALE_LOCK = 600  # seconds; git holds a ref's lock for milliseconds
_PER_BRANCH = ("refs/gzl/last", "refs/gzl/passed")


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong: where, what, and what to do about it."""

    where: str
    what: str
    mends: bool
    """Whether `mend` puts it right."""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def check(repo: Repo, now: float) -> tuple[list[Problem], list[Held]]:
    """All that is wrong, and every valid record (`gzl.logs.check` wants them). `now` is in seconds."""
    # In this order: a job that ends meanwhile leaves `live` only after it is in the ledger.
    live = read(repo, "refs/gzl/live")
    problems: list[Problem] = list(_seeds(repo))
    found = _Found()
    for ref, tip in ledger.heads(repo).items():
        problems += _ledger(repo, ref, tip, found)
    problems += _contradictions(found.held)
    problems += _notes(repo, found.held)
    problems += _live(repo, live, found.held)
    problems += _branches(repo)
    problems += _locks(repo, now)
    problems += _index(repo, found)
    return problems, found.held


def mend(repo: Repo, problems: Sequence[Problem], now: float) -> None:
    """Put right all that `mends`: seeds, notes, refs, locks, the index."""
    own = writer.own(repo)
    for path in _stale_locks(repo, now):
        path.unlink(missing_ok=True)
    store.seed(repo, own, server=False)
    audit.mend(repo, lambda: _held(repo), _counting(repo), own)
    there = read(repo, "refs/gzl/live", *_PER_BRANCH)
    stale = {problem.where for problem in problems if problem.mends} & there.keys()
    transaction(repo, [RefUpdate(ref, None, there[ref]) for ref in sorted(stale)])
    index.rebuild(repo).close()


def _seeds(repo: Repo) -> Iterator[Problem]:
    own = names.ledger(writer.own(repo))
    notes = names.NOTES_LOCAL if repo.config(store.FOLLOW_KEY) else names.NOTES
    there = read(repo, own, notes)
    for ref in (own, notes):
        if ref not in there:
            yield Problem(ref, "does not exist; `gzl fsck --repair` makes it", mends=True)


@dataclass
class _Found:
    """All that is valid in the ledgers."""

    held: list[Held] = field(default_factory=list)
    comments: list[tuple[str, Comment]] = field(default_factory=list)
    """With the writer of the ledger that holds it."""


def _ledger(repo: Repo, ref: str, tip: str, found: _Found) -> Iterator[Problem]:
    """What is wrong with a ledger; its valid records and comments are added to `found`."""
    origin = ledger.remote_of(ref)
    advice = f"it is ignored; tell who runs {ledger.writer_of(ref)!r}" if origin else "it is ignored"
    try:
        for entry in ledger.changes(repo, tip, None):
            try:
                record, comment = ledger.valid(entry), ledger.comment(entry)
            except UserError as error:
                yield Problem(ref, f"{error}; {advice}", mends=False)
                continue
            if record is not None:
                found.held.append(Held(ledger.writer_of(ref), record))
            if comment is not None:
                found.comments.append((ledger.writer_of(ref), comment))
    except CommandFailed as error:
        yield Problem(ref, f"is no ledger ({error.stderr.strip()}); {advice}", mends=False)


def _contradictions(held: Sequence[Held]) -> Iterator[Problem]:
    first: dict[str, Held] = {}
    told: set[str] = set()
    for one in held:
        other = first.setdefault(one.record.id, one)
        if one.record.id not in told and to_json(other.record) != to_json(one.record):
            told.add(one.record.id)
            yield Problem(
                one.record.id,
                f"the ledgers of {other.ledger} and {one.ledger} say different things of this job; "
                f"the one of its own writer, {one.record.writer}, counts",
                mends=False,
            )


def _held(repo: Repo) -> list[Held]:
    found = _Found()
    for ref, tip in ledger.heads(repo).items():
        list(_ledger(repo, ref, tip, found))
    return found.held


def _counting(repo: Repo) -> frozenset[str] | None:
    """The writers whose jobs belong into this clone's notes: a follower notes only what it ran itself."""
    return frozenset({writer.own(repo)}) if repo.config(store.FOLLOW_KEY) else trust.trusted(repo)


def _notes(repo: Repo, held: Sequence[Held]) -> Iterator[Problem]:
    for place, twice in audit.misplaced(repo):
        how = "is there twice, flat and fanned out, and makes `git notes merge` abort" if twice else "is not at 2/38"
        yield Problem(f"note of {place.replace('/', '')}", f"{how}; `gzl fsck --repair` moves it", mends=True)
    for difference in audit.differences(repo, held, _counting(repo)):
        for line in difference.missing:
            yield _line(difference.commit, "lacks", line)
        for line in difference.extra:
            yield _line(difference.commit, "has, but no ledger that counts says,", line)


def _line(commit: str, how: str, line: bytes) -> Problem:
    said = line.decode(errors="replace")
    return Problem(f"note of {commit}", f"{how} {said!r}; `gzl fsck --repair` mends it", mends=True)


def _live(repo: Repo, live: dict[str, str], held: Sequence[Held]) -> Iterator[Problem]:
    recorded = {one.record.id for one in held}
    running = set(unfinished.jobs(repo.layout))
    for ref in live:
        job = ref.rpartition("/")[2]
        if job not in running:
            how = "is recorded" if job in recorded else "does not exist any more"
            yield Problem(ref, f"keeps a commit for a job that {how}; `gzl fsck --repair` removes it", mends=True)


def _branches(repo: Repo) -> Iterator[Problem]:
    """`last` and `passed` refs that name commits which are gone; in a shallow clone that is no news."""
    there = read(repo, *_PER_BRANCH)
    if not there or (repo.common_dir / "shallow").exists():
        return
    kinds = repo.git("cat-file", "--batch-check", stdin="\n".join([*there.values(), ""]).encode()).splitlines()
    for ref, kind in zip(there, kinds, strict=True):
        if b" commit " not in kind:
            yield Problem(ref, f"names no commit ({kind.decode()}); `gzl fsck --repair` removes it", mends=True)


def _locks(repo: Repo, now: float) -> Iterator[Problem]:
    for path in _stale_locks(repo, now):
        yield Problem(str(path), "was left by a git that crashed; `gzl fsck --repair` removes it", mends=True)


_GZL_REF = re.compile(r"refs/(?:gzl|notes/gzl(?:-local)?\.lock)")


def _stale_locks(repo: Repo, now: float) -> Iterator[Path]:
    for folder in ("refs/gzl", "refs/notes"):
        for root, _, files in os.walk(repo.common_dir / folder):
            for name in files:
                path = Path(root, name)
                ours = _GZL_REF.match(str(path.relative_to(repo.common_dir)))
                if ours and name.endswith(".lock") and now - path.stat().st_mtime > _STALE_LOCK:
                    yield path


def _index(repo: Repo, found: _Found) -> Iterator[Problem]:
    with index.open_index(repo) as opened:
        indexed = {("job", name, record.id): to_json(record) for name, record in opened.everything()}
        indexed |= {("comment", name, one.id): comment_json(one) for name, one in opened.comments()}
        place = opened.name
    # Of versions that differ the index keeps the smallest text (`Index.add`).
    least: dict[tuple[str, str, str], bytes] = {}
    said = [(("job", one.ledger, one.record.id), to_json(one.record)) for one in found.held]
    said += [(("comment", name, one.id), comment_json(one)) for name, one in found.comments]
    for key, text in said:
        least[key] = min(text, least.get(key, text))
    if indexed != least:
        yield Problem(place, "differs from the ledgers; `gzl reindex` makes it again", mends=True)
