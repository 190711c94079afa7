"""Looks up the names that rules and dependencies use, and finds dependencies that go round in a circle."""

from collections.abc import Container, Iterable, Mapping, Sequence

from gzl.gzlfile.header import Header, Mention
from gzl.gzlfile.mistakes import Report

_SHOWN = 12
"""Stages of a cycle that are spelled out."""


def check_mentions(
    mentions: Iterable[Mention], families: Mapping[str, Sequence[str]], stages: Container[str], report: Report
) -> None:
    """Report each name that is no stage of the file."""
    for mention in mentions:
        name = mention.name
        if name in families or name in stages:
            continue
        family, at, _ = name.partition("@")
        if at and family in families:
            known: Iterable[str] = families[family]
            otherwise = f"{family!r} has {_some(families[family])}"
        else:
            known, otherwise = families, "declare it, or leave it out here"
        report.error(mention.place, f"no stage {name!r}", report.near(name, known, otherwise))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def check_cycles(headers: Mapping[str, Header], report: Report) -> None:
    """Report circles of dependencies; without the last dependency of each that is reported, none is left.

    A depth-first search: a dependency that leads back onto the path from which it is looked at closes a circle. All
    stages of a matrix have the same dependencies, so that a family stands for its members.
    """
    finished: set[str] = set()
    for root in headers:
        path: list[str] = []
        on_path: dict[str, int] = {}
        stack = [(Mention(root, headers[root].place), False)]
        while stack:
            mention, leaving = stack.pop()
            name = mention.name.partition("@")[0]
            if leaving:
                finished.add(path.pop())
                del on_path[name]
            elif name in on_path:
                _report_cycle(path, on_path[name], mention, headers, report)
            elif name not in finished and name in headers:
                on_path[name] = len(path)
                path.append(name)
                stack.append((mention, True))
                stack.extend((mention, False) for mention in reversed(headers[name].mentions))


def _report_cycle(
    path: Sequence[str], start: int, closing: Mention, headers: Mapping[str, Header], report: Report
) -> None:
    length = len(path) - start
    names = list(path[start : start + _SHOWN])
    if length > _SHOWN:
        names += [f"… {length - _SHOWN} more …"]
    lines = ", ".join(str(headers[name].place.line) for name in path[start : start + _SHOWN])
    report.error(
        closing.place,
        f"{'stages that wait for each other' if length > 1 else 'a stage that waits for itself'}: "
        + " → ".join([*names, path[start]]),
        f"each needs the next (declared in line{'s' if length > 1 else ''} {lines}): remove one of these dependencies",
    )
