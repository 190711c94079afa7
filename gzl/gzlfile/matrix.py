"""Expands `matrix.` options: one stage for each combination, named `test@a,3.11`."""

import itertools
import math
import re
from collections import Counter

from gzl.gzlfile.header import Setting
from gzl.gzlfile.mistakes import Report
from gzl.gzlfile.names import matrix_flaw
from gzl.gzlfile.options import MATRIX

MOST = 256
"""Combinations of one stage."""
MOST_IN_ALL = 10_000
"""Stages that all matrices of one file make."""
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def axes(settings: dict[str, Setting], report: Report) -> dict[str, tuple[str, ...]]:
    """The keys of a stage's matrix with their values, in the order of the file; empty where one is wrong."""
    found: dict[str, tuple[str, ...]] = {}
    variables: set[str] = set()
    before = len(report.mistakes)
    for name, setting in settings.items():
        if name.startswith(MATRIX):
            key = name.removeprefix(MATRIX)
            _check_axis(key, setting, variables, report)
            found[key] = tuple(setting.value.split())
            variables.add(key.upper())
    if math.prod(map(len, found.values())) > MOST:
        place = next(s.place for name, s in settings.items() if name.startswith(MATRIX))
        report.error(place, f"this matrix has more than {MOST} combinations", "split the stage")
    return found if len(report.mistakes) == before else {}


def _check_axis(key: str, setting: Setting, variables: set[str], report: Report) -> None:
    words = setting.value.split()
    if not _KEY.fullmatch(key):
        report.error(
            setting.place,
            f"{key!r} is no name for a part of a matrix",
            "it becomes a variable GZL_MATRIX_…: letters of a to z, digits and _",
        )
    if key.upper() in variables:
        report.error(setting.place, f"two parts of the matrix become GZL_MATRIX_{key.upper()}", "rename one")
    if not words:
        report.error(setting.place, "this part of the matrix has no values", f'write {MATRIX}{key}="a b"')
    twice = next((word for word, times in Counter(words).items() if times > 1), None)
    if twice is not None:
        report.error(setting.place, f"{twice!r} is given twice", "name each value once")
    flaw = next(filter(None, map(matrix_flaw, words)), None)
    if flaw is not None:
        report.error(setting.place, flaw, "use letters, digits, and `_ - . +`; make other values of these in the steps")


def combinations(found: dict[str, tuple[str, ...]]) -> list[dict[str, str]]:
    """Every combination, the last key varying fastest; one empty one where there is no matrix."""
    return [dict(zip(found, values, strict=True)) for values in itertools.product(*found.values())]


def member(family: str, combination: dict[str, str]) -> str:
    """The name of a family's stage for a combination."""
    return f"{family}@{','.join(combination.values())}" if combination else family
