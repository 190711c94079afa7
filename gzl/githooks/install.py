"""Installing gzl's hooks, taking them away again, and noticing when another tool put its own in their place.

Two ways, by what git would run without gzl:
- `$GIT_COMMON_DIR/hooks`, where core.hooksPath is not set: gzl's hooks are put there, see `slots`. (pre-commit and
  lefthook refuse to install where core.hooksPath is set, so gzl must not set it.)
- Any other folder, which is not gzl's to write in: it may be tracked (`.githooks`), made anew by its tool (husky), or
  one for all of a person's repositories. Then a folder of gzl's own, `$GIT_COMMON_DIR/gzl/hooks`, stands in for it, and
  passes every hook on. See `config`.

What was installed is in the manifest, see `manifest`.
"""

import os
import shlex
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from gzl import __version__
from gzl.git.repo import Repo
from gzl.githooks import config, script, slots, spool
from gzl.githooks import manifest as manifests
from gzl.githooks.manifest import Manifest
from gzl.kit.fs import locked, read_or_none, write_atomic
from gzl.model import refs

_OURS = (*script.SERVER_HOOKS, *script.CLIENT_HOOKS)


@dataclass(frozen=True, slots=True)
class Report:
    """What was done, a sentence each, nothing where all was in place; and what a person should know."""

    changed: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def install(repo: Repo, hooks_source: Path, gzl_command: str, server: bool) -> Report:
    """Install gzl's hooks and settings, or mend them; nothing is written where all is in place."""
    _make_folders(repo)
    with locked(_lock_path(repo)):
        return _install(repo, hooks_source, gzl_command, server)


def heal(repo: Repo, gzl_command: str = "") -> Report | None:
    """Mend what another tool did to gzl's hooks; None if they are as they should be, or were never installed.

    Called by gzl's commands and by a manager when it starts: it reads a few small files, and starts git only if one of
    them or of git's configuration files changed. `gzl_command` takes the place of the one in the hooks if that is gone.
    """
    manifest = manifests.load(repo)
    if manifest is None or manifests.intact(repo, manifest):
        return None
    command = manifest.gzl if os.access(manifest.gzl, os.X_OK) or not gzl_command else gzl_command
    report = install(repo, script.hooks_source(), command, manifest.server)
    return report if report.changed or report.warnings else None


def uninstall(repo: Repo) -> Report:
    """Restore the hooks and the configuration to what they would be without gzl, byte for byte."""
    if manifests.load(repo) is None:
        return Report()
    with locked(_lock_path(repo)):
        manifest = manifests.load(repo)
        if manifest is None:
            return Report()
        _take_away(repo, manifest)
        config.remove_settings(repo)
        _restore_end_of_config(repo, manifest)
        if manifest.made_folder:
            with suppress(OSError):  # somebody else's hooks are in it now
                (repo.common_dir / "hooks").rmdir()
        manifests.manifest_path(repo).unlink()
    return Report(("took gzl's hooks and settings away; what was there before is in force again",))


def hook_names(repo: Repo, server: bool) -> tuple[str, ...]:
    """The hooks that gzl needs: a repository with a working tree can be both, a server and a place of work."""
    return (script.SERVER_HOOKS if server else ()) + (() if repo.bare else script.CLIENT_HOOKS)


def _install(repo: Repo, source: Path, command: str, server: bool) -> Report:
    before = manifests.load(repo)
    changed: list[str] = []
    foreign = _foreign_folder(repo, config.survey(repo).hooks_path)
    if before is not None and before.kind != (foreign, server, os.fspath(repo.common_dir)):
        _take_away(repo, before)
        changed.append("took gzl's hooks away from where they do not belong any more")
    manifest = Manifest(
        version=__version__,
        gzl=command,
        server=server,
        common_dir=os.fspath(repo.common_dir),
        stands_in_for=foreign,
        made_folder=before.made_folder if before else not (repo.common_dir / "hooks").exists(),
        no_newline=before.no_newline if before else not _config_bytes(repo).endswith(b"\n"),
    )
    if before is None:
        # Killed from here on, what was begun is known, and the next `gzl init` or `--uninstall` ends it.
        manifests.remember(repo, manifest, {}, ())
    if config.write_settings(repo, server):
        changed.append("included gzl's settings in the repository's configuration")
    texts = _beside(repo, source, manifest) if foreign is None else _standing_in(repo, source, manifest)
    wrote = [path.name for path, text in texts.items() if _write_hook(path, text)]
    if foreign is not None:
        _drop_others(repo, texts)
        config.write_hooks_path(repo, _own_folder(repo))
    if wrote:
        changed.append(f"installed the hooks {', '.join(name for name in wrote if name in _OURS) or ', '.join(wrote)}")
    warnings = () if foreign is None else _in_force(repo, changed)
    manifests.remember(repo, manifest, texts, config.survey(repo).files)
    return Report(tuple(changed), warnings)


