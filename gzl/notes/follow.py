"""A follower clone: its remote is a gzl server, and a plain `git fetch` brings the server's results.

`refs/notes/gzl` then mirrors the server's notes; what this clone runs itself is noted in `refs/notes/gzl-local`. Both
show in a plain `git log` through `notes.displayRef`. All of it is git configuration, which `unconfigure` takes back to
the byte: what `configure` added is listed under `gzl.followAdded`, so that a value the user had before stays.
"""

from gzl.git.refs import RefUpdate, read, transaction
from gzl.git.repo import Repo
from gzl.kit.fs import locked
from gzl.kit.proc import run, transport
from gzl.model import refs as names
from gzl.notes import merge
from gzl.notes.store import FOLLOW_KEY

_ADDED_KEY = "gzl.followAdded"


def is_server(repo: Repo, remote: str) -> bool:
    """Whether a remote is a gzl server. Raises CommandFailed where it cannot be reached."""
    place = repo.worktree or repo.git_dir  # a relative address in the configuration is relative to this
    return bool(transport(place, "ls-remote", "--", remote, names.SERVER).strip())


def followed(repo: Repo) -> str | None:
    """The remote that this clone follows."""
    return repo.config(FOLLOW_KEY)


def refspecs(remote: str) -> list[str]:
    """What a follower's `git fetch` brings besides branches.

    Where `fetch.prune` is set, git deletes below a refspec's right side what the left side no longer has. So nothing of
    this clone's own may lie there: ledgers and logs go to `refs/gzl/remotes/…`, and the notes refspec names one ref.
    """
    return [
        f"+{names.NOTES}:{names.NOTES}",
        f"+refs/gzl/ledger/*:{names.remote(remote, 'ledger/*')}",
        f"+refs/gzl/logs/*:{names.remote(remote, 'logs/*')}",
    ]


def configure(repo: Repo, remote: str) -> None:
    """Make this clone a follower of `remote`. A second time changes nothing; another remote takes the first's place.

    What its own jobs left in `refs/notes/gzl` goes on in `refs/notes/gzl-local`.
    """
    if followed(repo) == remote:
        return
    unconfigure(repo)
    wanted = [(f"remote.{remote}.fetch", spec) for spec in refspecs(remote)]
    wanted += [("notes.displayRef", ref) for ref in (names.NOTES, names.NOTES_LOCAL)]
    for key, value in wanted:
        if value not in _values(repo, key):
            repo.git("config", "--add", _ADDED_KEY, f"{key} {value}")
            repo.git("config", "--add", key, value)
    repo.git("config", FOLLOW_KEY, remote)
    _carry_notes(repo, names.NOTES, names.NOTES_LOCAL)


def unconfigure(repo: Repo) -> None:
    """Take back what `configure` did; nothing happens in a clone that follows nobody."""
    for added in _values(repo, _ADDED_KEY):
        key, _, value = added.rpartition(" ")
        if value in _values(repo, key):
            _remove(repo, key, value)
        _remove(repo, _ADDED_KEY, added)
    if followed(repo) is not None:
        _remove(repo, FOLLOW_KEY, followed(repo) or "")


def _carry_notes(repo: Repo, source: str, target: str) -> None:
    repo.layout.root.mkdir(exist_ok=True)
    with locked(repo.layout.store_lock):
        held = read(repo, source, target)
        if source in held:
            merged = merge.notes(repo, held.get(target), held[source], repo.config("gzl.writer") or "gzl")
            transaction(repo, [RefUpdate(target, merged, held.get(target))])


def _values(repo: Repo, key: str) -> list[str]:
    done = run(["git", "--git-dir", str(repo.git_dir), "config", "--local", "-z", "--get-all", key])
    return [value for value in done.stdout.decode(errors="surrogateescape").split("\0") if value]


def _remove(repo: Repo, key: str, value: str) -> None:
    repo.git("config", "--local", "--fixed-value", "--unset-all", key, value)
