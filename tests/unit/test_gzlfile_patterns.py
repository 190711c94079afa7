"""Globs and cron schedules."""

import fnmatch

import pytest
from croniter import croniter
from hypothesis import given
from hypothesis import strategies as st

from gzl.gzlfile import cron, globs, values
from gzl.gzlfile.globs import matches, select

CASES = """
main            main            yes
main            maint           no
release/*       release/1.0     yes
release/*       release/1/0     no
release/**      release/1/0     yes
*               a/b             no
**              a/b             yes
**/x            x               yes
**/x            a/b/x           yes
**/x            ax              no
a/**/b          a/b             yes
a/**/b          a/x/y/b         yes
a/**/b          ab              no
a**/b           axx/y/b         yes
v[0-9].?        v1.2            yes
v[0-9].?        v1./            no
v[!0-9]         vx              yes
v[!0-9]         v/              no
[]x]            ]               yes
\\*             *               yes
\\*             x               no
[*]             *               yes
ü*              über            yes
"""


@pytest.mark.parametrize("case", CASES.strip().splitlines())
def test_matches(case: str) -> None:
    pattern, name, expected = case.split()
    assert matches(pattern, name) == (expected == "yes")


@given(st.text("ab*?[]!-", max_size=8), st.text("ab*!-", max_size=8))
def test_without_slashes_it_is_fnmatch(pattern: str, name: str) -> None:
    if globs.flaw(pattern) is None and "-" not in pattern:
        assert matches(pattern, name) == fnmatch.fnmatchcase(name, pattern)


@given(st.text("a*/?", max_size=12), st.text("ab/", max_size=12))
def test_with_slashes_it_is_no_less_than_without(pattern: str, name: str) -> None:
    if matches(pattern, name):
        assert fnmatch.fnmatchcase(name, pattern) or "**/" in pattern


@given(st.lists(st.text("ab*?[]/", max_size=8), max_size=3), st.lists(st.text("ab/", max_size=8)))
def test_selecting_is_matching(patterns: list[str], names: list[str]) -> None:
    assert select(patterns, names) == [name for name in names if any(matches(p, name) for p in patterns)]


def test_selecting_takes_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(globs, "_MOST_STATES", 3)
    assert select(["*a?b*", "b/**"], ["a/b", "xaxbx", "b/a/b", "ab"]) == ["xaxbx", "b/a/b"]


def test_no_pattern_takes_exponential_time() -> None:
    assert not matches("*a" * 200 + "b", "a" * 250)
    assert not matches("**/" * 200 + "b", "a/" * 120)


@pytest.mark.parametrize("pattern", ["[", "a[b", "x\\", "[]", "a" * 1001])
def test_flawed_patterns_match_nothing(pattern: str) -> None:
    assert globs.flaw(pattern) is not None
    assert not matches(pattern, pattern)


FIELD = st.one_of(
    st.sampled_from(
        ["*", "*/5", "1-3", "1-5/2", "2,4", "0", "7", "12", "31", "59", "mon", "jan-mar", "5-1", "*/0", "x", "60"]
    )
)


@given(st.lists(FIELD, min_size=5, max_size=5).map(" ".join))
def test_schedules_that_pass_are_croniter_s_too(schedule: str) -> None:
    if cron.flaw(schedule) is None:
        assert croniter.is_valid(schedule)
        assert croniter(schedule).get_next() > 0


@pytest.mark.parametrize(
    "schedule",
    ["", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "@daily",
     "*/0 * * * *",
     "5/2 * * * *", "3-1 * * * *", "0 0 30 feb *", "0 0 31 4,6 *", "mon * * * *", "1, * * * *", "² * * * *"],
)  # fmt: skip
def test_schedules_that_do_not(schedule: str) -> None:
    assert cron.flaw(schedule) is not None


def test_what_values_mean() -> None:
    assert values.seconds("1h30m5s") == 5405
    assert values.size("2Gi") == values.size("2G") == 2 << 30
    assert values.millicpus("0.5") == values.millicpus("500m") == 500
    assert values.count_or_auto("auto") is None
    assert values.runner("ssh:build1") == ("ssh", "build1")
    assert values.services("postgres:16 as db, reg.example/redis@sha256:1") == (
        ("postgres:16", "db"),
        ("reg.example/redis@sha256:1", "redis"),
    )
    assert values.cache("a b key=x.lock") == ("a", "b", "key=x.lock")
