"""Reads what stands before the stages: `on` rules and the `gzl:` pin."""

import re
from contextlib import suppress

from gzl.gzlfile import cron, globs
from gzl.gzlfile.header import Mention, Setting, read_options
from gzl.gzlfile.mistakes import Place, Report
from gzl.gzlfile.names import reference_flaw
from gzl.gzlfile.source import Logical
from gzl.gzlfile.values import seconds
from gzl.model.event import EventKind
from gzl.model.pipeline import Rule

_WORD = re.compile(r"""\s*(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<plain>[^\s:"']+))""")
_EVENT = re.compile(r"on[ \t]+(?P<event>[^\s:\[]+)")
# A bracket begins a class of characters, too: `release/[0-9]*`. Options are a bracket by itself with a `=` in it.
_OPTIONS = re.compile(r"\s*\[\s*(?:(?:timeout|idle)\s*[],]|[\w.-]+\s*=[^]]*\](?=[\s:]|$))")
_GLUED = re.compile(r"\[\s*(?:timeout|idle)\s*=")
_BROKEN = "broken"
_EVENTS = [str(kind) for kind in EventKind]
RULE_OPTIONS = ("timeout", "idle")
_NO_PATTERNS = (EventKind.MANUAL,)


def read_rule(text: Logical, report: Report) -> tuple[Rule | None, tuple[Mention, ...]]:
    """The rule of an `on` line, if it is one that this version can keep, and the stages that it names."""
    match = _EVENT.match(text.text)
    if match is None:
        report.error(text.place(0), "`on` names no event", f"write `on EVENT: stages`; events are {_events()}")
        return None, ()
    event, at = match["event"], text.place(match.start("event"))
    if event != _BROKEN and event not in _EVENTS:
        report.error(at, f"no event {event!r}", report.near(event, [*_EVENTS, _BROKEN], f"events are {_events()}"))
    if text.broken:
        return None, ()
    patterns, end = _words(text.text, match.end())
    settings: dict[str, Setting] = {}
    if _OPTIONS.match(text.text, end):
        settings, end = read_options(text, text.text.index("[", end) + 1, report, RULE_OPTIONS)
        if not text.text.startswith(":", end):
            report.error(text.place(end), "a rule's options stand last before its `:`", "put the patterns before them")
            return None, ()
    if not text.text.startswith(":", end):
        report.error(text.place(end), "a rule needs `:` and the stages to run", f"write `on {event} …: stages`")
        return None, ()
    if event == _BROKEN:
        for setting in settings.values():
            report.error(setting.place, "`on broken` takes no options", "remove them")
        _read_broken(text, patterns, end + 1, at, report)
        return None, ()
    mentions = _mentions(text, end + 1, report)
    if event not in _EVENTS:
        return None, mentions
    kind = EventKind(event)
    _check_patterns(kind, [(word, text.place(offset)) for word, offset in patterns], at, report)
    stages = tuple(mention.name for mention in mentions)
    limits = {name: _seconds(setting.value) for name, setting in settings.items()}
    return Rule(kind, tuple(word for word, _ in patterns), stages, at.line, **limits), mentions


def _seconds(text: str) -> int | None:
    """The duration; None for one that is none, which was reported."""
    with suppress(ValueError):
        return seconds(text)
    return None


def _events() -> str:
    return ", ".join(_EVENTS)


def _words(text: str, at: int) -> tuple[list[tuple[str, int]], int]:
    """Words with their offsets, as far as they go, and the offset of what follows them."""
    found = []
    while not _OPTIONS.match(text, at) and (match := _WORD.match(text, at)):
        group = str(match.lastgroup)
        found.append((match[group], match.start(group)))
        at = match.end()
    return found, at + len(text[at:]) - len(text[at:].lstrip())


def _mentions(text: Logical, at: int, report: Report) -> tuple[Mention, ...]:
    found = []
    for match in re.finditer(r"\S+", text.text[at:]):
        name, place = match[0], text.place(at + match.start())
        if "//" in name:
            report.error(place, "a rule runs stages of its own file", "name a stage here that depends on that one")
        elif flaw := reference_flaw(name):
            hint = "separate stages with spaces" if "," in name else "name stages of this file"
            report.error(place, flaw, hint)
        else:
            found.append(Mention(name, place))
    if not text.text[at:].strip():
        report.error(text.place(len(text.text)), "the rule names no stage", "name the stages to run after the colon")
    return tuple(found)


def _check_patterns(kind: EventKind, patterns: list[tuple[str, Place]], at: Place, report: Report) -> None:
    if kind is EventKind.CRON:
        _check_schedule(patterns, at, report)
        return
    if kind in _NO_PATTERNS and patterns:
        report.error(patterns[0][1], f"`on {kind}` takes no patterns", "remove them")
        return
    for pattern, place in patterns:
        if flaw := globs.flaw(pattern):
            report.error(place, f"in the pattern {pattern!r} {flaw}", "a backslash makes a character stand for itself")
        elif _GLUED.search(pattern):
            report.error(place, f"the pattern {pattern!r} has options in it", "put a space before the `[`")
        elif pattern.startswith("!"):
            report.error(place, "a pattern cannot be negated", "name the branches that you do want")
        elif pattern.startswith("refs/"):
            report.error(place, "a pattern is for the short name", "leave out refs/heads/ or refs/tags/")


def _check_schedule(patterns: list[tuple[str, Place]], at: Place, report: Report) -> None:
    if len(patterns) != 1:
        place = patterns[0][1] if patterns else at
        report.error(place, "cron takes one schedule in quotes", 'write it like `on cron "0 3 * * *": nightly`')
    elif flaw := cron.flaw(patterns[0][0]):
        report.error(patterns[0][1], flaw, 'a schedule is written like "30 3 * * mon-fri", see crontab(5)')


def _read_broken(text: Logical, patterns: list[tuple[str, int]], at: int, event: Place, report: Report) -> None:
    if not patterns:
        report.error(event, "`on broken` names no branch", "write `on broken main: bisect`")
    for pattern, offset in patterns:
        if flaw := globs.flaw(pattern):
            report.error(text.place(offset), f"in the pattern {pattern!r} {flaw}", "name a branch")
    if text.text[at:].split() != ["bisect"]:
        report.error(text.place(at), "`on broken` knows one action", "write `on broken main: bisect`")
    report.warn(event, "`on broken` is not available in this version of gzl", "the rule does nothing for now")


def read_pin(text: Logical, report: Report) -> str | None:
    """What follows `gzl:`: a channel, a commit-ish, or `repo@commit-ish`."""
    at = text.text.index(":") + 1
    words = text.text[at:].split()
    offset = at + len(text.text[at:]) - len(text.text[at:].lstrip())
    if len(words) != 1 or not words[0].isprintable() or words[0].startswith("-"):
        report.error(
            text.place(min(offset, len(text.text))),
            "`gzl:` takes one word",
            "write `gzl: stable`, `gzl: COMMIT` or `gzl: REPO@COMMIT`",
        )
        return None
    report.warn(
        text.place(offset),
        "`gzl:` is not available in this version of gzl, which cannot run another",
        "jobs are refused; remove the line for now",
    )
    return words[0]
