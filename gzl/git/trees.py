"""Trees, blobs and commits written into the object database, with no working tree and no index.

Only what lies on the way to a changed file is read and written, so that a change costs the same in a large tree as in
a small one. The caller moves a ref to the result (`gzl.git.refs`).
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pygit2
from pygit2 import Oid, Repository, Signature, Tree
from pygit2.enums import FileMode, Option

from gzl.errors import TransientError, UserError

Files = Mapping[str, bytes | None]
"""Path → new content; None removes the file."""

_Result = TypeVar("_Result")

UNSETTLED = (pygit2.GitError, KeyError, OSError)
"""What libgit2 raises while a `git gc` removes the folder that it was about to write in, or the file that it was about
to read (twice in 2,100 records beside 130 runs of gc). Opened again, the object database is whole."""

# git has already decided that this repository may be used (`gzl.git.repo.open_repo`), and knows `safe.directory` from
# places where libgit2 does not look ($GIT_CONFIG_GLOBAL, the command line).
pygit2.option(Option.SET_OWNER_VALIDATION, False)


def open(common_dir: Path) -> Repository:
    """The object database of a repository (its common folder). UserError where libgit2 cannot read the format."""
    try:
        return Repository(str(common_dir))
    except pygit2.GitError as error:
        if "unknown object format" in str(error):
            raise UserError(
                f"{common_dir}: libgit2 {pygit2.LIBGIT2_VERSION} cannot write SHA-256 repositories, so gzl cannot keep "
                "results here; `git init --object-format=sha1` makes one where it can"
            ) from error
        raise UserError(f"{common_dir}: cannot be read: {error}; `git fsck` tells more") from error


def again(common_dir: Path, action: Callable[[Repository], _Result]) -> _Result:
    """What `action` gives for the object database, tried again where a gc got in its way."""
    for pause in (0.0, 0.01, 0.05, 0.2, 0.5):
        try:
            return action(open(common_dir))
        except UNSETTLED as error:
            trouble = error
            time.sleep(pause)
    raise TransientError(f"{common_dir}: {trouble}; `git fsck` tells more if it stays so") from trouble


def write_files(repo: Repository, base: Oid | None, files: Files) -> Oid:
    """The tree `base` (None: empty) with `files` changed. Folders that become empty vanish."""
    return _write(repo, base, _nested(files)) or repo.TreeBuilder().write()


def read_file(repo: Repository, tree: Oid | None, path: str) -> bytes | None:
    """The bytes of the file at `path` in a tree, or None if there is no such file."""
    blob = _entry(repo, tree, path)
    return blob.data if isinstance(blob, pygit2.Blob) else None


def exists(repo: Repository, tree: Oid | None, path: str) -> bool:
    """Whether the tree has a file or a folder at `path`."""
    return _entry(repo, tree, path) is not None


def folder(repo: Repository, tree: Oid | None, path: str) -> Oid | None:
    """The tree at `path` in a tree, or None if there is no such folder."""
    found = _entry(repo, tree, path)
    return found.id if isinstance(found, Tree) else None


def may_hold(repo: Repository, tree: Oid, mode: FileMode) -> bool:
    """Whether a tree could have an entry of this mode, without parsing it: a yes may be wrong, a no never is."""
    # A tree is "<octal mode> <name>\\0<binary id>" over and over (fsck.c, fsck_tree).
    return b"%o " % mode in repo.read(tree)[1]


def entries(repo: Repository, tree: Oid | None) -> dict[str, tuple[Oid, bool]]:
    """Name → (object id, whether it is a folder), of a tree."""
    if tree is None:
        return {}
    found = repo[tree]
    assert isinstance(found, Tree)
    return {str(entry.name): (entry.id, entry.filemode == FileMode.TREE) for entry in found}


def walk(repo: Repository, tree: Oid | None, prefix: str = "") -> Iterator[tuple[str, Oid]]:
    """Every file below a tree: (path, object id)."""
    for name, (oid, folder) in entries(repo, tree).items():
        if folder:
            yield from walk(repo, oid, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", oid


def commit(repo: Repository, tree: Oid, parents: Sequence[Oid], *, author: str, time: float, message: str) -> Oid:
    """Write a commit; no ref moves. `author` is a writer's name, `time` in seconds since the epoch."""
    # libgit2 refuses what would break a commit's header line.
    name = "".join(c for c in author if c.isprintable() and c not in "<>").strip() or "gzl"
    signature = Signature(f"gzl {name}", "gzl@localhost", int(time), 0)
    return repo.create_commit(None, signature, signature, message, tree, list(parents))


def tip(repo: Repository, ref: str) -> Oid | None:
    """The object that `ref` holds, or None if there is no such ref."""
    found = repo.references.get(ref)
    target = None if found is None else found.resolve().target
    assert not isinstance(target, str)  # only a symbolic ref's is, and it was resolved
    return target


def tree_of(repo: Repository, commit_id: Oid | None) -> Oid | None:
    """The tree of a commit; None for None."""
    if commit_id is None:
        return None
    found = repo[commit_id]
    if not isinstance(found, pygit2.Commit):
        raise UserError(f"{commit_id}: is no commit, though a ref of gzl's names it; `gzl fsck` tells more")
    return found.tree_id


def _entry(repo: Repository, tree: Oid | None, path: str) -> pygit2.Object | None:
    if tree is None:
        return None
    root = repo[tree]
    assert isinstance(root, Tree)
    try:
        return root[path]
    except KeyError:
        return None


def _nested(files: Files) -> dict[str, Any]:
    root: dict[str, Any] = {}
    for path, data in files.items():
        *folders, name = path.split("/")
        node = root
        for folder in folders:
            node = node.setdefault(folder, {})
        node[name] = data
    return root


def _write(repo: Repository, base: Oid | None, changes: Mapping[str, Any]) -> Oid | None:
    builder = repo.TreeBuilder() if base is None else repo.TreeBuilder(base)
    for name, change in changes.items():
        entry = builder.get(name)
        inside = entry.id if entry is not None and entry.filemode == FileMode.TREE else None
        if isinstance(change, bytes):
            builder.insert(name, repo.create_blob(change), FileMode.BLOB)
        elif change is not None and (below := _write(repo, inside, change)) is not None:
            builder.insert(name, below, FileMode.TREE)
        elif entry is not None and (change is None or inside is not None):
            builder.remove(name)
    return builder.write() if len(builder) else None
