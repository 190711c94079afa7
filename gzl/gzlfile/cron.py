"""Checks the five fields of a crontab(5) schedule; when it is due is for whoever keeps the clock (croniter)."""

from dataclasses import dataclass

_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
_DAYS = "sun mon tue wed thu fri sat".split()
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    """Names for `low` and what follows it."""


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, tuple(_MONTHS)),
    _Field("day of the week", 0, 7, tuple(_DAYS)),
)


def flaw(schedule: str) -> str | None:
    """What is wrong with a schedule, or None."""
    words = schedule.split()
    if len(words) != len(_FIELDS):
        return f"a schedule has five fields (minute hour day month weekday), this one {len(words)}"
    try:
        values = [_values(field, text) for field, text in zip(_FIELDS, words, strict=True)]
    except ValueError as error:
        return str(error)
    days, months = values[2], values[3]
    # With a weekday beside it, the day of the month is an alternative and need not exist (crontab(5)).
    if words[4] == "*" and min(days) > max(_LONGEST[month - 1] for month in months):
        return "there is no such day in any of these months"
    return None


def _values(field: _Field, text: str) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, slash, step = part.partition("/")
        if slash and (not _is_number(step) or not 0 < int(step) <= field.high):
            raise ValueError(f"{field.name}: {part!r}: a step is a number from 1 to {field.high}")
        low, high = _span(field, span)
        if slash and low == high and "-" not in span:
            raise ValueError(f"{field.name}: {part!r}: a step needs * or a range, such as {span}-{field.high}/{step}")
        found.update(range(low, high + 1, int(step) if slash else 1))
    return found


def _span(field: _Field, text: str) -> tuple[int, int]:
    if text == "*":
        return field.low, field.high
    first, dash, last = text.partition("-")
    low = _value(field, first)
    high = _value(field, last) if dash else low
    if high < low:
        raise ValueError(f"{field.name}: {text!r} runs backwards")
    return low, high


def _value(field: _Field, text: str) -> int:
    if text.lower() in field.names:
        return field.names.index(text.lower()) + field.low
    if not _is_number(text) or not field.low <= int(text) <= field.high:
        names = f" or {field.names[0]} to {field.names[-1]}" if field.names else ""
        raise ValueError(f"{field.name}: {text!r} is not {field.low} to {field.high}{names}")
    return int(text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 4
