"""Jobs as text for a terminal or a pipe. Names, messages and reasons come from anywhere: all are escaped here."""

import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import click

from gzl.cli.comments import Said
from gzl.cli.context import App
from gzl.cli.sparkline import usage_rows
from gzl.kit.text import escaped, human_size
from gzl.model.record import Advance, Attempt, JobRecord, StageResult
from gzl.model.result import State
from gzl.notes.text import tests_told

MARKS = {
    State.PASSED: ("✓", "green"),
    State.FAILED: ("✗", "red"),
    State.TIMED_OUT: ("✗", "red"),
    State.LOST: ("!", "magenta"),
    State.STOPPED: ("■", "yellow"),
    State.SKIPPED: ("–", "bright_black"),
    State.RUNNING: ("●", "cyan"),
    State.WAITING: ("○", "bright_black"),
}
_MOST = 20  # outputs or artifacts of a stage that are shown
_AGES = ((60, "second"), (60, "minute"), (24, "hour"), (30, "day"), (12, "month"), (1000, "year"))


@dataclass(frozen=True, slots=True)
class Paper:
    """What is written on: whether it shows colours and other characters than ASCII, and how wide it is, if it is."""

    colour: bool
    unicode: bool
    width: int | None
    now: float

    @classmethod
    def of(cls, app: App) -> "Paper":
        terminal = sys.stdout.isatty()
        colour = terminal and not app.environ.get("NO_COLOR") and app.environ.get("TERM") != "dumb"
        encoding = (sys.stdout.encoding or "").lower().replace("-", "")
        width = shutil.get_terminal_size().columns if terminal else None
        return cls(colour, encoding == "utf8", width, app.clock())

    def paint(self, text: str, colour: str) -> str:
        """`text` in a colour, where there are colours."""
        return click.style(text, fg=colour) if self.colour else text

    def state(self, state: State, pad: int = 0) -> str:
        """A state with its mark, in its colour."""
        mark, colour = MARKS[state]
        return self.paint(f"{mark if self.unicode else '*'} {state!s:{pad}}", colour)

    def dim(self, text: str) -> str:
        return self.paint(text, "bright_black")

    def cut(self, text: str, used: int = 0) -> str:
        """Data in what is left of a line of which `used` columns are taken."""
        return escaped(text, max(8, self.width - used) if self.width is not None else None)


def seconds(started: float | None, finished: float | None) -> str:
    """A duration for people; empty where there is none."""
    if started is None or finished is None:
        return ""
    took = max(0.0, finished - started)
    if took < 60:
        return f"{took:.1f}s"
    minutes, rest = divmod(int(took), 60)
    return f"{minutes}m{rest:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"


def ago(then: float, now: float) -> str:
    """How long ago, in words."""
    amount = max(0, int(now - then))
    for size, unit in _AGES:
        if amount < size:
            return f"{amount} {unit}{'' if amount == 1 else 's'} ago"
        amount //= size
    return "long ago"


def short_ref(ref: str) -> str:
    """A ref as people say it."""
    return ref.removeprefix("refs/heads/").removeprefix("refs/tags/")


def job_line(record: JobRecord, paper: Paper, *, id_width: int, own: str | None, remark: str = "") -> str:
    """A job in one line, for a list. `own` is this clone's writer name, which goes without saying."""
    took = seconds(record.started, record.finished or (None if record.state.final else paper.now))
    parts = [f"{record.event} {short_ref(record.ref)}", _names(record), record.reason, remark,
             record.writer if record.writer != own else ""]  # fmt: skip
    rest = "  ".join(part for part in (*parts[:1], ago(record.created, paper.now), *parts[1:]) if part)
    used = 2 + id_width + 2 + 11 + 2 + 7 + 2
    return f"  {record.id[:id_width]}  {paper.state(record.state, 9)}  {took:>7}  {paper.cut(rest, used)}"


def summary(record: JobRecord, paper: Paper) -> str:
    """How a job stands, in one line that begins with its state."""
    took = seconds(record.started, record.finished)
    state = paper.state(record.state)
    return f"{state}{f' in {took}' if took else ''}  job {record.id}" + (
        f": {escaped(record.reason)}" if record.reason else ""
    )


def stage_line(stage: StageResult, paper: Paper, width: int) -> str:
    """How a stage ended, in one line; `width` is what names are padded to."""
    rest = [seconds(stage.started, stage.finished), f"exit {stage.exit}" if stage.exit else "",
            tests_told(stage.tests), escaped(_because(stage))]  # fmt: skip
    mark, colour = MARKS[stage.state]
    name = paper.paint(f"{mark if paper.unicode else '*'} {escaped(stage.name):{width}}  {stage.state}", colour)
    return "  ".join(word for word in (name, *rest) if word)


def job_page(record: JobRecord, paper: Paper, *, subject: str, said: Sequence[Said] = ()) -> str:
    """All about a job: a header, its stages, where the failing ones failed, and what was said of it."""
    lines = [*_header(record, paper, subject), ""]
    width = max((len(escaped(name)) for name in record.stages), default=0)
    for stage in record.stages.values():
        lines += _stage(stage, paper, width)
    if not record.stages:
        lines.append(paper.dim("no stages"))
    if said:
        lines += ["", *(line for one in said for line in _comment(one, paper))]
    return "\n".join(lines)


def comment_line(said: Sequence[Said], paper: Paper, *, indent: int) -> str:
    """The latest of a job's comments in one line, for a list."""
    last = said[-1].comment
    more = f"  ({len(said)} comments)" if len(said) > 1 else ""
    about = f"  {escaped(last.author, 40)}, {ago(last.time, paper.now)}{more}"
    mark = "“{}”" if paper.unicode else '"{}"'
    words = paper.cut(last.text.splitlines()[0].strip(), indent + len(about) + 2)
    return f"{' ' * indent}{mark.format(words)}{paper.dim(about)}"