def _beside(repo: Repo, source: Path, manifest: Manifest) -> dict[Path, bytes]:
    """gzl's hooks for the repository's own hooks folder, after making room for them there."""
    folder = repo.common_dir / "hooks"
    folder.mkdir(exist_ok=True)
    texts = {}
    for hook in hook_names(repo, manifest.server):
        slot = slots.settle(folder, hook)
        slots.link(slot)
        texts[slot.path] = script.assemble(source, hook, slots.settings(slot, manifest.gzl, _writer(repo)))
    return texts


def _standing_in(repo: Repo, source: Path, manifest: Manifest) -> dict[Path, bytes]:
    """The hooks of the folder that stands in for `manifest.stands_in_for`: gzl's, and those that only pass on."""
    folder = _own_folder(repo)
    folder.mkdir(exist_ok=True)
    foreign = manifest.stands_in_for or ""
    rare = _executables((repo.worktree or repo.git_dir) / foreign) & {*script.RARE_HOOKS}
    names = [*hook_names(repo, manifest.server), *(() if repo.bare else script.COMMON_HOOKS), *sorted(rare)]
    told = script.Settings(gzl=manifest.gzl, root='"${0%/*}/.."', writer=_writer(repo))
    texts = {}
    for hook in dict.fromkeys(names):
        previous = shlex.quote(os.path.join(foreign, hook))
        kind = hook if hook in hook_names(repo, manifest.server) else script.PASS
        texts[folder / hook] = script.assemble(source, kind, replace(told, previous=previous))
    return texts


def _drop_others(repo: Repo, texts: Mapping[Path, bytes]) -> None:
    for path in _own_folder(repo).iterdir():
        if path not in texts:
            path.unlink()


def _write_hook(path: Path, text: bytes) -> bool:
    if read_or_none(path) == text and os.access(path, os.X_OK):
        return False
    write_atomic(path, text, 0o755)
    return True


def _in_force(repo: Repo, changed: list[str]) -> tuple[str, ...]:
    """See that git runs gzl's folder, where it stands in for another; what is to be said if it does not."""
    wanted = os.fspath(_own_folder(repo))
    if config.survey(repo).effective == wanted:
        return ()
    config.put_hooks_path_last(repo)
    changed.append("put gzl's hooks before those of the other hook manager again")
    now = config.survey(repo).effective
    if now == wanted:
        return ()
    return (f"core.hooksPath is {now!r} by a setting that outdoes the repository's own: gzl's hooks do not run",)


def _take_away(repo: Repo, manifest: Manifest) -> None:
    for hook in _OURS:
        slots.restore(repo.common_dir / "hooks", hook)
    if manifest.stands_in_for is not None:
        config.remove_hooks_path(repo, manifest.common_dir)
    own = _own_folder(repo)
    if own.is_dir():
        for path in own.iterdir():
            path.unlink()
        own.rmdir()


def _restore_end_of_config(repo: Repo, manifest: Manifest) -> None:
    data = _config_bytes(repo)
    if manifest.no_newline and data.endswith(b"\n"):
        path = repo.common_dir / "config"
        write_atomic(path, data.removesuffix(b"\n"), stat.S_IMODE(path.stat().st_mode))


def _foreign_folder(repo: Repo, hooks_path: str | None) -> str | None:
    """The folder of somebody else's that git runs hooks from, as it is to be written in a hook; None if there is none.

    A relative path stays one: git takes it from the top of each working tree.
    """
    usual = repo.common_dir / "hooks"
    if hooks_path is not None:
        expanded = os.path.expanduser(hooks_path)
        if Path(os.path.realpath((repo.worktree or repo.git_dir) / expanded)) != usual.resolve():
            return expanded
    return os.path.realpath(usual) if usual.is_symlink() else None


def _make_folders(repo: Repo) -> None:
    """gzl's folder and the spool, as open to others as the object store is (core.sharedRepository)."""
    mode = stat.S_IMODE((repo.common_dir / "objects").stat().st_mode)
    for folder in (repo.layout.root, repo.layout.spool, *(repo.layout.spool / name for name in spool.FOLDERS)):
        if not folder.is_dir():
            folder.mkdir()
            folder.chmod(mode)


def _executables(folder: Path) -> set[str]:
    try:
        return {path.name for path in _files(folder) if os.access(path, os.X_OK)}
    except (FileNotFoundError, NotADirectoryError):
        return set()


def _files(folder: Path) -> Iterable[Path]:
    return (path for path in folder.iterdir() if path.is_file())


def _own_folder(repo: Repo) -> Path:
    return repo.layout.root / "hooks"


def _lock_path(repo: Repo) -> Path:
    return repo.layout.root / "hooks.lock"


def _config_bytes(repo: Repo) -> bytes:
    return read_or_none(repo.common_dir / "config") or b"\n"


def _writer(repo: Repo) -> str:
    return refs.encode(repo.config("gzl.writer") or "")
