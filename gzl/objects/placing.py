"""Folders by descriptor: entering them without following links, and moving a new tree into one that is there."""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from gzl.errors import UserError
from gzl.kit.text import escaped

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def opened(name: str | Path, folder: int | None = None) -> Iterator[int]:
    """The folder `name` (in an open one), open; NotADirectoryError if it is none, or a link."""
    fd = os.open(name, _FOLDER, dir_fd=folder)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def descended(folder: int, names: Sequence[str]) -> Iterator[int]:
    """The folder that is reached by entering one after the other, from an open one."""
    with ExitStack() as stack:
        for name in names:
            folder = stack.enter_context(opened(name, folder))
        yield folder


def place(fresh: Path, target: Path, *, replace: bool = True) -> None:
    """Move what is in the folder `fresh` to `target`, on the same file system: into it, if it is a folder. A file
    takes the place of a file or link. UserError, and nothing has been moved, where a folder would have to take the
    place of something else or the other way round. Without `replace` whatever is there stays."""
    os.chmod(fresh, 0o755)
    if not os.path.lexists(target):
        os.rename(fresh, target)
        return
    try:
        with opened(fresh) as source, opened(target) as into:
            if replace:
                _check(source, into, str(target))
            _move(source, into, replace=replace)
    except NotADirectoryError as error:
        raise UserError(
            f"{escaped(str(target))}: is in the way of a folder; remove it, or unpack somewhere else"
        ) from error


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data`, however much the kernel takes at once."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def is_full(error: OSError) -> bool:
    """Whether a disk, or what somebody may use of it, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def _check(source: int, into: int, path: str) -> None:
    for name in os.listdir(source):
        there = _mode(name, into)
        if there is None:
            continue
        shown = escaped(f"{path}/{name}")
        if _is_folder(name, source):
            if not stat.S_ISDIR(there):
                raise UserError(f"{shown}: is in the way of a folder of the same name; remove it first")
            with opened(name, source) as below, opened(name, into) as below_into:
                _check(below, below_into, f"{path}/{name}")
        elif stat.S_ISDIR(there):
            raise UserError(f"{shown}: is a folder, in the way of a file of the same name; remove it first")


def _move(source: int, into: int, *, replace: bool) -> None:
    for name in os.listdir(source):
        there = _mode(name, into)
        if there is not None and stat.S_ISDIR(there) and _is_folder(name, source):
            with opened(name, source) as below, opened(name, into) as below_into:
                _move(below, below_into, replace=replace)
        elif there is None or replace:
            os.rename(name, name, src_dir_fd=source, dst_dir_fd=into)


def _is_folder(name: str, folder: int) -> bool:
    mode = _mode(name, folder)
    return mode is not None and stat.S_ISDIR(mode)


def _mode(name: str, folder: int) -> int | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return None