def advance_told(advance: Advance | None) -> str:
    """How far a running stage says that it is; empty where it says nothing."""
    if advance is None:
        return ""
    of = "" if advance.total is None else f"/{advance.total}"
    return escaped(f"{advance.done}{of} {advance.text}".strip())


def _names(record: JobRecord) -> str:
    """The stages that a list should name: those that did not simply pass."""
    named: dict[State, list[str]] = {}
    for stage in record.stages.values():
        if stage.state not in (State.PASSED, State.WAITING):
            named.setdefault(stage.state, []).append(_named(stage))
    return "  ".join(f"{state}: {', '.join(names)}" for state, names in named.items())


def _named(stage: StageResult) -> str:
    """A stage's name, and how far it is if it runs."""
    told = advance_told(stage.attempts[-1].advance) if stage.state is State.RUNNING and stage.attempts else ""
    return f"{stage.name} {told}".rstrip()


def _comment(said: Said, paper: Paper) -> list[str]:
    comment = said.comment
    where = f", in {escaped(comment.stage)}" if comment.stage else ""
    head = f"{escaped(comment.author)}{where}, {ago(comment.time, paper.now)}"
    return [paper.dim(f"comment {head}"), *(f"    {escaped(line)}" for line in comment.text.splitlines())]


def _header(record: JobRecord, paper: Paper, subject: str) -> list[str]:
    took = seconds(record.started, record.finished or (None if record.state.final else paper.now))
    rows = [
        ("job", f"{record.id}  {paper.state(record.state)}" + (f" in {took}" if took else "")),
        ("commit", f"{record.commit}  {paper.cut(subject, 52)}".rstrip()),
        ("", f"snapshot of a working tree on {record.snapshot_of}" if record.snapshot_of else ""),
        ("event", f"{escaped(record.event)} {escaped(record.ref)}"),
        ("when", f"{_date(record.created)}, {ago(record.created, paper.now)}"),
        ("writer", "  ".join(escaped(word) for word in (record.writer, f"runner {record.runner}"))),
        ("actor", escaped(record.actor)),
        ("agent", f"process {record.agent.pid} on {escaped(record.agent.host)}" if record.agent else ""),
        *(("" if n else "reason", escaped(line)) for n, line in enumerate(record.reason.splitlines())),
    ]
    return [f"{paper.dim(f'{title:7}')} {text}" for title, text in rows if text]


def _date(when: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))


def _stage(stage: StageResult, paper: Paper, width: int) -> list[str]:
    took = seconds(stage.started, stage.finished or (None if stage.state.final else paper.now))
    code = f"exit {stage.exit}" if stage.exit else ""
    last = stage.attempts[-1] if stage.attempts else None
    tries = f"{len(stage.attempts)} attempts" if len(stage.attempts) > 1 else ""
    far = advance_told(last.advance) if stage.state is State.RUNNING and last is not None else ""
    words = (f"{took:>7}" if took or code else "", code, tests_told(stage.tests), far, tries, escaped(_because(stage)))
    rest = "  ".join(word for word in words if word)
    mark = paper.state(stage.state, 9)
    lines = [f"{mark}  {escaped(stage.name):{width}}  {rest}".rstrip()]
    if len(stage.attempts) > 1:
        lines += [_attempt(attempt, paper) for attempt in stage.attempts]
    if stage.state in (State.FAILED, State.TIMED_OUT) and last is not None and last.steps:
        step = last.steps[-1]
        lines.append(f"    Gzlfile:{step.line}")
        lines += [f"    | {escaped(line)}" for line in step.text.splitlines()]
    lines += [f"    {paper.dim(escaped(remark))}" for remark in (last.remarks if last is not None else ())]
    if last is not None and last.usage is not None:
        for title, row in usage_rows(last.usage, unicode=paper.unicode):
            lines += _rows(title, [row], paper)
    return lines + _told(stage, paper)


def _because(stage: StageResult) -> str:
    """Why a stage is as it is, where its state alone does not say it."""
    if stage.reused_from:
        return f"reused from {stage.reused_from}"
    return stage.skipped_because or (stage.attempts[-1].reason if stage.attempts else "")


def _told(stage: StageResult, paper: Paper) -> list[str]:
    """What a stage handed over: its outputs and artifacts."""
    outputs = [f"{escaped(key)}={escaped(value)}" for key, value in stage.outputs.items()]
    artifacts = [
        f"{escaped(one.name)}{'/' if one.kind == 'tree' else ''}  {human_size(one.size)}  {one.digest[:12]}"
        for one in stage.artifacts
    ]
    return [*_rows("outputs", outputs, paper), *_rows("artifacts", artifacts, paper)]


def _rows(title: str, rows: list[str], paper: Paper) -> list[str]:
    shown = rows[:_MOST]
    if len(rows) > _MOST:
        shown.append(paper.dim(f"and {len(rows) - _MOST} more; --json lists them all"))
    return [f"    {paper.dim((title if n == 0 else '').ljust(9))}  {row}" for n, row in enumerate(shown)]


def _attempt(attempt: Attempt, paper: Paper) -> str:
    took = seconds(attempt.started, attempt.finished)
    code = f"exit {attempt.exit}" if attempt.exit else ""
    return "    " + "  ".join(
        word for word in (f"attempt {attempt.number}", str(attempt.state), took, code, escaped(attempt.reason)) if word
    )
