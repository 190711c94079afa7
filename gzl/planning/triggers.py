"""Which stages an event asks for, by the `on` rules of the Gzlfile at its commit."""

from collections.abc import Callable

from gzl.model.event import Event, EventKind
from gzl.model.pipeline import Pipeline

SKIP_MARKS = ("[gzl skip]", "[skip gzl]")
SKIP_OPTION = "gzl.skip"


def asked_for(pipeline: Pipeline, event: Event, matches: Callable[[str, str], bool]) -> tuple[str, ...]:
    """The declared names of the stages that `event` asks for, in the order of the rules; empty if no rule matches.

    `gzl.run=STAGE` options take the place of the rules. `matches(pattern, name)` is the Gzlfile's glob.
    """
    if event.stages:
        return tuple(dict.fromkeys(event.stages))
    wanted: dict[str, None] = {}
    for rule in pipeline.rules:
        if rule.kind is not event.kind:
            continue
        if rule.kind is EventKind.CRON:
            matched = rule.patterns[0] == event.cron
        else:
            matched = not rule.patterns or any(matches(pattern, event.short_ref) for pattern in rule.patterns)
        if matched:
            wanted.update(dict.fromkeys(rule.stages))
    return tuple(wanted)


def skip_reason(event: Event, message: str) -> str | None:
    """Why nothing is to run for `event`, whose commit has this message; None if nothing speaks against it."""
    if SKIP_OPTION in event.options:
        return f"push option {SKIP_OPTION}"
    mark = next((mark for mark in SKIP_MARKS if mark in message), None)
    return f"{mark} in the commit message" if mark and not event.stages else None
