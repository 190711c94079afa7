"""Exchanging results with a remote: fetch what others recorded, push what this clone did. Nothing is ever forced.

Ledgers and logs have one writer each, so fetching and pushing them are fast-forwards. One thing can break that: a
clone that was copied (`cp -r`) has its original's writer name, and both go on under it. The one that finds the remote's
ledger of its own name ahead of, or beside, its own takes a new name and continues its chain under that.

Notes are different for the two kinds of remote. A gzl server's notes are the server's: this clone mirrors them. A plain
remote is a place to exchange them: both versions are merged, and the merge pushed, again and again while others push in
between. Merging brings in lines about jobs of every writer, as plain git's `git notes merge` does; decisions never look
at notes, only at the ledgers of trusted writers.
"""

import random
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from gzl.errors import TransientError, UserError
from gzl.git.refs import ANY, RefUpdate, read, transaction
from gzl.git.repo import Repo
from gzl.kit.fs import locked, try_lock
from gzl.kit.proc import CommandFailed, transport
from gzl.model import refs as names
from gzl.notes import follow, merge, writer

_TRIES = 12
_FETCH = ("fetch", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--refmap=", "--no-auto-gc")
_PUSH = ("push", "--porcelain", "--no-verify", "--no-follow-tags", "--recurse-submodules=no")
# githooks(5), receive-pack: a hook or a setting of the remote said no, and will say it again.
_FINAL = re.compile(r"declined|denied|deny|hidden|prohibited|refused|unpacker", re.IGNORECASE)


@dataclass
class Report:
    """What a sync did, for a person."""

    remote: str
    server: bool = False
    fetched: list[str] = field(default_factory=list)
    """The refs (of the remote) that brought something."""
    pushed: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    """What else a person should know: a new writer name, a ledger that was rewritten."""


@dataclass(frozen=True, slots=True)
class _Push:
    """What the remote said to one refspec of a push."""

    ref: str
    accepted: bool
    changed: bool
    reason: str


def default_remote(repo: Repo) -> str:
    """The remote that is followed, or origin."""
    return follow.followed(repo) or "origin"


def sync(repo: Repo, remote: str, host: str) -> Report:
    """Exchange results with `remote`. `host` is this machine's name, for a new writer name if one is needed.

    Raises UserError for a remote that is not configured or that refuses, TransientError where it cannot be reached or
    others keep getting in first. What was fetched stays in any case.
    """
    if repo.config(f"remote.{remote}.url") is None:
        raise UserError(f"{remote!r}: no such remote; `git remote -v` lists them")
    writer.own(repo)
    lock = try_lock(repo.layout.root / "sync.lock")
    if lock is None:
        raise TransientError(f"another `gzl sync` works in {repo.layout.root.parent}; try again when it is done")
    try:
        return _sync(repo, remote, host)
    finally:
        lock.release()


def _sync(repo: Repo, remote: str, host: str) -> Report:
    there = _advertised(repo, remote)
    report = Report(remote, server=names.SERVER in there)
    _fetch(repo, remote, there, report)
    if report.server:
        _mirror(repo, remote, report)
    _own_chain(repo, remote, host, report)
    for pause in _pauses():
        refused = _push(repo, remote, report)
        if not refused:
            return report
        time.sleep(pause)
        _fetch(repo, remote, _advertised(repo, remote), report)
        _own_chain(repo, remote, host, report)
    raise TransientError(
        f"{remote}: others pushed first {_TRIES} times in a row ({refused[0].ref}: {refused[0].reason}); what they "
        "pushed is here, `gzl sync` pushes the rest"
    )


def _pauses() -> Iterator[float]:
    # Full jitter (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/): clones that collided
    # once should not meet again.
    for number in range(_TRIES):
        yield random.uniform(0, min(3.0, 0.05 * 2**number))


def _advertised(repo: Repo, remote: str) -> dict[str, str]:
    printed = _remotely(repo, remote, "ls-remote", "--", remote, names.SERVER, names.NOTES)
    pairs = (line.split("\t", 1) for line in printed.splitlines() if "\t" in line)
    return {ref: oid for oid, ref in pairs}


def _fetch(repo: Repo, remote: str, there: Iterable[str], report: Report) -> None:
    specs = [f"{spec}:{names.remote(remote, spec.removeprefix('refs/gzl/'))}"
             for spec in ("refs/gzl/ledger/*", "refs/gzl/logs/*")]  # fmt: skip
    if names.NOTES in there:
        specs.append(f"+{names.NOTES}:{_fetched_notes(remote)}")
    before = read(repo, names.remote(remote).rstrip("/"))
    try:
        _remotely(repo, remote, *_FETCH, "--", remote, *specs)
    except CommandFailed as error:
        report.remarks.append(
            f"{remote} has rewritten what it once had; what was fetched before is kept:\n{_rejected(error)}"
        )
    after = read(repo, names.remote(remote).rstrip("/"))
    report.fetched += [ref for ref, oid in after.items() if before.get(ref) != oid and ref not in report.fetched]


def _fetched_notes(remote: str) -> str:
    return names.remote(remote, "notes/gzl")


def _mirror(repo: Repo, remote: str, report: Report) -> None:
    """Make `refs/notes/gzl` what the followed server has; a clone that follows nobody follows this server from now."""
    if follow.followed(repo) is None:
        follow.configure(repo, remote)
        report.remarks.append(f"{remote} is a gzl server: this clone follows it from now on, a plain `git fetch` too")
    if follow.followed(repo) != remote:
        return
    theirs = read(repo, _fetched_notes(remote)).get(_fetched_notes(remote))
    if theirs is not None:
        with locked(repo.layout.store_lock):
            transaction(repo, [RefUpdate(names.NOTES, theirs, ANY)])


def _own_chain(repo: Repo, remote: str, host: str, report: Report) -> None:
    """Take a new writer name if the remote's ledger under this one has what this clone's has not."""
    own = writer.own(repo)
    mine, theirs = names.ledger(own), names.remote(remote, f"ledger/{names.encode(own)}")
    held = read(repo, mine, theirs)
    if theirs not in held or _is_ancestor(repo, held[theirs], held.get(mine)):
        return
    with locked(repo.layout.store_lock):
        # In this order a crash leaves at most a ledger of the new, or of the old name that nobody uses.
        new = writer.made_up(host)
        chain = _chain(repo, own, new)
        transaction(repo, [RefUpdate(target, oid, None) for _, target, oid in chain])
        repo.git("config", writer.KEY, new)
        transaction(repo, [RefUpdate(ref, None, oid) for ref, _, oid in chain])
    report.remarks.append(
        f"another clone records as {own} (this one is a copy, or was restored): this one goes on as {new}"
    )


def _chain(repo: Repo, old: str, new: str) -> list[tuple[str, str, str]]:
    """(ref, its name under the new writer, object id) of the ledger and the logs of a writer."""
    ledger = names.ledger(old)
    held = read(repo, ledger, f"refs/gzl/logs/{names.encode(old)}")
    return [
        (ref, names.ledger(new) if ref == ledger else names.logs(new, ref.rpartition("/")[2]), oid)
        for ref, oid in held.items()
    ]


def _is_ancestor(repo: Repo, old: str, new: str | None) -> bool:
    if new is None:
        return False
    try:
        repo.git("merge-base", "--is-ancestor", old, new)
    except CommandFailed as error:
        if error.status == 1:
            return False
        raise
    return True


def _push(repo: Repo, remote: str, report: Report) -> list[_Push]:
    """Push what this clone has, and give what was refused because others were faster."""
    specs = list(_own_refs(repo))
    if not report.server:
        specs.append(f"{_merged_notes(repo, remote)}:{names.NOTES}")
    try:
        printed = _remotely(repo, remote, *_PUSH, "--", remote, *specs)
    except _Refused as refused:
        printed = refused.printed
    outcomes = list(_outcomes(printed))
    report.pushed += [push.ref for push in outcomes if push.accepted and push.changed]
    lost = [push for push in outcomes if not push.accepted]
    for push in lost:
        if _FINAL.search(push.reason):
            raise UserError(f"{remote} refused {push.ref}: {push.reason}; what it has was fetched")
    return lost


def _own_refs(repo: Repo) -> Iterator[str]:
    own = writer.own(repo)
    for ref in read(repo, names.ledger(own), f"refs/gzl/logs/{names.encode(own)}"):
        yield f"{ref}:{ref}"


def _merged_notes(repo: Repo, remote: str) -> str:
    """Merge the remote's notes into this clone's, and give the merge's commit."""
    mine = names.NOTES_LOCAL if follow.followed(repo) else names.NOTES
    with locked(repo.layout.store_lock):
        held = read(repo, mine, _fetched_notes(remote))
        ours, theirs = held.get(mine), held.get(_fetched_notes(remote))
        if theirs is None and ours is None:
            raise UserError(f"{mine}: does not exist; `gzl init` makes it")
        merged = ours if theirs is None else merge.notes(repo, ours, theirs, writer.own(repo))
        assert merged is not None
        if merged != ours:
            transaction(repo, [RefUpdate(mine, merged, ours)])
        return merged


class _Refused(Exception):
    """A push of which the remote refused a part; `printed` says of each ref what became of it."""

    def __init__(self, printed: str) -> None:
        super().__init__(printed)
        self.printed = printed


def _outcomes(printed: str) -> Iterator[_Push]:
    # git-push(1), --porcelain: "<flag> TAB <from>:<to> TAB <summary> (<reason>)"
    for line in printed.splitlines():
        parts = line.split("\t")
        if len(parts) == 3 and len(parts[0]) == 1:
            flag, spec, summary = parts
            yield _Push(spec.rpartition(":")[2], flag != "!", flag != "=", summary)


def _rejected(error: CommandFailed) -> str:
    lines = [line.strip() for line in error.stderr.splitlines()]
    return "\n".join(f"  {line}" for line in lines if "rejected" in line) or error.stderr


def _remotely(repo: Repo, remote: str, *arguments: str) -> str:
    """Run a git command that talks to the remote. Raises CommandFailed for a fetch that was refused in part, _Refused
    for such a push, TransientError for all that is no answer."""
    place = repo.worktree or repo.git_dir  # a relative address in the configuration is relative to this
    try:
        return transport(place, *arguments)
    except CommandFailed as error:
        if arguments[0] == "fetch" and "[rejected]" in error.stderr:
            raise
        if arguments[0] == "push" and "\n!\t" in f"\n{error.stdout}":
            raise _Refused(error.stdout) from error
        raise TransientError(
            f"{remote}: cannot be reached: {error.stderr.strip()}\nNothing was lost; try again"
        ) from error
