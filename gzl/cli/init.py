"""`gzl init`: hooks, refs, settings and a first Gzlfile for one repository; `--uninstall` takes them away again."""

import os
import shutil
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

import click

from gzl.cli.boundary import PASSED, say
from gzl.cli.context import App, in_repository
from gzl.errors import GzlError, UserError
from gzl.git import refs as git_refs
from gzl.git.repo import Repo
from gzl.githooks import install as hooks
from gzl.githooks import manifest, script, spool, starters
from gzl.kit.fs import is_locked, read_or_none, write_atomic
from gzl.kit.proc import transport
from gzl.notes import follow, store, writer


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the options ask for; None: find out."""

    server: bool | None
    follow: str | None


@click.command("init")
@click.option("--server/--client", default=None, help="What this repository is. [default: a bare one is a server]")
@click.option("--follow", "remote", metavar="REMOTE", help="Show the results of this gzl server. [default: find out]")
@click.option("--uninstall", is_flag=True, help="Take hooks and settings away; results and logs stay.")
@click.option("--purge", is_flag=True, help="With --uninstall: delete results, logs and all else of gzl's, too.")
@in_repository
def command(app: App, server: bool | None, remote: str | None, uninstall: bool, purge: bool) -> int:
    """Set up gzl in this repository. Running it again changes nothing, or mends what another tool undid.

    In a bare repository, a server: each push runs the pipeline of its Gzlfile. In one with a working tree: commits and
    merges do, if its Gzlfile says so, and `git log` shows results.
    """
    if purge and not uninstall:
        raise UserError("--purge: only together with --uninstall")
    repo = app.repo
    if uninstall:
        if server is not None or remote is not None:
            raise UserError("--uninstall: takes no other option than --purge")
        _uninstall(repo, purge)
        return PASSED
    _set_up(repo, Wishes(server, remote), _executable(app))
    return PASSED


def _set_up(repo: Repo, wishes: Wishes, command: str) -> None:
    server = _role(repo, wishes)
    fresh = not repo.layout.seen.exists()
    done: list[str] = []
    own = _writer(repo)
    store.seed(repo, own, server)
    report = hooks.install(repo, script.hooks_source(), command, server)
    if fresh:
        _forget_history(repo)
        done.append(f"set up as a {'server' if server else 'client'}; results are written as {own}")
    done += report.changed
    remote = None if server else _follow(repo, wishes.follow, done)
    pull_first = remote is not None and repo.resolve("HEAD") is None and _has_branches(repo, remote)
    written = starters.write(repo.worktree) if repo.worktree is not None and not pull_first else None
    if written is not None:
        kind = "" if written.kind == "any" else f" for {written.kind}"
        done.append(f"wrote a first Gzlfile{kind}: look through it, and commit it")
    where = repo.worktree or repo.git_dir
    click.echo(f"{where}: {'all is in place' if not done else done[0]}")
    for line in done[1:]:
        click.echo(f"  {line}")
    for warning in [*report.warnings, *_warnings(repo, server)]:
        say(warning)
    click.echo(f"Next: `git pull {remote}`, which has commits already." if pull_first else _next(repo, server, remote))


def _role(repo: Repo, wishes: Wishes) -> bool:
    """Whether the repository is a server: what was asked for, else what it was, else whether it is bare."""
    if wishes.server is False and repo.bare:
        raise UserError(f"--client: {repo.git_dir} is bare, nobody commits in it; leave the option out")
    if wishes.server is not None:
        if wishes.server and wishes.follow is not None:
            raise UserError("--follow: a server writes results of its own; only a client follows another's")
        return wishes.server
    before = manifest.load(repo)
    return before.server if before is not None else repo.bare


def _writer(repo: Repo) -> str:
    """The writer's name; one that an earlier `--uninstall` left is taken up again, with its ledger."""
    kept = read_or_none(_kept_writer(repo))
    if kept is not None and repo.config(writer.KEY) is None:
        repo.git("config", writer.KEY, kept.decode().strip())
    return writer.choose(repo, socket.gethostname())


def _forget_history(repo: Repo) -> None:
    """What is there now is nobody's news: only what is pushed or committed from here on runs."""
    spool.write_seen(repo.layout, git_refs.read(repo, "refs/heads"))


