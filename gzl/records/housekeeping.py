"""Files beside git that grow, or are left, and that nobody needs for long: kept bounded by `gzl gc`."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from gzl.kit.fs import write_atomic
from gzl.model.layout import Layout

_LOG_BYTES = 8 << 20
_DAY = 86400.0
_BAD_DAYS = 30
_READ_DAYS = 1


def stale(layout: Layout, now: float) -> Iterator[Path]:
    """What could not be handled, a month after; copies of logs whose readers were killed, a day after."""
    for folder, pattern, days in ((layout.spool / "bad", "*", _BAD_DAYS), (layout.objects, "log-*", _READ_DAYS)):
        for path in sorted(folder.glob(pattern)):
            if path.lstat().st_mtime < now - days * _DAY:
                yield path


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is still there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def rotate(layout: Layout) -> bool:
    """Keep the manager's log below 8 MiB, and as much of what was in it before; whether it was above.

    It is emptied and not renamed, because managers and agents hold it open for appending: they go on at its new end.
    """
    path = layout.manager_log
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    with open(fd, "rb+") as file:
        size = file.seek(0, os.SEEK_END)
        if size <= _LOG_BYTES:
            return False
        file.seek(size - _LOG_BYTES)
        write_atomic(path.with_name(f"{path.name}.1"), file.read(_LOG_BYTES).partition(b"\n")[2], 0o600)
        file.truncate(0)
    return True
