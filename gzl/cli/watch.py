"""Watching a job: live on a terminal, in plain prefixed lines elsewhere. Starts agents that are due."""

import sys
import time
from collections.abc import Callable, Iterator

import click

from gzl.cli.boundary import NOT_PASSED, PASSED
from gzl.cli.context import App
from gzl.cli.follow import Follower, Output
from gzl.cli.render import Paper, advance_told, seconds, short_ref, stage_line, summary
from gzl.git.repo import Repo
from gzl.kit.text import escaped
from gzl.managers.launch import ensure_manager, start_agent
from gzl.model.event import EventKind
from gzl.model.journal import Entry
from gzl.model.record import JobRecord
from gzl.model.result import State

_POLL = 0.03  # seconds
_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_TAIL = 30  # lines of a failed stage's log
_LONGEST = 1 << 16  # bytes of a line that are kept waiting for its end


def watch(
    app: App,
    follower: Follower,
    *,
    until: Callable[[JobRecord], bool] = lambda _: False,
    attend: Callable[[App, Follower], None] | None = None,
) -> int:
    """Show the job until it is recorded, or `until` says so; its verdict's exit status. KeyboardInterrupt passes
    through. `attend` sees to it that a job without an agent gets one.
    """
    paper = Paper.of(app)
    live = sys.stdout.isatty() and app.environ.get("TERM") != "dumb"
    view: _Live | _Plain = _Live(app, paper) if live else _Plain(paper)
    with view:
        view.begin(follower)
        while not (follower.over or until(follower.record)):
            busy = False
            for news in follower.poll():
                busy = True
                if isinstance(news, Output):
                    view.output(news)
                else:
                    view.entry(news, follower)
            if follower.unattended():
                (attend or find_agent)(app, follower)
            view.frame(follower)
            if not busy and not follower.over:
                time.sleep(_POLL)
    click.echo(summary(follower.record, paper))
    return exit_status(follower.record)


def exit_status(record: JobRecord) -> int:
    """0 for a job that passed (or had nothing to do), else 1."""
    return PASSED if record.state in (State.PASSED, State.SKIPPED) else NOT_PASSED


def find_agent(app: App, follower: Follower) -> None:
    """The job has no agent: it waits for a manager, or its agent was killed."""
    repo: Repo = app.repo
    if follower.record.event == EventKind.MANUAL:
        start_agent(repo, follower.job, app.environ)
    else:
        ensure_manager(repo, app.environ)


def _headline(record: JobRecord) -> str:
    what = f"snapshot of your working tree on {record.snapshot_of[:12]}" if record.snapshot_of else record.commit[:12]
    stages = f"{len(record.stages)} stage{'' if len(record.stages) == 1 else 's'}"
    return f"job {record.id}  {record.event} {escaped(short_ref(record.ref))}  {what}  {stages}"


class _Plain:
    """Whole lines, each with its stage before it, so that a log file of it can be searched."""

    def __init__(self, paper: Paper) -> None:
        self._paper = paper
        self._parts: dict[str, bytes] = {}
        self._width = 0

    def __enter__(self) -> "_Plain":
        return self

    def __exit__(self, *_: object) -> None:
        for stage in list(self._parts):
            self._flush(stage)

    def begin(self, follower: Follower) -> None:
        self._width = min(24, max(map(len, follower.record.stages), default=0))
        click.echo(_headline(follower.record))

    def output(self, news: Output) -> None:
        data = self._parts.pop(news.stage, b"") + news.data
        whole, end, rest = data.rpartition(b"\n")
        if len(rest) > _LONGEST:
            whole, end, rest = data, b"\n", b""
        if rest:
            self._parts[news.stage] = rest
        if end:
            self._lines(news.stage, whole)

    def entry(self, entry: Entry, follower: Follower) -> None:
        if entry.what in ("ended", "skipped"):
            self._flush(entry.stage)
            click.echo(stage_line(follower.record.stages[entry.stage], self._paper, self._width))

    def frame(self, follower: Follower) -> None:
        """Nothing moves in a plain log."""

    def _flush(self, stage: str) -> None:
        if rest := self._parts.pop(stage, b""):
            self._lines(stage, rest)

    def _lines(self, stage: str, whole: bytes) -> None:
        """Print lines as they are, all at once: a stage may write a million of them."""
        prefix = f"{escaped(stage):{self._width}} | ".encode()
        sys.stdout.flush()
        sys.stdout.buffer.write(prefix + whole.replace(b"\r\n", b"\n").replace(b"\n", b"\n" + prefix) + b"\n")
        sys.stdout.buffer.flush()


class _Live:
    """Stages that run, each with its step and its last line, below those that ended."""

    def __init__(self, app: App, paper: Paper) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(highlight=False, no_color=not paper.colour)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._clock = app.clock
        self._paper = paper
        self._last: dict[str, bytes] = {}
        self._drawn = 0.0

    def __enter__(self) -> "_Live":
        self._live.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.update("", refresh=True)
        self._live.__exit__(None, None, None)

    def begin(self, follower: Follower) -> None:
        self._width = min(32, max(map(len, follower.record.stages), default=0))
        self._print(_headline(follower.record))

    def output(self, news: Output) -> None:
        kept = (self._last.get(news.stage, b"") + news.data)[-4096:].rstrip(b"\n")
        self._last[news.stage] = kept[kept.rfind(b"\n") + 1 :] + (b"\n" if news.data.endswith(b"\n") else b"")

    def entry(self, entry: Entry, follower: Follower) -> None:
        if entry.what not in ("ended", "skipped"):
            return
        self._last.pop(entry.stage, None)
        self._print(stage_line(follower.record.stages[entry.stage], self._paper, self._width))
        if entry.state in (State.FAILED, State.LOST, State.TIMED_OUT):
            self._print_tail(follower, entry)

    def frame(self, follower: Follower) -> None:
        from rich.text import Text

        now = time.monotonic()
        if now - self._drawn < 0.1:
            return
        self._drawn = now
        lines = [Text.from_ansi(line) for line in self._running(follower, _FRAMES[int(now * 10) % len(_FRAMES)])]
        self._live.update(Text("\n").join(lines), refresh=True)

    def _running(self, follower: Follower, spinner: str) -> Iterator[str]:
        states = [(name, stage) for name, stage in follower.record.stages.items()]
        running = [(name, stage) for name, stage in states if stage.state is State.RUNNING]
        room = max(3, self._console.height - 4)
        for name, stage in running[:room]:
            step = follower.step(name)
            advance = stage.attempts[-1].advance if stage.attempts else None
            doing = advance_told(advance) or self._last.get(name, b"").rstrip(b"\n").decode(errors="replace")
            doing = doing or (step[1] if step else "")
            head = f"{spinner} {escaped(name):{self._width}}  {seconds(stage.started, self._clock()):>6}  "
            left = max(10, self._console.width - len(head) - 1)
            yield click.style(head, fg="cyan") + click.style(escaped(doing.split("\n")[0], left), dim=True)
        waiting = sum(stage.state is State.WAITING for _, stage in states)
        done = len(states) - waiting - len(running)
        yield click.style(f"  {done} done, {len(running)} running, {waiting} waiting", fg="bright_black")

    def _print_tail(self, follower: Follower, entry: Entry) -> None:
        for line in follower.tail(entry.stage, entry.attempt, _TAIL):
            self._print(f"  {click.style('│', fg='red')} {escaped(line.decode(errors='replace'))}")

    def _print(self, line: str) -> None:
        from rich.text import Text

        self._console.print(Text.from_ansi(line), soft_wrap=True)