def _follow(repo: Repo, wished: str | None, done: list[str]) -> str | None:
    """Follow the wished remote, or the first that is a gzl server; gives its name."""
    already = follow.followed(repo)
    if already is not None and wished in (None, already):
        return already
    remotes = repo.git("remote").decode(errors="surrogateescape").split()
    if wished is not None and wished not in remotes:
        known = f"there are {', '.join(remotes)}" if remotes else "`git remote add` makes one"
        raise UserError(f"--follow {wished}: no such remote; {known}")
    for remote in [wished] if wished is not None else sorted(remotes, key=lambda name: name != "origin"):
        try:
            found = follow.is_server(repo, remote)
        except GzlError as error:
            if wished is not None:
                raise
            say(f"cannot tell whether {remote} is a gzl server; `gzl init --follow {remote}` tries again: {error}")
            continue
        if not found and wished is not None:
            raise UserError(f"--follow {remote}: not a gzl server; run `gzl init` in that repository first")
        if found:
            follow.configure(repo, remote)
            done.append(f"follows {remote}: `git fetch` brings its results, `git log` shows them")
            return remote
    return None


def _has_branches(repo: Repo, remote: str) -> bool:
    return bool(transport(repo.git_dir, "ls-remote", "--heads", "--", remote).strip())


def _warnings(repo: Repo, server: bool) -> list[str]:
    if not server or repo.bare:
        return []
    policy = repo.config("receive.denyCurrentBranch") or "refuse"
    if policy in ("updateInstead", "false", "ignore", "warn"):
        return []
    return [
        "this server has a working tree: git refuses a push to the branch that is checked out in it; "
        "`git config receive.denyCurrentBranch updateInstead` lets a push update both"
    ]


def _next(repo: Repo, server: bool, remote: str | None) -> str:
    if server:
        return "Next: push to it from a clone, then `git fetch` and `git log --notes=gzl` there."
    if repo.resolve("HEAD") is None:
        return "Next: `git add Gzlfile && git commit`, then `gzl run`."
    if remote is not None:
        return f"Next: `git push {remote}`, then `gzl list --remote {remote}`; or `gzl run`, here."
    return "Next: `gzl run`, then `git log`."


def _uninstall(repo: Repo, purge: bool) -> None:
    if purge and is_locked(repo.layout.manager_lock):
        raise UserError("--purge: a repo manager is at work here; wait until `gzl list` shows no running job, stop the "
                        f"manager (its process is in {repo.layout.manager_pid}), and try again")  # fmt: skip
    follow.unconfigure(repo)
    report = hooks.uninstall(repo)
    repo.layout.seen.unlink(missing_ok=True)  # what happens from now on is nobody's news either
    own = repo.config(writer.KEY)
    if own is not None:
        repo.git("config", "--unset-all", writer.KEY)
        write_atomic(_kept_writer(repo), f"{own}\n".encode())
    if purge:
        _purge(repo)
    where = repo.worktree or repo.git_dir
    if not report.changed and own is None and not purge:
        click.echo(f"{where}: gzl is not set up here; nothing to do")
        return
    click.echo(f"{where}: took gzl's hooks and settings away; the hooks from before are in force again")
    click.echo("  deleted all results and logs" if purge else f"  results stay in git, and logs in {repo.layout.root}")


def _purge(repo: Repo) -> None:
    names = git_refs.read(repo, "refs/gzl", "refs/notes/gzl", "refs/notes/gzl-local")
    git_refs.transaction(repo, [git_refs.RefUpdate(name, None, oid) for name, oid in names.items()])
    if repo.layout.root.exists():
        shutil.rmtree(repo.layout.root)


def _kept_writer(repo: Repo) -> Path:
    return repo.layout.root / "writer"


def _executable(app: App) -> str:
    """The absolute path of this gzl, for hooks: beside this interpreter, or what was called."""
    beside = Path(sys.executable).with_name("gzl")
    if beside.is_file():
        return os.fspath(beside)
    called = shutil.which(sys.argv[0], path=app.environ.get("PATH")) or shutil.which(
        "gzl", path=app.environ.get("PATH")
    )
    if called is None:
        raise UserError("cannot tell where gzl is installed, and hooks must know; put it on the PATH and try again")
    return os.path.abspath(called)
