"""The commands of the `gzl` in a stage: how they are written, what they say, what they ask of the `Host`.

The `gzl` in a stage is a shell script that knows none of this: it sends its arguments here, so that every help and
error text is in this one place, and an image without Python has the same commands. docs/jobapi.md shows each.
"""

import difflib
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click

from gzl.gzlfile.values import seconds
from gzl.jobapi.answer import Answer, Said, again, fetch, send
from gzl.jobapi.host import Caller, Host, Outcome, Refused, Stored, Totals
from gzl.jobapi.names import key_flaw, object_flaw, value_flaw
from gzl.model.result import State

SLICE = 20.0
"""Seconds that one call waits before the `gzl` in the stage is told to ask again."""
_TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h


@dataclass(frozen=True, slots=True)
class Call:
    """One command: whose, against which host, and as it was said."""

    host: Host
    caller: Caller
    said: Said

    def path(self, path: str) -> Path:
        return Path(self.said.directory, path)


class _Help(Exception):
    """Somebody asked for a help text."""


class _Command(click.Command):
    def get_help_option(self, ctx: click.Context) -> click.Option:
        return click.Option(["-h", "--help"], is_flag=True, is_eager=True, expose_value=False,
                            help="Show this and do nothing.", callback=_ask_for_help)  # fmt: skip


class _Duration(click.ParamType[int]):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return seconds(value)
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


def run(call: Call) -> Answer:
    """Carry out one command. What is refused is raised, what was written wrongly is an answer with status 2."""
    words = call.said.words
    if not words or words[0] in ("-h", "--help", "help"):
        return Answer(out=[_overview()])
    command = COMMANDS.get(words[0])
    if command is None:
        near = difflib.get_close_matches(words[0], COMMANDS, 1)
        hint = f"did you mean `{near[0]}`?" if near else f"it has {', '.join(COMMANDS)}"
        return Answer(2, err=[f"gzl: the gzl inside a stage has no command {words[0]!r}; {hint}"])
    try:
        context = command.make_context(f"gzl {words[0]}", list(words[1:]), obj=call, terminal_width=100)
        answer = command.invoke(context)
    except _Help as asked:
        return Answer(out=[str(asked)])
    except click.UsageError as error:
        return Answer(2, err=[f"gzl {words[0]}: {error.format_message()}", f"`gzl {words[0]} --help` says more."])
    assert isinstance(answer, Answer)
    return answer


