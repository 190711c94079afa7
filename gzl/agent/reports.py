"""Test reports of a stage: each test's result as a JSON object a line, kept as one object, and what they add up to."""

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict
from typing import BinaryIO

from gzl.jobapi import junit
from gzl.jobapi.host import Totals
from gzl.kit.mask import Masker
from gzl.model import record
from gzl.objects.base import ObjectNotFound, ObjectStore
from gzl.objects.streams import stream


class _Sum:
    """Adds cases up while they go by."""

    def __init__(self) -> None:
        self.totals = record.Totals()
        self._passed = self._failed = self._skipped = 0
        self._seconds = 0.0

    def watch(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        for line in lines:
            case = json.loads(line)
            self._passed += case["outcome"] == "passed"
            self._failed += case["outcome"] in ("failed", "error")
            self._skipped += case["outcome"] == "skipped"
            self._seconds += case["seconds"]
            yield line

    def result(self, report: str) -> record.Totals:
        return record.Totals(self._passed, self._failed, self._skipped, round(self._seconds, 6), report)


def add(
    store: ObjectStore, masker: Masker, name: str, data: BinaryIO, before: record.Totals | None
) -> tuple[Totals, record.Totals]:
    """Take the report `name` in, in the place of an earlier one of that name; `before` is what the stage's reports came
    to until now. Gives what this report adds up to, and what all of them do. Refused if it is no report."""
    cases = list(junit.read(data, name))
    sum_ = _Sum()
    lines = sum_.watch([*_others(store, name, before), *(_line(name, case, masker) for case in cases)])
    blob = store.put(stream(lines))
    return junit.totals(cases), sum_.result(blob.digest)


def _others(store: ObjectStore, name: str, before: record.Totals | None) -> Iterator[bytes]:
    """The lines of the stage's other reports."""
    if before is None or not before.report:
        return
    with suppress(ObjectNotFound), store.get(before.report) as kept:
        for line in kept.read().splitlines(keepends=True):
            if json.loads(line)["report"] != name:
                yield line


def _line(name: str, case: junit.Case, masker: Masker) -> bytes:
    said = {key: masker.text(value) if isinstance(value, str) else value for key, value in asdict(case).items()}
    return json.dumps({"report": name, **said}, separators=(",", ":")).encode() + b"\n"
