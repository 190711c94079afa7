"""The spool: how events get from hooks, which are POSIX sh and must not wait, to the repo manager.

A maildir (https://cr.yp.to/proto/maildir.html) of small text files, one an event, each in one place at any instant:

    tmp/<name>         being written, or whole (its last line is `end`): the reader itself renames a whole one, which
                       saves every hook a process (`mv`; sh has no rename of its own)
    new/<name>         told, and nobody's yet
    cur/<job>.<name>   claimed by a manager, for the job whose id it carries
    bad/<name>         not an event; the reason is beside it in <name>.why
    done/<name>        what came of an event whose pusher waits for it

Every step is one rename, so an event is in exactly one of them, whoever dies when. Claiming decides the job's id and
keeps it in the file's name: a manager that comes back to a claimed event makes the same job again, not another one.
What was never told (a hook missing, a full disk) is found by comparing the tips with `seen`, see `missed`.

A name is unique for ever and begins with no job id; events arrive in the order of their files' modification times.
"""

import os
import re
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gzl.errors import UserError
from gzl.kit.fs import read_or_none, write_atomic
from gzl.kit.proc import start_time
from gzl.model.event import Event, EventKind
from gzl.model.ids import is_job_id
from gzl.model.layout import Layout

FOLDERS = ("tmp", "new", "cur")
_LARGEST = 1 << 20  # bytes of an event file; git limits a push option to 64 KiB
_OUTCOME_KEPT = 24 * 3600.0  # seconds that what came of an event is kept for whoever asks
_HEX = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Claimed:
    """An event file that belongs to `job`; `name` is what it was called in `new/`."""

    job: str
    name: str

    def path(self, layout: Layout) -> Path:
        return layout.spool / "cur" / f"{self.job}.{self.name}"


def pending(layout: Layout) -> list[str]:
    """The events that nobody has claimed, in the order of arrival."""
    _adopt(layout)
    return _by_age(layout.spool / "new")


def claim(layout: Layout, name: str, job: str) -> Claimed | None:
    """Take an event for `job`; None if another manager was faster."""
    claimed = Claimed(job, name)
    folder = layout.spool / "cur"
    folder.mkdir(exist_ok=True)
    try:
        os.rename(layout.spool / "new" / name, claimed.path(layout))
    except FileNotFoundError:
        return None
    return claimed


def claimed(layout: Layout) -> list[Claimed]:
    """The events that were claimed and are not done, in the order of arrival: what a crash left."""
    parts = (name.partition(".") for name in _by_age(layout.spool / "cur"))
    return [Claimed(job, name) for job, _, name in parts if is_job_id(job)]


def read(layout: Layout, event_file: Claimed) -> Event | None:
    """The event; None if the file holds none, which is then in `bad/` with the reason beside it."""
    path = event_file.path(layout)
    try:
        return parse(_bytes(path), str(path))
    except UserError as error:
        reject(layout, event_file, str(error))
        return None


def reject(layout: Layout, event_file: Claimed, why: str) -> None:
    """Keep in `bad/`, with the reason beside it, what cannot be handled."""
    folder = layout.spool / "bad"
    folder.mkdir(exist_ok=True)
    write_atomic(folder / f"{event_file.name}.why", f"{why}\n".encode(errors="surrogateescape"))
    with suppress(FileNotFoundError):
        os.rename(event_file.path(layout), folder / event_file.name)


def done(layout: Layout, event_file: Claimed) -> None:
    """The event's job is safe elsewhere: drop the file."""
    event_file.path(layout).unlink(missing_ok=True)


def deposit(layout: Layout, event: Event) -> str:
    """Tell an event from Python, as a hook would; its name."""
    name = f"{os.urandom(16).hex()}.{os.getpid()}.0"
    for folder in FOLDERS:
        (layout.spool / folder).mkdir(parents=True, exist_ok=True)
    aside = layout.spool / "tmp" / name
    aside.write_bytes(serialise(event))
    os.rename(aside, layout.spool / "new" / name)
    return name


def _adopt(layout: Layout) -> None:
    """Move to `new/` what is whole in `tmp/`; drop what a hook that is dead did not finish."""
    for name in _by_age(layout.spool / "tmp"):
        path = layout.spool / "tmp" / name
        with suppress(FileNotFoundError):  # another reader was faster
            if path.read_bytes().endswith(b"\nend\n"):
                (layout.spool / "new").mkdir(exist_ok=True)
                os.rename(path, layout.spool / "new" / name)
            elif not _writer_lives(name):
                path.unlink()


