"""Writing results: a job's record, its note, its logs, comments and the refs that follow from it, all or nothing.

What may happen, and why nothing is lost:
- Many agents of one repository record at once. They queue for a lock (flock, so that it ends with its holder), and
  under it every ref changes by compare-and-swap in one transaction. Compare-and-swap alone would do, and needs about
  a thousand retries for 400 notes of 8 writers.
- Others move the notes ref without asking for the lock (`git notes add`, a fetch that mirrors): the transaction then
  changes nothing, and is made again from what is there now.
- `git gc` packs and removes what libgit2 is about to read: then, too, it is made again.
- A process is killed at any instant: before the transaction only unreachable objects exist; after it everything is
  there. Recording the same job again finds it in the ledger, and changes nothing.
- An agent that lost its lease (`still_mine`) is refused under the same lock in which the other one records.
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from pygit2 import Oid, Repository

from gzl.errors import StaleLease, TransientError
from gzl.git import trees
from gzl.git.maintenance import maybe_gc
from gzl.git.refs import RefChanged, RefUpdate, transaction
from gzl.git.repo import Repo
from gzl.kit.fs import locked
from gzl.model import comment as comment_model
from gzl.model import refs as names
from gzl.model.comment import Comment
from gzl.model.ids import job_month
from gzl.model.record import JobRecord, to_json, without_agent
from gzl.notes import fanout, text, writer

FOLLOW_KEY = "gzl.follow"
_TRIES = 50
_Result = TypeVar("_Result")


def notes_ref(repo: Repository) -> str:
    """Where this clone's own jobs are noted: a follower's `refs/notes/gzl` is a mirror that nobody here writes."""
    return names.NOTES_LOCAL if FOLLOW_KEY in repo.config else names.NOTES


def seed(repo: Repo, own: str, server: bool) -> None:
    """Make the refs that results go to, where they do not exist: compare-and-swap needs something to compare with."""
    repo.layout.root.mkdir(exist_ok=True)
    with locked(repo.layout.store_lock):
        transaction(repo, trees.again(repo.common_dir, lambda objects: _seeds(objects, own, server)))


def _seeds(objects: Repository, own: str, server: bool) -> list[RefUpdate]:
    wanted = ((names.ledger(own), f"Ledger of {own}"), (notes_ref(objects), "Notes of gzl"))
    updates = [
        RefUpdate(ref, str(_commit(objects, trees.write_files(objects, None, {}), [], own, 0, message)), None)
        for ref, message in wanted
        if trees.tip(objects, ref) is None
    ]
    if server and trees.tip(objects, names.SERVER) is None:
        updates.append(RefUpdate(names.SERVER, str(objects.create_blob(f"{own}\n".encode())), None))
    return updates


def record(
    repo: Repo,
    own: str,
    job: JobRecord,
    *,
    logs: Mapping[str, bytes] | None = None,
    comments: Sequence[Comment] = (),
    refs: Sequence[RefUpdate] = (),
    still_mine: Callable[[], bool] | None = None,
) -> bool:
    """Record a job that has ended; False, and nothing changed, if the writer's ledger has it already.

    `logs` are files (name → bytes) that go into the job's folder of the month's log tree; `comments` are what its
    stages said of it; `refs` change in the same transaction. Raises StaleLease if `still_mine` says no, and
    TransientError where the refs do not come to rest.
    """
    files = {job.id: logs or {}}
    recorded = record_all(repo, own, [job], logs=files, comments=comments, refs=refs, still_mine=still_mine)
    maybe_gc(repo)
    return bool(recorded)


def record_all(
    repo: Repo,
    own: str,
    jobs: Sequence[JobRecord],
    *,
    logs: Mapping[str, Mapping[str, bytes]] | None = None,
    comments: Sequence[Comment] = (),
    refs: Sequence[RefUpdate] = (),
    still_mine: Callable[[], bool] | None = None,
) -> list[JobRecord]:
    """Record several jobs in one commit of each ref, as `record` does one; gives those that were new."""

    def attempt() -> list[JobRecord]:
        if still_mine is not None and not still_mine():
            raise StaleLease(f"{jobs[0].id}: another agent has taken this job over")
        return _try_to_record(repo, own, jobs, logs or {}, comments, refs)

    return _settled(repo, attempt, f"record {jobs[0].id}", {update.name for update in refs})


def comment(repo: Repo, own: str, comments: Sequence[Comment]) -> None:
    """Add comments to the writer's ledger: on jobs of its own or of others, also on such as are not recorded yet. One
    that is there already stays as it is. TransientError where the ref does not come to rest."""

    def attempt() -> None:
        objects = trees.open(repo.common_dir)
        ledger = _own_ledger(repo, objects, own)
        tree = trees.tree_of(objects, trees.tip(objects, ledger))
        new = [one for one in comments if not trees.exists(objects, tree, comment_model.path(one))]
        if new:
            transaction(repo, [_commented(objects, ledger, new)])

    _settled(repo, attempt, "comment", set())
    maybe_gc(repo)


def _settled(repo: Repo, attempt: Callable[[], _Result], what: str, expected: set[str]) -> _Result:
    """What `attempt` gives under the store's lock, made again where others moved a ref or a gc was in its way.

    A change of an `expected` ref is the caller's to know: what it decided on does not hold any more.
    """
    trouble: Exception | None = None
    with locked(repo.layout.store_lock):
        for pause in _pauses():
            try:
                return attempt()
            except RefChanged as error:
                if error.name in expected:
                    raise
                trouble = error
            except trees.UNSETTLED as error:
                trouble = error
            time.sleep(pause)
    raise TransientError(f"{repo.common_dir}: cannot {what}: {trouble}; try again") from trouble


def _try_to_record(
    repo: Repo,
    own: str,
    jobs: Sequence[JobRecord],
    logs: Mapping[str, Mapping[str, bytes]],
    comments: Sequence[Comment],
    refs: Sequence[RefUpdate],
) -> list[JobRecord]:
    objects = trees.open(repo.common_dir)
    ledger = _own_ledger(repo, objects, own)
    new = [job for job in jobs if not _has(objects, ledger, job.id)]
    if new:
        transaction(repo, [*_updates(objects, ledger, new, logs, comments), *refs])
    return new


def recorded(repo: Repo, own: str, job: str) -> bool:
    """Whether the writer's ledger has the job."""
    return trees.again(repo.common_dir, lambda objects: _has(objects, _own_ledger(repo, objects, own), job))