def _ask_for_help(context: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        raise _Help(context.get_help())


def _overview() -> str:
    context = click.Context(click.Command("gzl"), terminal_width=100)
    formatter = context.make_formatter()
    formatter.write_text("gzl COMMAND …: what a running stage can ask of gzl. `gzl COMMAND --help` says more.")
    with formatter.section("Commands"):
        formatter.write_dl([(name, command.get_short_help_str(200)) for name, command in COMMANDS.items()])
    return formatter.getvalue().rstrip("\n")


def _command(name: str) -> Callable[[Callable[..., Answer]], click.Command]:
    return click.command(name, cls=_Command)


@_command("obj-store")
@click.argument("paths", nargs=-1, required=True, metavar="PATH…")
@click.option("--as", "name", metavar="NAME", help="The artifact's name; by default the path as it is given.")
@click.pass_obj
def _obj_store(call: Call, paths: tuple[str, ...], name: str | None) -> Answer:
    """Keep files or folders as artifacts of the job."""
    if name is not None and len(paths) > 1:
        raise click.UsageError("--as names one artifact, and there are several paths; store them one by one")
    named = [(path, _good_name(name if name is not None else _name_of(path))) for path in paths]
    if call.caller.shared:
        return Answer(
            out=[say_stored(call.host.store_path(call.caller, call.path(path), name)) for path, name in named]
        )
    return Answer(todo=[send(f"/v1/door/store?{urlencode({'name': name})}", path) for path, name in named])


@_command("obj-get")
@click.argument("names", nargs=-1, required=True, metavar="NAME…")
@click.option(
    "--from", "source", metavar="SOURCE", help="A stage, a job, a commit or a repository; by default this job."
)
@click.option("--to", "target", metavar="PATH", help="Where to put it; for several, or with / at the end, a folder.")
@click.pass_obj
def _obj_get(call: Call, names: tuple[str, ...], source: str | None, target: str | None) -> Answer:
    """Fetch artifacts into the current directory, each under its name."""
    found = [call.host.find(call.caller, _good_name(name), source) for name in names]
    folder = target is not None and (len(names) > 1 or target.endswith("/"))
    places = [os.path.join(target or "", name) if folder or target is None else target for name in names]
    if call.caller.shared:
        for artifact, place in zip(found, places, strict=True):
            call.host.fetch_to(call.caller, artifact, call.path(place))
        return Answer()
    query = {} if source is None else {"from": source}
    urls = [f"/v1/door/fetch?{urlencode({'name': name, **query})}" for name in names]
    return Answer(todo=[fetch(artifact, url, place) for artifact, url, place in zip(found, urls, places, strict=True)])


@_command("out")
@click.argument("pairs", nargs=-1, required=True, metavar="KEY=VALUE…")
@click.pass_obj
def _out(call: Call, pairs: tuple[str, ...]) -> Answer:
    """Hand values to later stages: they find them as GZL_IN_<STAGE>_<KEY>."""
    values = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise click.UsageError(f"{pair!r} is not KEY=VALUE")
        if wrong := key_flaw(key) or value_flaw(value):
            raise Refused(f"out: {wrong}")
        values[key] = value
    call.host.out(call.caller, values)
    return Answer()


@_command("await")
@click.argument("what", metavar="STAGE[.KEY]")
@click.option("--timeout", type=_Duration(), metavar="TIME", help="Give up (status 75) after 90s, 10m, 1h30m …")
@click.pass_obj
def _await(call: Call, what: str, timeout: int | None) -> Answer:
    """Wait until a stage has ended, or has given an output, and print its state or the output.

    The status is 0 if the stage passed or the output is there, 1 if the stage ended otherwise or without it.
    """
    stage, key = _stage_and_key(call, what)
    until = _deadline(call.said.state, timeout)
    slice_ = SLICE if until is None else min(SLICE, until - time.time())
    outcome = call.host.wait(call.caller, stage, key, max(0.0, slice_))
    if key is not None and key in outcome.outputs:
        return Answer(out=[outcome.outputs[key]])
    if State(outcome.state).final:
        return _ended(outcome, key)
    if until is not None and time.time() >= until:
        return Answer(_TRY_AGAIN, err=[f"gzl await: {what}: not there yet, and the stage {stage} is {outcome.state}"])
    return Answer(todo=[again("" if until is None else repr(until))])


@_command("stage")
@click.argument("action", type=click.Choice(["add"]))
@click.option("--before", multiple=True, metavar="STAGE", help="This stage waits for them, too (several).")
@click.pass_obj
def _stage(call: Call, action: str, before: tuple[str, ...]) -> Answer:
    """Add the stages of a Gzlfile fragment, which is read from stdin, to this job, and print their names."""
    query = urlencode({"request": call.said.request, "before": before}, doseq=True)
    return Answer(todo=[send(f"/v1/door/stages?{query}", "-")])


@_command("last-run")
@click.argument("stage", required=False)
@click.option("--passed", is_flag=True, help="The commit that it last passed on.")
@click.pass_obj
def _last_run(call: Call, stage: str | None, passed: bool) -> Answer:
    """Print the commit that a stage, by default this one, last ran on, on this branch; status 1 if there is none."""
    commit = call.host.last_run(call.caller, stage, passed)
    return Answer(1) if commit is None else Answer(out=[commit])


@_command("changed")
@click.argument("globs", nargs=-1, metavar="GLOB…")
@click.option("--since", metavar="STAGE", help="Since that stage last passed; by default, this one.")
@click.pass_obj
def _changed(call: Call, globs: tuple[str, ...], since: str | None) -> Answer:
    """Print the paths that changed since the stage last passed; status 1 if there are none."""
    paths = call.host.changed(call.caller, since, globs)
    return Answer(out=paths) if paths else Answer(1)


@_command("comment")
@click.argument("text")
@click.pass_obj
def _comment(call: Call, text: str) -> Answer:
    """Add a comment to this job; `gzl show` and `gzl list` show it."""
    text = text.strip()
    if wrong := value_flaw(text) or (None if text else "it is empty"):
        raise Refused(f"comment: {wrong}")
    call.host.comment(call.caller, text)
    return Answer()


@_command("progress")
@click.argument("done", metavar="N[/M]")
@click.argument("text", required=False, default="")
@click.pass_obj
def _progress(call: Call, done: str, text: str) -> Answer:
    """Say how far this stage is: `gzl progress 3/12 linking`, or `40%`."""
    count, slash, total = (done.removesuffix("%"), "/", "100") if done.endswith("%") else done.partition("/")
    numbers = [_count(count, done), _count(total, done) if slash else None]
    if wrong := value_flaw(text):
        raise Refused(f"progress: {wrong}")
    assert numbers[0] is not None
    call.host.progress(call.caller, numbers[0], numbers[1], text)
    return Answer()


@_command("test-report")
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.pass_obj
def _test_report(call: Call, files: tuple[str, ...]) -> Answer:
    """Take test reports in JUnit's XML, as most test programs can write them."""
    named = [(path, _good_name(_name_of(path))) for path in files]
    if not call.caller.shared:
        return Answer(todo=[send(f"/v1/door/report?{urlencode({'name': name})}", path) for path, name in named])
    return Answer(out=[_read_report(call, path, name) for path, name in named])


@_command("heartbeat")
@click.pass_obj
def _heartbeat(call: Call) -> Answer:
    """Say that this stage lives, so that `idle=` does not end it."""
    call.host.heartbeat(call.caller)
    return Answer()


COMMANDS = {
    str(command.name): command
    for command in (_obj_store, _obj_get, _out, _await, _stage, _last_run, _changed, _comment, _progress, _test_report,
                    _heartbeat)
}  # fmt: skip


def say_stored(stored: Stored) -> str:
    """What is said of an artifact that was kept."""
    return f"stored {stored.name}: {stored.size} bytes, {stored.digest}"


def say_totals(name: str, totals: Totals) -> str:
    """What is said of a test report that was taken."""
    passed = totals.tests - totals.failures - totals.errors - totals.skipped
    parts = {"failed": totals.failures, "errors": totals.errors, "skipped": totals.skipped}
    bad = "".join(f", {number} {word}" for word, number in parts.items() if number)
    return f"{name}: {totals.tests} tests, {passed} passed{bad}, {totals.seconds:g} s"


def _read_report(call: Call, path: str, name: str) -> str:
    try:
        # A FIFO or a device would hold this thread for ever, or never end.
        fd = os.open(call.path(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise Refused(f"test-report: {path}: not a file", 422)
            return say_totals(name, call.host.report(call.caller, name, file))
    except OSError as error:
        raise Refused(f"test-report: {path}: {error.strerror}", 404) from error


def _name_of(path: str) -> str:
    """An artifact's name by its path: the path itself where that leads down from here, else its last part."""
    normal = os.path.normpath(path)
    outside = normal.startswith(("/", "../")) or normal in (".", "..")
    return os.path.basename(normal) if outside else normal


def _good_name(name: str) -> str:
    if wrong := object_flaw(name):
        raise Refused(wrong)
    return name


def _stage_and_key(call: Call, what: str) -> tuple[str, str | None]:
    """`a.b` is the stage a.b if there is one, and else the output b of a: a stage's name may have dots, a key not."""
    try:
        return call.host.outcome(call.caller, what).stage, None
    except Refused as error:
        stage, dot, key = what.rpartition(".")
        if error.status != 404 or not dot or key_flaw(key):
            raise
        return stage, key


def _deadline(state: str, timeout: int | None) -> float | None:
    """When `await` gives up, in seconds since the epoch: what an earlier call said counts, not a new start."""
    if timeout is None:
        return None
    try:
        return float(state) if state else time.time() + timeout
    except ValueError as error:
        raise Refused(f"await: {state!r} is not what this call was told to say", 400) from error


def _ended(outcome: Outcome, key: str | None) -> Answer:
    if key is not None:
        why = f"gzl await: {outcome.stage} has ended ({outcome.state}) and gave no output {key}"
        return Answer(1, err=[why])
    return Answer(0 if outcome.state == State.PASSED else 1, out=[outcome.state])


def _count(text: str, whole: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 15):
        raise click.UsageError(f"{whole!r} is not a number, N/M or a percentage such as 40%")
    return int(text)
