"""Which stages an event asks for, by the `on` rules of the Gzlfile at its commit."""

from collections.abc import Callable, Iterable

from gzl.model.event import Event, EventKind
from gzl.model.pipeline import Pipeline, Rule

SKIP_MARKS = ("[gzl skip]", "[skip gzl]")
SKIP_OPTION = "gzl.skip"


Matches = Callable[[str, str], bool]
"""The Gzlfile's glob: pattern, name."""


def asked_for(pipeline: Pipeline, event: Event, matches: Matches) -> tuple[str, ...]:
    """The declared names of the stages that `event` asks for, in the order of the rules; empty if no rule matches.

    `gzl.run=STAGE` options take the place of the rules.
    """
    if event.stages:
        return tuple(dict.fromkeys(event.stages))
    return tuple(dict.fromkeys(name for rule in rules_for(pipeline, event, matches) for name in rule.stages))


def limits(rules: Iterable[Rule]) -> tuple[int | None, int | None]:
    """The time that a job of these rules has in all, and without output, in seconds: the smallest that one says."""
    found = list(rules)
    return (
        min((rule.timeout for rule in found if rule.timeout is not None), default=None),
        min((rule.idle for rule in found if rule.idle is not None), default=None),
    )


def rules_for(pipeline: Pipeline, event: Event, matches: Matches) -> tuple[Rule, ...]:
    """The rules that match the event; none if `gzl.run=` options take their place."""
    return () if event.stages else tuple(rule for rule in pipeline.rules if _matches(rule, event, matches))


def _matches(rule: Rule, event: Event, matches: Matches) -> bool:
    if rule.kind is not event.kind:
        return False
    if rule.kind is EventKind.CRON:
        return rule.patterns[0] == event.cron
    return not rule.patterns or any(matches(pattern, event.short_ref) for pattern in rule.patterns)


def skip_reason(event: Event, message: str) -> str | None:
    """Why nothing is to run for `event`, whose commit has this message; None if nothing speaks against it."""
    if SKIP_OPTION in event.options:
        return f"push option {SKIP_OPTION}"
    mark = next((mark for mark in SKIP_MARKS if mark in message), None)
    return f"{mark} in the commit message" if mark and not event.stages else None