def _pauses() -> Iterator[float]:
    for number in range(_TRIES):
        yield random.uniform(0, min(0.2, 0.002 * 2**number))


def _own_ledger(repo: Repo, objects: Repository, own: str) -> str:
    # `gzl sync` gives a clone that was copied with its writer's name a new one, perhaps while a job was running.
    ledger = names.ledger(own)
    return ledger if trees.tip(objects, ledger) is not None else names.ledger(writer.own(repo))


def _has(objects: Repository, ledger: str, job: str) -> bool:
    tree = trees.tree_of(objects, trees.tip(objects, ledger))
    return trees.exists(objects, tree, f"{names.job_path(job)}/job.json")


def _updates(
    objects: Repository,
    ledger: str,
    jobs: Sequence[JobRecord],
    logs: Mapping[str, Mapping[str, bytes]],
    comments: Sequence[Comment],
) -> Iterator[RefUpdate]:
    own = names.decode(ledger.rpartition("/")[2])
    records = {f"{names.job_path(job.id)}/job.json": to_json(without_agent(job)) for job in jobs}
    records |= {comment_model.path(one): comment_model.to_json(one) for one in comments}
    yield _move(objects, ledger, own, jobs, _adding(objects, records))
    yield _move(objects, notes_ref(objects), own, jobs, lambda tree: _noted(objects, tree, jobs))
    by_month: dict[str, dict[str, bytes]] = {}
    for job in jobs:
        for name, data in logs.get(job.id, {}).items():
            by_month.setdefault(job_month(job.id), {})[f"{names.job_path(job.id)}/{name}"] = data
    for when, files in by_month.items():
        yield _move(objects, names.logs(own, when), own, jobs, _adding(objects, files))


def _adding(objects: Repository, files: Mapping[str, bytes]) -> Callable[[Oid | None], Oid]:
    return lambda tree: trees.write_files(objects, tree, files)


def _commented(objects: Repository, ledger: str, comments: Sequence[Comment]) -> RefUpdate:
    own = names.decode(ledger.rpartition("/")[2])
    old = trees.tip(objects, ledger)
    files = {comment_model.path(one): comment_model.to_json(one) for one in comments}
    tree = trees.write_files(objects, trees.tree_of(objects, old), files)
    what = f"Comment on {', '.join(sorted({one.job for one in comments}))}"
    new = _commit(objects, tree, [old] if old is not None else [], own, comments[-1].time, what)
    return RefUpdate(ledger, str(new), None if old is None else str(old))


def _noted(objects: Repository, tree: Oid | None, jobs: Sequence[JobRecord]) -> Oid:
    texts: dict[str, bytes] = {}
    for job in jobs:
        before = texts.get(job.commit)
        texts[job.commit] = text.with_job(fanout.read(objects, tree, job.commit) if before is None else before, job)
    return fanout.write(objects, tree, texts)


def _move(
    objects: Repository, ref: str, own: str, jobs: Sequence[JobRecord], change: Callable[[Oid | None], Oid]
) -> RefUpdate:
    old = trees.tip(objects, ref)
    tree = change(trees.tree_of(objects, old))
    last = jobs[-1]
    what = f"{last.id} {last.state}" if len(jobs) == 1 else f"{len(jobs)} jobs"
    new = _commit(objects, tree, [old] if old is not None else [], own, last.finished or last.created, what)
    return RefUpdate(ref, str(new), None if old is None else str(old))


def _commit(objects: Repository, tree: Oid, parents: list[Oid], own: str, when: float, message: str) -> Oid:
    return trees.commit(objects, tree, parents, author=own, time=when, message=f"{message}\n")
