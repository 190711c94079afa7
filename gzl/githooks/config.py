"""gzl's part of a repository's git configuration, kept in files of gzl's own that the repository's file includes.

So `git config` of other tools and people cannot mix with it, and taking the include away restores what was. The second
file sets core.hooksPath, for a repository in which somebody else set it before: husky writes its own value at every
`npm install`, and that, too, stays in force for all but git's hooks, because the include comes later in the file. It is
included for this one place only (`includeIf "gitdir:…"`): in a copy of the repository, or after a move, its absolute
path would be wrong, and then the hooks are simply those that would run without gzl.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gzl.errors import UserError
from gzl.git.repo import Repo
from gzl.kit.fs import read_or_none, write_atomic
from gzl.kit.proc import run

_HEADER = "# Written by `gzl init`; `gzl init --uninstall` takes it out of the configuration.\n"
_SHOW_NOTES = (("notes.displayRef", "refs/notes/gzl"),)
# Refs of which there may be thousands: a client neither pushes nor fetches them, so a push is not told of them.
# What a stage last passed on may be fetched, hence is hidden from pushes alone.
_SERVER = (
    ("receive.advertisePushOptions", "true"),
    *(("receive.hideRefs", f"refs/gzl/{kind}") for kind in ("live", "queue", "claim", "remotes", "last", "passed")),
    *(("uploadpack.hideRefs", f"refs/gzl/{kind}") for kind in ("live", "queue", "claim", "remotes")),
)


@dataclass(frozen=True, slots=True)
class Survey:
    """What git's configuration says about hooks, from one look at all of it."""

    hooks_path: str | None
    """core.hooksPath as it would be without gzl."""
    effective: str | None
    """core.hooksPath as it is."""
    files: tuple[Path, ...]
    """Every file that the configuration was read from."""


def settings_file(repo: Repo) -> Path:
    return repo.layout.root / "gitconfig"


def hooks_path_file(repo: Repo) -> Path:
    return repo.layout.root / "gitconfig-hooks"


def survey(repo: Repo) -> Survey:
    """Read the whole configuration, with the file that each value is from (git-config(1), --show-origin, -z)."""
    printed = repo.git("config", "-z", "--show-origin", "--list", "--includes").split(b"\0")
    mine = hooks_path_file(repo).resolve()
    files: dict[Path, None] = {}
    hooks_path = effective = None
    for origin, item in zip(printed[::2], printed[1::2], strict=False):
        key, _, value = os.fsdecode(item).partition("\n")
        path = repo.common_dir / os.fsdecode(origin).removeprefix("file:") if origin.startswith(b"file:") else None
        if path is not None:
            files[path] = None
        if key == "core.hookspath":
            effective = value
            if path is None or path.resolve() != mine:
                hooks_path = value
    return Survey(hooks_path or None, effective or None, tuple(files))


def write_settings(repo: Repo, server: bool) -> bool:
    """Write and include the settings; whether anything changed."""
    wrote = _write(settings_file(repo), [*_SHOW_NOTES, *(_SERVER if server else ())])
    return _include(repo, "include.path", settings_file(repo).name) or wrote


def write_hooks_path(repo: Repo, folder: Path) -> bool:
    """Make `folder` git's hooks folder, whatever core.hooksPath says elsewhere; whether anything changed."""
    wrote = _write(hooks_path_file(repo), [("core.hooksPath", os.fspath(folder))])
    included = [_include(repo, key, hooks_path_file(repo).name) for key in _conditions(os.fspath(repo.common_dir))]
    return any(included) or wrote


def put_hooks_path_last(repo: Repo) -> None:
    """Move the include to the end of the file: a value that was set in a section after it would win."""
    for key in _conditions(os.fspath(repo.common_dir)):
        _exclude(repo, key, hooks_path_file(repo).name)
        _include(repo, key, hooks_path_file(repo).name)


def remove_hooks_path(repo: Repo, place: str) -> None:
    """Take the hooks folder out of the configuration; `place` is where the common folder was when it was put in."""
    for key in _conditions(place):
        _exclude(repo, key, hooks_path_file(repo).name)
    hooks_path_file(repo).unlink(missing_ok=True)


def remove_settings(repo: Repo) -> None:
    _exclude(repo, "include.path", settings_file(repo).name)
    settings_file(repo).unlink(missing_ok=True)


def _conditions(place: str) -> tuple[str, str]:
    """The include's keys for the main working tree and the linked ones (git-config(1), Conditional includes)."""
    real = os.path.realpath(place)
    if "\n" in real:
        raise UserError(
            f"{real!r}: core.hooksPath is set, and git cannot name a path with a line break in its configuration; "
            f"rename the folder, or unset core.hooksPath"
        )
    pattern = re.sub(r"([\\*?\[])", r"\\\1", real)
    return f"includeIf.gitdir:{pattern}.path", f"includeIf.gitdir:{pattern}/worktrees/.path"


def _include(repo: Repo, key: str, name: str) -> bool:
    if _file_has(repo, key, name):
        return False
    repo.git("config", "--file", os.fspath(repo.common_dir / "config"), "--add", key, f"gzl/{name}")
    return True


def _exclude(repo: Repo, key: str, name: str) -> None:
    if _file_has(repo, key, name):
        config = os.fspath(repo.common_dir / "config")
        repo.git("config", "--file", config, "--unset-all", key, f"^gzl/{re.escape(name)}$")


def _file_has(repo: Repo, key: str, name: str) -> bool:
    config = os.fspath(repo.common_dir / "config")
    values = run(["git", "config", "--file", config, "-z", "--get-all", key]).stdout.split(b"\0")
    return f"gzl/{name}".encode() in values


def _write(path: Path, values: Sequence[tuple[str, str]]) -> bool:
    lines, section = [_HEADER], ""
    for key, value in values:
        name, _, variable = key.partition(".")
        if name != section:
            lines.append(f"[{name}]\n")
            section = name
        quoted = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        lines.append(f'\t{variable} = "{quoted}"\n')
    data = "".join(lines).encode(errors="surrogateescape")
    if read_or_none(path) == data:
        return False
    write_atomic(path, data)
    return True
