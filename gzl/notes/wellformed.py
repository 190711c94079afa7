"""What is to be believed of a record or a comment that somebody else wrote: after these checks every field has the type
that it says, and stands where it belongs.

JSON gives any type anywhere; whoever writes a ledger may be careless, or hostile.
"""

import re
from collections.abc import Iterable

from gzl.model import comment as comments
from gzl.model.comment import Comment
from gzl.model.ids import is_job_id
from gzl.model.record import Attempt, JobRecord, StageResult
from gzl.model.refs import job_path

_OBJECT_ID = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_LATEST = 253402300800  # the year 10000, in seconds since the epoch: what time.gmtime and people can read
_MOST = 1 << 63  # what a count can be; more would be no bytes that a disk could hold


def record_problem(record: JobRecord, path: str) -> str | None:
    """What is wrong with a record that a ledger holds at `path`; None: nothing."""
    if not isinstance(record.id, str) or not is_job_id(record.id):
        return "its id is no job id"
    if path != f"{job_path(record.id)}/job.json":
        return f"it is the record of another job, {record.id}"
    if not all(isinstance(oid, str) and _OBJECT_ID.match(oid) for oid in (record.commit, record.tree)):
        return "its commit or tree is no object id"
    if not _well_typed(record):
        return "a field has a value of the wrong kind"
    if not record.state.final:
        return f"its state is {record.state}, and a ledger holds only jobs that have ended"
    return None


def comment_problem(comment: Comment, path: str) -> str | None:
    """What is wrong with a comment that a ledger holds at `path`; None: nothing."""
    texts = (comment.id, comment.job, comment.author, comment.text)
    if not _all_texts([*texts, *_there(comment.stage)]) or not _is_time(comment.time):
        return "a field has a value of the wrong kind"
    if not is_job_id(comment.id) or not is_job_id(comment.job) or path != comments.path(comment):
        return "it is a comment from another place"
    if len(comment.text.encode(errors="backslashreplace")) > comments.LIMIT:
        return "it is too long"
    return None


def _well_typed(record: JobRecord) -> bool:
    stages = record.stages.values()
    attempts = [attempt for stage in stages for attempt in stage.attempts]
    steps = [step for attempt in attempts for step in attempt.steps]
    logs = [attempt.log for attempt in attempts if attempt.log]
    ended: list[StageResult | Attempt] = [*stages, *attempts]
    spans = _there(record.started, record.finished, *(time for e in ended for time in (e.started, e.finished)))
    times = [record.created, *(step.started for step in steps), *spans]
    codes = _there(*(e.exit for e in ended))
    counts = [*(attempt.number for attempt in attempts), *(log.bytes for log in logs), *codes,
              *(number for step in steps for number in (step.number, step.offset, step.line))]  # fmt: skip
    texts = [record.ref, record.event, record.writer, record.runner, record.definition, record.reason, record.actor,
             *_there(record.snapshot_of), *record.targets, *(stage.runner for stage in stages),
             *_there(*(stage.skipped_because for stage in stages)), *(attempt.reason for attempt in attempts),
             *(remark for attempt in attempts for remark in attempt.remarks),
             *(step.text for step in steps)]  # fmt: skip
    return (
        all(map(_is_time, times))
        and _all_counts(counts)
        and _all_texts(texts)
        and all(isinstance(log.sha256, str) and _SHA256.match(log.sha256) for log in logs)
        and all(isinstance(log.object, str) and (not log.object or _SHA256.match(log.object)) for log in logs)
        and all(map(_told_well, stages))
        and all(map(_measured_well, attempts))
    )


def _told_well(stage: StageResult) -> bool:
    """Whether what a stage told has the types that it says."""
    artifacts, tests = stage.artifacts, stage.tests
    return (
        isinstance(stage.outputs, dict)
        and isinstance(stage.unchanged, bool)
        and _all_texts([*stage.outputs.values(), stage.key, *_there(stage.reused_from)])
        and _all_texts(text for artifact in artifacts for text in (artifact.name, artifact.kind, artifact.digest))
        and all(_SHA256.match(artifact.digest) for artifact in artifacts)
        and _all_counts(number for artifact in artifacts for number in (artifact.size, artifact.mode))
        and (
            tests is None
            or (
                _all_counts([tests.passed, tests.failed, tests.skipped])
                and _is_number(tests.seconds)
                and _all_texts([tests.report])
            )
        )
    )


def _measured_well(attempt: Attempt) -> bool:
    usage, advance = attempt.usage, attempt.advance
    return (
        usage is None
        or (
            _all_counts([usage.memory, usage.read, usage.written])
            and all(map(_is_number, [usage.cpu, usage.interval]))
            and all(map(_is_series, [usage.cpu_series, usage.memory_series, usage.read_series, usage.written_series]))
        )
    ) and (advance is None or (_all_counts([advance.done, *_there(advance.total)]) and _all_texts([advance.text])))


def _there(*values: object) -> list[object]:
    """Those that are not None: the only way to say nothing. JSON has other empty things."""
    return [value for value in values if value is not None]


def _all_texts(values: Iterable[object]) -> bool:
    return all(isinstance(value, str) for value in values)


def _all_counts(values: Iterable[object]) -> bool:
    return all(isinstance(value, int) and -_MOST <= value < _MOST for value in values)


def _is_series(values: object) -> bool:
    return isinstance(values, tuple) and all(map(_is_number, values))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and -_MOST <= value < _MOST


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value < _LATEST
