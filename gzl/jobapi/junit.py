"""Test reports in JUnit's XML, read case by case in constant memory.

There is no standard; what is understood is what pytest, Gradle, Maven's Surefire (https://maven.apache.org/surefire/
maven-surefire-plugin/xsd/surefire-test-report.xsd), go-junit-report and jest-junit write: `testsuites` around
`testsuite`, nested or not, around `testcase`, whose children say how it ended. A case that failed at first and passed
when it was run again (Surefire's `flakyFailure`) passed.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO, Literal
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import iterparse

from gzl.jobapi.host import Refused, Totals
from gzl.kit.text import escaped

CaseOutcome = Literal["passed", "failed", "error", "skipped"]

_LONGEST_MESSAGE = 4096  # characters; the whole text is in the report, which is kept
_DEEPEST = 64  # elements within one another
_ENDS: dict[str, CaseOutcome] = {"error": "error", "failure": "failed", "skipped": "skipped"}


@dataclass(frozen=True, slots=True)
class Case:
    """One test: `seconds` it took, how it ended, and for one that did not pass the first words on why."""

    suite: str
    classname: str
    name: str
    file: str
    seconds: float
    outcome: CaseOutcome
    message: str = ""


def read(data: BinaryIO, where: str = "report") -> Iterator[Case]:
    """The cases of a report. Refused (422), with line and column, if it is none; entities are refused, too."""
    suites: list[str] = []
    stack: list[Element] = []
    try:
        for event, element in iterparse(data, events=("start", "end"), forbid_dtd=True):
            if event == "start":
                _begin(element, stack, suites, where)
                continue
            stack.pop()
            tag = _tag(element)
            if tag == "testcase":
                yield _case(element, suites[-1] if suites else "")
            if tag in ("testsuite", "testsuites"):
                suites.pop()
            if tag != "testcase" and _inside_case(stack):
                continue  # a child of a case is looked at when the case ends
            if stack:
                stack[-1].remove(element)
    except ParseError as error:
        line, column = error.position
        raise Refused(f"{where}:{line}:{column + 1}: not a JUnit report in XML: {error.msg}", 422) from error
    except DefusedXmlException as error:
        raise Refused(
            f"{where}: {type(error).__name__}: a document type or entities are not read; a test report needs none", 422
        ) from error
    except (LookupError, ValueError) as error:  # an encoding that Python does not know, or that the bytes are not in
        raise Refused(f"{where}: not a JUnit report in XML: {error}", 422) from error


def totals(cases: Iterable[Case]) -> Totals:
    """What the cases add up to."""
    sum_ = Totals()
    for case in cases:
        sum_ = replace(
            sum_,
            tests=sum_.tests + 1,
            failures=sum_.failures + (case.outcome == "failed"),
            errors=sum_.errors + (case.outcome == "error"),
            skipped=sum_.skipped + (case.outcome == "skipped"),
            seconds=sum_.seconds + case.seconds,
        )
    return replace(sum_, seconds=round(sum_.seconds, 6))


def _begin(element: Element, stack: list[Element], suites: list[str], where: str) -> None:
    tag = _tag(element)
    if not stack and tag not in ("testsuite", "testsuites"):
        found = escaped(tag, 80)
        raise Refused(f"{where}: not a JUnit report: it begins with <{found}>, not <testsuites> or <testsuite>", 422)
    if len(stack) >= _DEEPEST:
        raise Refused(f"{where}: elements are nested more than {_DEEPEST} deep; no test report is", 422)
    if tag in ("testsuite", "testsuites"):
        suites.append(element.get("name") or (suites[-1] if suites else ""))
    stack.append(element)


def _case(element: Element, suite: str) -> Case:
    outcome, message = _outcome(element)
    return Case(
        suite=suite,
        classname=element.get("classname", ""),
        name=element.get("name", ""),
        file=element.get("file", ""),
        seconds=_seconds(element.get("time", "")),
        outcome=outcome,
        message=message,
    )


def _outcome(element: Element) -> tuple[CaseOutcome, str]:
    """An error outweighs a failure, a failure a skip: pytest writes two when a teardown fails, too."""
    children = {_tag(child): child for child in reversed(element)}
    for tag, outcome in _ENDS.items():
        if (child := children.get(tag)) is not None:
            said = child.get("message") or (child.text or "").strip()
            return outcome, said[:_LONGEST_MESSAGE]
    return "passed", ""


def _seconds(text: str) -> float:
    """Surefire groups thousands (`1,234.5`); what is no number, or none that a clock could show, counts as nothing."""
    try:
        seconds = float(text.replace(",", ""))
    except ValueError:
        return 0.0
    return seconds if 0 <= seconds < 1e9 else 0.0


def _tag(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def _inside_case(stack: list[Element]) -> bool:
    return any(_tag(element) == "testcase" for element in stack)
