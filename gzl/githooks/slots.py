"""gzl's hooks in `$GIT_COMMON_DIR/hooks`, beside other people's.

A hook's slot is `hooks/<name>`. What was there is kept as `<slot>.before-gzl` and runs from there: a rename, so that
every byte, the mode and the times come back with another one. Where pre-commit holds `hooks/<name>`, the slot is
`hooks/<name>.legacy`, the place from which pre-commit itself runs a hook that it found: there gzl's hook ends up when
pre-commit is installed second, so both orders end in the same state, and neither tool has to know of the other.

`settle` brings a slot into that state from whatever other tools left of it since; what each of them does was found by
trying it, and is written down in docs/hooks.md.
"""

import os
import shlex
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gzl.githooks import script
from gzl.githooks.script import BEFORE

LINKS = "before-gzl"
"""Folder of links, by their old names, to previous hooks that are no shell scripts: some act by the name they have."""


@dataclass(frozen=True, slots=True)
class Slot:
    """Where one of gzl's hooks is, or is to be."""

    hook: str
    path: Path

    @property
    def before(self) -> Path:
        return self.path.with_name(self.path.name + BEFORE)


def settle(folder: Path, hook: str) -> Slot:
    """Put away what stands in the slot of gzl's hook, and what other tools moved elsewhere; gives the slot."""
    path = folder / hook
    legacy = folder / f"{hook}.legacy"
    if script.is_pre_commit(path):
        slot, other = Slot(hook, legacy), Slot(hook, path)
    else:
        slot, other = Slot(hook, path), Slot(hook, legacy)
    displaced = folder / f"{hook}.old"
    if script.is_ours(displaced):
        displaced.unlink()  # lefthook moves what it finds there, does not run it, and stumbles over it the next time
    if not os.path.lexists(slot.path):
        if script.is_generated(slot.before):
            slot.before.unlink()  # its tool has been uninstalled, and took gzl's hook for its own
    elif not script.is_ours(slot.path):
        _make_room(slot, displaced)
        os.rename(slot.path, slot.before)
    if script.is_ours(other.path):
        other.path.unlink()
    if os.path.lexists(other.before):
        _bring_over(other.before, slot)
    return slot


def settings(slot: Slot, command: str, writer: str) -> script.Settings:
    """What the hook in a settled slot is told of what was there before."""
    here = '"${0%/*}"'
    told = script.Settings(gzl=command, root=f"{here}/../gzl", writer=writer)
    if not os.path.lexists(slot.before):
        return told
    before, place = shlex.quote(slot.before.name), shlex.quote(slot.path.name)
    shell = script.shell_of(slot.before)
    # lefthook replaces a hook that has its name in capitals as its own, and sets any other aside as `.old`; once there
    # is an `.old` it fails. Its own is kept in `before`, so it may replace this one; `gzl` heals it then.
    note = f"LEFTHOOK's own hook is run from {slot.before.name}." if script.is_lefthook(slot.before) else ""
    previous = f"{here}/{before}" if shell else f"{here}/{LINKS}/{place}"
    return script.Settings(command, told.root, previous, f"{here}/{place}", shell, writer, note)


def link(slot: Slot) -> None:
    """Let a previous hook that is no shell script be run under its own name."""
    at = slot.path.parent / LINKS / slot.path.name
    if os.path.lexists(slot.before) and not script.shell_of(slot.before):
        at.parent.mkdir(exist_ok=True)
        if not at.is_symlink():
            at.symlink_to(Path("..") / slot.before.name)
    else:
        _unlink(at)


def restore(folder: Path, hook: str) -> bool:
    """Take gzl's hook away and put back what was there before; whether there was anything to do."""
    traces = [folder / f"{hook}{ending}{BEFORE}" for ending in ("", ".legacy")]
    ours = any(script.is_ours(folder / f"{hook}{ending}") for ending in ("", ".legacy", ".old"))
    if not ours and not any(map(os.path.lexists, traces)):
        return False
    slot = settle(folder, hook)
    slot.path.unlink(missing_ok=True)
    if os.path.lexists(slot.before):
        os.rename(slot.before, slot.path)
    _unlink(folder / LINKS / slot.path.name)
    return True


def _make_room(slot: Slot, displaced: Path) -> None:
    """Another tool has put its hook over gzl's; what was before gzl's then goes where that tool would have put it."""
    if not os.path.lexists(slot.before):
        return
    if script.is_generated(slot.before):
        slot.before.unlink()
    elif script.is_lefthook(slot.path) and not os.path.lexists(displaced):
        os.rename(slot.before, displaced)
    else:
        _set_aside(slot.before)


def _bring_over(before: Path, slot: Slot) -> None:
    """pre-commit came or went since, and gzl's hook moved with it; what it runs has to follow."""
    if script.is_pre_commit(before):
        before.unlink()  # pre-commit is in force again by itself, or was taken away
    elif os.path.lexists(slot.before):
        _set_aside(before)
    else:
        os.rename(before, slot.before)


def _set_aside(before: Path) -> None:
    os.rename(before, before.with_name(f"{before.name}~"))


def _unlink(at: Path) -> None:
    at.unlink(missing_ok=True)
    with suppress(OSError):  # not there, or other links are
        at.parent.rmdir()
