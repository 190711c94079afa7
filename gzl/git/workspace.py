"""Workspaces: clean checkouts for stages, one per parallel slot, used again by resetting only what changed.

A workspace is a folder with a `.git` of its own, made by hand: HEAD detached at the commit, the repository's objects
through `alternates`, its tags and branches as packed refs. So git works inside a stage (`git describe`, `git log`), and
nothing that a stage does to it reaches the repository. The index that says what is clean is kept beside the folder,
where a stage's `git update-index --assume-unchanged` cannot touch it; the stage gets a copy.

Between two stages of a job the folder is compared with what it was (`_scan`); only if something differs is it put
right. The first use in a job always asks git, because nobody knows what happened since.
"""

import os
import shutil
import stat
from pathlib import Path

from gzl.git.repo import Repo
from gzl.kit import proc
from gzl.kit.proc import CommandFailed

# Up to here comparing in process is cheaper than two runs of git (4,000 files: 25 ms against 20 ms).
_SCAN_AT_MOST = 4000
_Snapshot = dict[str, tuple[int, ...]]


class Workspace:
    """The workspace of one slot, for one job."""

    def __init__(self, repo: Repo, root: Path, commit: str) -> None:
        self._repo = repo
        self._root = root
        self._commit = commit
        self._clean: _Snapshot | None = None
        self._known = False
        self.path = root / "tree"

    def prepare(self) -> Path:
        """Make the folder a clean checkout of the commit, and give its path."""
        if self._known and self._clean is not None and _scan(self.path) == self._clean:
            return self.path
        try:
            self._reset()
        except (CommandFailed, OSError):
            # Whatever a stage did to it (folders it may not write to, files that became folders): a new one is clean.
            self._discard()
            self._reset()
        self._known = True
        self._clean = _scan(self.path)
        return self.path

    def _reset(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        (self._root / "index.lock").unlink(missing_ok=True)  # of a git that was killed: the slot is ours alone
        self._write_git_folder()
        self._git("read-tree", "--reset", "-u", self._commit)
        self._git("clean", "-ffdxq")
        shutil.copyfile(self._root / "index", self.path / ".git/index")

    def _git(self, *args: str) -> None:
        here = ["--git-dir", str(self.path / ".git"), "--work-tree", str(self.path)]
        proc.git(self.path, *here, *args, extra={"GIT_INDEX_FILE": str(self._root / "index")}, timeout=None)

    def _discard(self) -> None:
        make_removable(self.path)
        shutil.rmtree(self.path, ignore_errors=True)
        if self.path.exists():
            # A service that runs as another user left files here: out of the way, for whoever may remove them.
            self.path.rename(self._root / f"unremovable-{os.getpid()}-{self._commit[:12]}")
        (self._root / "index").unlink(missing_ok=True)

    def _write_git_folder(self) -> None:
        folder = self.path / ".git"
        if folder.is_symlink() or folder.is_file():
            folder.unlink()
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "objects/info").mkdir(parents=True)
        (folder / "refs").mkdir()
        (folder / "objects/info/alternates").write_bytes(
            os.fsencode(_quoted(self._repo.common_dir / "objects")) + b"\n"
        )
        (folder / "HEAD").write_text(self._commit + "\n")
        (folder / "config").write_text(_config(self._repo, sha256=len(self._commit) == 64))
        (folder / "packed-refs").write_bytes(_packed_refs(self._repo))
        shallow = self._repo.common_dir / "shallow"
        if shallow.exists():
            shutil.copyfile(shallow, folder / "shallow")


def make_removable(folder: Path) -> None:
    """Give the owner the right to remove what is in `folder`; some tools (Go's module cache) make folders read-only."""
    for parent, _, _ in os.walk(folder):
        os.chmod(parent, 0o700)


def _quoted(path: Path) -> str:
    """A path as objects/info/alternates has it: quoted as in C where it begins with a quote or holds a newline."""
    text = str(path)
    if not text.startswith('"') and "\n" not in text:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _config(repo: Repo, *, sha256: bool) -> str:
    url = repo.config("remote.origin.url") or str(repo.common_dir)
    lines = [
        "[core]",
        f"\trepositoryformatversion = {int(sha256)}",
        "\tbare = false",
        "\thooksPath = /dev/null",
        *(["[extensions]", "\tobjectFormat = sha256"] if sha256 else []),
        '[remote "origin"]',
        f"\turl = {_config_value(url)}",
        "\tfetch = +refs/heads/*:refs/remotes/origin/*",
    ]
    return "\n".join(lines) + "\n"


def _config_value(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _packed_refs(repo: Repo) -> bytes:
    """Tags as they are, and branches as the remote-tracking ones of a clone."""
    listed = repo.git("for-each-ref", "--format=%(objectname) %(refname)", "refs/tags", "refs/heads")
    return listed.replace(b" refs/heads/", b" refs/remotes/origin/")


def _scan(root: Path) -> _Snapshot | None:
    """What stat(2) tells of everything in a workspace but its objects; None if that is more than a scan is good for."""
    found: _Snapshot = {}
    todo = [str(root)]
    while todo:
        folder = todo.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                found[entry.path] = (
                    status.st_ino,
                    status.st_mode,
                    status.st_size,
                    status.st_mtime_ns,
                    status.st_ctime_ns,
                )
                if stat.S_ISDIR(status.st_mode) and not entry.path.endswith("/.git/objects"):
                    todo.append(entry.path)
        if len(found) > _SCAN_AT_MOST:
            return None
    return found
