"""Crashes on purpose, at places with a name: how the tests show that a process may die between any two lines.

Unarmed, a point costs one comparison. `cli` arms it from GZL_CRASH_AT=<point>:<file>; the process then kills itself
where that point is reached first, if it can remove the file, so that the next process to come by goes on.
"""

import os
import signal
from pathlib import Path

_armed: tuple[str, Path] | None = None


def arm(setting: str | None) -> None:
    """Take the setting `<point>:<file>`; None or an empty one disarms."""
    global _armed
    point, _, file = (setting or "").partition(":")
    _armed = (point, Path(file)) if file else None


def point(name: str) -> None:
    """SIGKILL this process if it is armed for `name`."""
    if _armed is None or _armed[0] != name:
        return
    try:
        _armed[1].unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
