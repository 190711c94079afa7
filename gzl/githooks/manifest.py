"""`hooks.json` in gzl's folder: what `gzl init` installed, and the state of all that could undo it.

As long as the hooks and git's configuration files are as they were, nobody has to ask git anything.
"""

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from gzl import __version__
from gzl.errors import UserError
from gzl.git.repo import Repo
from gzl.githooks import script
from gzl.kit.fs import read_or_none, write_atomic


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is installed in a repository; paths relative to the repository's common folder, but for `signature`."""

    version: str
    gzl: str
    server: bool
    common_dir: str
    stands_in_for: str | None
    """The hooks folder that gzl's own one stands in for; None where gzl's hooks are in `hooks`."""
    made_folder: bool
    no_newline: bool
    """Whether the configuration file did not end with a newline, as it should again in the end."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Hook → SHA-256 of it."""
    signature: Mapping[str, list[int] | None] = field(default_factory=dict)
    """File → what it looked like; None: it was not there."""

    @property
    def kind(self) -> tuple[str | None, bool, str]:
        """What decides how hooks are installed: if it changes, they are installed anew."""
        return self.stands_in_for, self.server, self.common_dir


def load(repo: Repo) -> Manifest | None:
    """What is installed, or None."""
    data = read_or_none(manifest_path(repo))
    if data is None:
        return None
    try:
        return Manifest(**json.loads(data))
    except (ValueError, TypeError) as error:
        raise UserError(f"{manifest_path(repo)}: not readable ({error}); delete it and run `gzl init`") from error


def remember(repo: Repo, manifest: Manifest, hooks: Mapping[Path, bytes], config_files: Iterable[Path]) -> None:
    """Keep the manifest, of these hooks and with the present look of these configuration files."""
    candidates = {
        *config_files,
        repo.common_dir / "config",
        repo.git_dir / "config.worktree",
        repo.common_dir / "hooks",
    }
    signature = {os.fspath(path): _look(path) for path in sorted(candidates)}
    files = {os.path.relpath(hook, repo.common_dir): _digest(text) for hook, text in hooks.items()}
    data = json.dumps(asdict(replace(manifest, files=files, signature=signature)), indent=1).encode() + b"\n"
    if read_or_none(manifest_path(repo)) != data:
        write_atomic(manifest_path(repo), data)


def intact(repo: Repo, manifest: Manifest) -> bool:
    """Whether hooks and configuration files look as they did; reads files alone."""
    return (
        manifest.version == __version__
        and manifest.common_dir == os.fspath(repo.common_dir)
        and all(
            _digest(read_or_none(repo.common_dir / path) or b"") == digest for path, digest in manifest.files.items()
        )
        and all(_look(Path(path)) == found for path, found in manifest.signature.items())
        and (manifest.stands_in_for is not None or not _displaced(repo, manifest))
    )


def _displaced(repo: Repo, manifest: Manifest) -> bool:
    """Whether a hook that is intact by itself is not what git runs: pre-commit moves one to `.legacy` and back."""
    for path in manifest.files:
        hook = (repo.common_dir / path).with_suffix("")
        if path.endswith(".legacy") and not script.is_pre_commit(hook):
            return True
    return False


def _look(path: Path) -> list[int] | None:
    """What tells two states of a file apart: its inode and size and times; of a folder, only what it is."""
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISREG(found.st_mode):
        return [found.st_ino, found.st_size, found.st_mtime_ns]
    return [stat.S_IFMT(found.st_mode)]


def manifest_path(repo: Repo) -> Path:
    """Where the manifest is."""
    return repo.layout.root / "hooks.json"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
