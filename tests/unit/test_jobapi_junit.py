"""Test reports as various programs write them, and what is none."""

import io
import tracemalloc

import pytest

from gzl.jobapi import junit
from gzl.jobapi.host import Refused, Totals
from gzl.jobapi.junit import Case


def read(text: str | bytes) -> list[Case]:
    return list(junit.read(io.BytesIO(text.encode() if isinstance(text, str) else text), "r.xml"))


def test_pytest() -> None:
    cases = read(
        """<?xml version="1.0" encoding="utf-8"?><testsuites name="pytest tests"><testsuite name="pytest" errors="1"
        failures="1" skipped="1" tests="4" time="0.049" timestamp="2024-11-24T13:00:00" hostname="box">
        <testcase classname="tests.test_a" name="test_ok[ä-1]" time="0.001" />
        <testcase classname="tests.test_a" name="test_bad" time="0.002"><failure message="assert 1 == 2">def test_bad():
        &gt; assert 1 == 2</failure></testcase>
        <testcase classname="tests.test_a" name="test_skip" time="0.000"><skipped message="no">x</skipped>
        </testcase>
        <testcase classname="tests.test_a" name="test_both" time="0.003"><failure message="first">x</failure><error
        message="failed on teardown">y</error></testcase></testsuite></testsuites>"""
    )
    assert [(case.name, case.outcome, case.message) for case in cases] == [
        ("test_ok[ä-1]", "passed", ""),
        ("test_bad", "failed", "assert 1 == 2"),
        ("test_skip", "skipped", "no"),
        ("test_both", "error", "failed on teardown"),
    ]
    assert {(case.suite, case.classname) for case in cases} == {("pytest", "tests.test_a")}
    assert junit.totals(cases) == Totals(4, 1, 1, 1, 0.006)


def test_surefire() -> None:
    cases = read(
        """<testsuite xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" version="3.0"
        xsi:noNamespaceSchemaLocation="https://maven.apache.org/surefire/maven-surefire-plugin/xsd/x.xsd" name="com.A"
        time="1,234.567" tests="3"><properties><property name="java.version" value="17"/></properties>
        <testcase name="slow" classname="com.A" time="1,234.5"/>
        <testcase name="flaky" classname="com.A" time="0.01"><flakyFailure message="once" type="java.lang.Error">
        <stackTrace>at</stackTrace><system-out>out</system-out></flakyFailure></testcase>
        <testcase name="bad" classname="com.A" time="0.02"><failure type="java.lang.AssertionError">
          expected 1
          but was 2</failure><rerunFailure message="again"/><system-err>&#x1b;</system-err></testcase>
        </testsuite>""".replace("&#x1b;", "e")
    )
    assert [(case.name, case.outcome, case.seconds) for case in cases] == [
        ("slow", "passed", 1234.5), ("flaky", "passed", 0.01), ("bad", "failed", 0.02),
    ]  # fmt: skip
    assert cases[2].message.startswith("expected 1\n")


def test_gradle_go_and_jest() -> None:
    gradle = read(
        """<testsuite name="A"><properties/><testcase name="t()" classname="A" time="0.1"/>
        <system-out><![CDATA[]]></system-out></testsuite>"""
    )
    assert gradle == [Case("A", "A", "t()", "", 0.1, "passed")]
    go = read(
        """<testsuites tests="1"><testsuite name="m/p" package="p"><testcase name="TestX/a" time="0.00">
        <skipped message="s"/></testcase></testsuite></testsuites>"""
    )
    assert go == [Case("m/p", "", "TestX/a", "", 0.0, "skipped", "s")]
    jest = read(
        """<testsuites name="jest tests"><testsuite name="sum" file="sum.test.js"><testcase classname="sum adds"
        name="sum adds" file="sum.test.js" time="0.002"/></testsuite></testsuites>"""
    )
    assert jest == [Case("sum", "sum adds", "sum adds", "sum.test.js", 0.002, "passed")]


def test_nested_suites_and_namespaces() -> None:
    cases = read(
        """<x:testsuites xmlns:x="urn:x"><x:testsuite name="outer"><x:testcase name="a"/><x:testsuite name="inner">
        <x:testcase name="b"><x:failure/></x:testcase></x:testsuite><x:testsuite><x:testcase name="c"/></x:testsuite>
        <x:testcase name="d"/></x:testsuite></x:testsuites>"""
    )
    assert [(case.suite, case.name, case.outcome) for case in cases] == [
        ("outer", "a", "passed"), ("inner", "b", "failed"), ("outer", "c", "passed"), ("outer", "d", "passed"),
    ]  # fmt: skip


@pytest.mark.parametrize("time", ["", "NaN", "inf", "-1", "1e99", "soon", "1:30"])
def test_a_time_that_is_none_counts_as_nothing(time: str) -> None:
    assert read(f'<testsuite><testcase time="{time}"/></testsuite>') == [Case("", "", "", "", 0.0, "passed")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "r.xml:1:1: not a JUnit report in XML"),
        (b"ok 1 - tap", "r.xml:1:1: not a JUnit report in XML"),
        (b"<testsuite>\n  <testcase", "r.xml:2:3: not a JUnit report in XML"),
        (b"<testsuite></testsuites>", "r.xml:1:14: not a JUnit report in XML"),
        (b"<html/>", "it begins with <html>"),
        (b'<?xml version="1.0" encoding="klingon"?><testsuite/>', "not a JUnit report in XML"),
        (b'<?xml version="1.0" encoding="utf-7"?><testsuite/>', "not a JUnit report in XML"),
        (b"<testsuite name='\xff'/>", "r.xml:1:"),
        (b"<testsuite>" * 10_000, "nested more than"),
        (b'<!DOCTYPE x [<!ENTITY a "a"><!ENTITY b "&a;&a;">]><testsuite name="&b;"/>', "entities are not read"),
        (b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><testsuite name="&a;"/>', "entities are not read"),
        (b'<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd"><testsuite/>', "entities are not read"),
    ],
)
def test_what_is_no_report_is_refused_with_its_place(text: bytes, said: str) -> None:
    with pytest.raises(Refused) as caught:
        read(text)
    assert said in str(caught.value)
    assert caught.value.status == 422


class _Endless(io.RawIOBase):
    """A report of many cases, made as it is read."""

    def __init__(self, pieces: int) -> None:
        self._left = pieces

    def read(self, size: int = -1) -> bytes:
        self._left -= 1
        if self._left < 0:
            return b""
        return b"</testsuite>" if self._left == 0 else b"<testcase name='x'><failure>text</failure></testcase>" * 500


def test_a_long_report_takes_constant_memory() -> None:
    body = io.BufferedReader(_Start(_Endless(9)))
    tracemalloc.start()
    totals = junit.totals(junit.read(body))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert totals.failures == 8 * 500
    assert peak < 500_000


class _Start(io.RawIOBase):
    """The beginning of a report before its rest."""

    def __init__(self, rest: _Endless) -> None:
        self._rest = rest
        self._left = b"<testsuite>"

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._left = self._left or self._rest.read()
        size = min(len(buffer), len(self._left))
        buffer[:size], self._left = self._left[:size], self._left[size:]
        return size
