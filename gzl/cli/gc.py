"""`gzl gc`: removes what retention does not keep, or says what that would be."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from gzl.cli.boundary import PASSED
from gzl.cli.context import App, in_repository
from gzl.cli.render import short_ref
from gzl.errors import TransientError
from gzl.kit.crash import arm
from gzl.kit.fs import try_lock
from gzl.kit.text import escaped, human_size
from gzl.notes import retention
from gzl.notes.retention import Going, Plan
from gzl.notes.writer import own
from gzl.objects import opening
from gzl.records import housekeeping

_NAMED = 5  # jobs of a branch that are named by --dry-run; the rest is counted


@click.command("gc")
@click.option("--dry-run", "-n", is_flag=True, help="Remove nothing; say what would go, and why.")
@click.option("--json", "as_json", is_flag=True, help="Say it as JSON.")
@click.option("--auto", is_flag=True, hidden=True, help="For managers: say nothing if there is nothing to remove.")
@in_repository
def command(app: App, dry_run: bool, as_json: bool, auto: bool) -> int:
    """Remove artifacts, logs and caches that retention does not keep. Records and notes always stay.

    `git config gzl.keepDays` (90), `gzl.keepJobs` and `gzl.keepSize` (all) set what is kept of each branch; a tag on a
    commit keeps all that its jobs left. `gzl.cacheDays` (30) and `gzl.cacheSize` (10G) are for caches.
    docs/operating.md has the details.
    """
    arm(app.environ.get("GZL_CRASH_AT"))
    repo, now = app.initialised, app.clock()
    lock = None if dry_run else try_lock(repo.layout.gc_lock)
    if lock is None and not dry_run:
        if auto:
            return PASSED
        raise TransientError(f"{repo.layout.gc_lock}: another `gzl gc` is at work here; try again when it has ended")
    if lock is not None:
        os.utime(lock.fd)  # also of one that fails: the manager tries again tomorrow
    store = opening.of(repo, app.environ)
    rules = retention.policy(repo.config)
    decided = retention.plan(repo, own(repo), store, rules, now, alone=opening.alone(repo))
    stale = list(housekeeping.stale(repo.layout, now))
    gone = decided.bytes
    if lock is not None:
        gone = retention.carry_out(repo, store, rules, decided, now)
        for path in stale:
            housekeeping.remove(path)
        housekeeping.rotate(repo.layout)
        lock.release()
    if as_json:
        click.echo(json.dumps(_data(decided, stale, gone, dry_run=dry_run), indent=2))
    elif not auto or gone or decided.months:
        for line in _told(decided, stale, gone, dry_run=dry_run):
            click.echo(line)
    return PASSED


def _told(decided: Plan, stale: list[Path], gone: int, *, dry_run: bool) -> Iterable[str]:
    branches: dict[str, list[Going]] = {}
    for going in decided.jobs:
        branches.setdefault(going.ref, []).append(going)
    for ref, jobs in sorted(branches.items()):
        objects = [stored for going in jobs for stored in going.objects]
        total = human_size(sum(stored.size for stored in objects))
        yield f"{escaped(short_ref(ref))}: {_count(len(jobs), 'job')}, {_count(len(objects), 'object')}, {total}"
        for going in jobs[:_NAMED]:
            size = human_size(sum(stored.size for stored in going.objects))
            yield f"  {going.job}  {size:>9}  {escaped(going.because)}"
        if len(jobs) > _NAMED:
            yield f"  and {len(jobs) - _NAMED} more"
    for month in decided.months:
        name = month.ref.rpartition("/")[2]
        yield f"logs of {name}: the small ones of {_count(month.jobs, 'job')}, in {escaped(month.ref)}"
    if decided.caches:
        size = human_size(sum(entry.size for entry in decided.caches))
        yield f"caches that were not used lately, or are too much: {len(decided.caches)}, {size}"
    if decided.orphans:
        size = human_size(sum(stored.size for stored in decided.orphans))
        yield f"nothing refers to {_count(len(decided.orphans), 'object')}, {size}"
    if decided.files:
        size = human_size(sum(length for _, length in decided.files))
        yield f"logs of older versions: {_count(len(decided.files), 'file')}, {size}"
    for path in stale:
        yield f"left over: {escaped(str(path))}"
    yield f"{human_size(gone)} {'would go' if dry_run else 'removed'}, {human_size(decided.staying)} stay"


def _data(decided: Plan, stale: list[Path], gone: int, *, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "jobs": [
            {
                "id": going.job,
                "ref": going.ref,
                "because": going.because,
                "objects": [{"digest": stored.digest, "size": stored.size} for stored in going.objects],
            }
            for going in decided.jobs
        ],
        "months": [{"ref": month.ref, "jobs": month.jobs} for month in decided.months],
        "caches": [{"path": str(entry.path), "digest": entry.digest, "size": entry.size} for entry in decided.caches],
        "unreferenced": [{"digest": stored.digest, "size": stored.size} for stored in decided.orphans],
        "files": [{"path": str(path), "size": size} for path, size in decided.files],
        "left_over": [str(path) for path in stale],
        "bytes": gone,
        "staying": decided.staying,
    }


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