def outcome(layout: Layout, name: str, text: str, now: float | None = None) -> None:
    """Leave what came of an event for `gzl attach --event`, and sweep what nobody asked for in a day."""
    folder = layout.spool / "done"
    folder.mkdir(exist_ok=True)
    write_atomic(folder / name, f"{text}\n".encode(errors="surrogateescape"))
    oldest = (time.time() if now is None else now) - _OUTCOME_KEPT
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < oldest:
                path.unlink()


def read_outcome(layout: Layout, name: str) -> str | None:
    """What came of the event of that name; None as long as nobody has said it."""
    data = read_or_none(layout.spool / "done" / name)
    return None if data is None else data.decode(errors="surrogateescape").removesuffix("\n")


def serialise(event: Event) -> bytes:
    """The event file: a `key value` a line, and a last line `end` without which it is not whole."""
    none = "0" * len(event.new or event.old or "0" * 40)
    fields = [("event", str(event.kind)), ("old", event.old or none), ("new", event.new or none), ("ref", event.ref)]
    fields += [("actor", event.actor)] + [("option", option) for option in event.options]
    if event.cron is not None:
        fields.append(("cron", event.cron))
    for key, value in fields:
        if _CONTROL.search(value):
            raise UserError(f"event: {key} {value!r} holds a control character; an event's values are single lines")
    return "".join(f"{key} {value}\n" for key, value in fields).encode(errors="surrogateescape") + b"end\n"


def parse(data: bytes, where: str) -> Event:
    """The event that a file's bytes hold. UserError naming `where` if they hold none."""
    if not data.endswith(b"\nend\n"):
        raise UserError(f"{where}: this event is not whole, its last line is not `end`; push the branch again")
    values: dict[str, str] = {}
    options: list[str] = []
    for line in data.decode(errors="surrogateescape").split("\n")[:-2]:
        key, _, value = line.partition(" ")
        if key == "option":
            options.append(value)
        elif key in values:
            raise UserError(f"{where}: this event has two lines `{key}`; push the branch again")
        else:
            values[key] = value
    try:
        kind, ref, old, new = EventKind(values["event"]), values["ref"], _oid(values["old"]), _oid(values["new"])
    except (KeyError, ValueError) as error:
        raise UserError(f"{where}: this is not an event ({error}); push the branch again") from error
    if not ref or _CONTROL.search(data.decode(errors="surrogateescape").replace("\n", "")):
        raise UserError(f"{where}: this event has no ref, or holds control characters; push the branch again")
    return Event(kind, ref, old, new, values.get("actor", ""), tuple(options), values.get("cron"))


def read_seen(layout: Layout) -> dict[str, str]:
    """The tips that events told of: ref → object id in hex. Nothing was seen where the file is missing."""
    text = (read_or_none(layout.seen) or b"").decode(errors="surrogateescape")
    pairs = (line.partition(" ") for line in text.split("\n"))
    return {ref: oid for oid, _, ref in pairs if _HEX.match(oid) and ref}


def write_seen(layout: Layout, tips: Mapping[str, str]) -> None:
    """Keep the tips that events told of."""
    text = "".join(f"{oid} {ref}\n" for ref, oid in sorted(tips.items()))
    write_atomic(layout.seen, text.encode(errors="surrogateescape"))


def missed(tips: Mapping[str, str], seen: Mapping[str, str]) -> list[Event]:
    """A push event for each branch that is not where it was last seen, those that are gone included."""
    refs = [ref for ref in sorted({*tips, *seen}) if ref.startswith("refs/heads/") and tips.get(ref) != seen.get(ref)]
    return [Event(EventKind.PUSH, ref, seen.get(ref), tips.get(ref)) for ref in refs]


def _by_age(folder: Path) -> list[str]:
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return []
    return [name for _, name in sorted(_ages(entries))]


def _ages(entries: Iterable[os.DirEntry[str]]) -> Iterable[tuple[int, str]]:
    for entry in entries:
        with suppress(FileNotFoundError):  # claimed by another manager since
            yield entry.stat(follow_symlinks=False).st_mtime_ns, entry.name


def _writer_lives(name: str) -> bool:
    # <unique>.<pid>.<serial>; a pid that was used again only makes the file wait for the next start.
    pid = name.split(".")[-2:-1]
    return bool(pid) and pid[0].isdecimal() and start_time(int(pid[0])) is not None


def _bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise UserError(f"{path}: longer than any event is; push the branch again")
    return data


def _oid(text: str) -> str | None:
    if not _HEX.match(text):
        raise ValueError(f"{text!r} is no object id")
    return text if text.strip("0") else None
