"""From the bytes of a Gzlfile to a Pipeline, with every mistake on the way. Pure: no file is read, nothing is run."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from gzl.gzlfile import matrix
from gzl.gzlfile.body import Body, read_body
from gzl.gzlfile.environment import read_environment
from gzl.gzlfile.header import Header, Mention, Setting, read_header
from gzl.gzlfile.mistakes import GzlfileError, Mistake, Place, Report, Severity
from gzl.gzlfile.resolve import check_cycles, check_mentions
from gzl.gzlfile.rules import read_pin, read_rule
from gzl.gzlfile.source import Block, blocks, decode, is_blank
from gzl.model.pipeline import Pipeline, Rule, Stage


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a file says, as far as it can be told, and what is wrong with it, in the file's order."""

    pipeline: Pipeline
    mistakes: tuple[Mistake, ...]

    @property
    def errors(self) -> tuple[Mistake, ...]:
        """The mistakes that keep the file from running."""
        return tuple(mistake for mistake in self.mistakes if mistake.severity is Severity.ERROR)


class Kind(StrEnum):
    """What a block is, by the first word of its header."""

    PIN = "gzl"
    ENV = "env"
    RULE = "on"
    STAGE = "stage"


@dataclass(slots=True)
class Draft:
    """What was read so far."""

    lines: list[str]
    report: Report
    pin: str | None = None
    pin_place: Place | None = None
    env: dict[str, str] = field(default_factory=dict)
    env_places: dict[str, Place] = field(default_factory=dict)
    rules: list[Rule] = field(default_factory=list)
    rule_mentions: list[Mention] = field(default_factory=list)
    headers: dict[str, Header] = field(default_factory=dict)
    families: dict[str, tuple[str, ...]] = field(default_factory=dict)
    stages: dict[str, Stage] = field(default_factory=dict)


def parse(data: bytes, path: str) -> Parsed:
    """Read a Gzlfile; `path` is what messages call it. Never raises for what is in it."""
    lines, report = decode(data, path)
    draft = Draft(lines, report)
    for block in blocks(lines, report):
        _read(block, draft)
    dependency_mentions = [mention for header in draft.headers.values() for mention in header.mentions]
    check_mentions([*draft.rule_mentions, *dependency_mentions], draft.families, draft.stages, report)
    check_cycles(draft.headers, report)
    pipeline = Pipeline(draft.stages, tuple(draft.rules), draft.env, draft.pin, draft.families)
    return Parsed(pipeline, report.sorted())


def load(data: bytes, path: str) -> Pipeline:
    """The pipeline of a Gzlfile without errors. Raises GzlfileError, which shows all of them."""
    parsed = parse(data, path)
    if parsed.errors:
        raise GzlfileError(parsed.errors)
    return parsed.pipeline


def kind(block: Block) -> Kind:
    """What the block is."""
    text = block.header.text
    word = text.split(":", 1)[0].split("[", 1)[0].split(None, 1)
    bare = word[0] if len(word) == 1 and ":" in text else ""
    if bare in (Kind.PIN, Kind.ENV):
        return Kind(bare)
    return Kind.RULE if word and word[0] == "on" and not text[2:].lstrip().startswith("[") else Kind.STAGE


def _read(block: Block, draft: Draft) -> None:
    match kind(block):
        case Kind.PIN:
            _read_pin(block, draft)
        case Kind.ENV:
            _read_env(block, draft)
        case Kind.RULE:
            _read_rule(block, draft)
        case Kind.STAGE:
            read_stage(block, draft)


def _read_rule(block: Block, draft: Draft) -> None:
    rule, mentions = read_rule(block.header, draft.report)
    draft.rules += [rule] if rule else []
    draft.rule_mentions += mentions
    _report_body(block, draft, "a rule has no body", "put steps below a stage")


def _read_pin(block: Block, draft: Draft) -> None:
    pin, place = read_pin(block.header, draft.report), block.header.place(0)
    if draft.pin_place is not None:
        draft.report.error(place, "`gzl:` stands twice", f"keep one; the other is in line {draft.pin_place.line}")
    draft.pin, draft.pin_place = pin, place
    _report_body(block, draft, "`gzl:` has no body", "remove these lines, or their indentation")


def _read_env(block: Block, draft: Draft) -> None:
    after = block.header.text.partition(":")[2]
    if after.strip():
        place = block.header.place(len(block.header.text) - len(after.lstrip()))
        draft.report.error(place, "`env:` stands alone in its line", "put `NAME = value` below it, indented")
    read_environment(draft.lines, block.first, block.last, draft.env, draft.env_places, draft.report)


def _report_body(block: Block, draft: Draft, text: str, hint: str) -> None:
    for index in range(block.first, block.last):
        line = draft.lines[index]
        if not is_blank(line):
            draft.report.error(Place(index + 1, len(line) - len(line.lstrip(" \t")) + 1), text, hint)
            return


def read_stage(block: Block, draft: Draft) -> None:
    """Add the stages that a block declares to `draft`."""
    header = read_header(block.header, draft.report)
    if header is None:
        return
    shell = header.settings.get("shell", Setting("sh", header.place))
    body = Body()
    if not block.header.broken:
        body = read_body(draft.lines, block.first, block.last, shell.value, draft.report)
    if body.interpreter is not None and "shell" in header.settings:
        draft.report.error(shell.place, "`shell=` for a body that begins with #!", "remove one of the two")
    if "inputs" in header.settings and header.settings.get("once", Setting("no", header.place)).value == "yes":
        hint = "remove one of the two; `paths=` skips such a stage where nothing has changed"
        draft.report.error(
            header.settings["inputs"].place, "`inputs=` for a stage that says `once`: it is never reused", hint
        )
    if header.name in draft.headers:
        first = draft.headers[header.name].place
        draft.report.error(
            header.place,
            f"a second stage {header.name!r}; the first is in line {first.line}",
            "rename one, or make them one",
        )
        return
    draft.headers[header.name] = header
    stages = list(_expand(header, body, draft))
    draft.families[header.name] = tuple(stage.name for stage in stages)
    draft.stages.update((stage.name, stage) for stage in stages)


def _expand(header: Header, body: Body, draft: Draft) -> Iterable[Stage]:
    """The stages that a header declares: one, or one for each combination of its matrix."""
    found = matrix.axes(header.settings, draft.report)
    combinations = matrix.combinations(found)
    if len(combinations) > 1 and len(draft.stages) + len(combinations) > matrix.MOST_IN_ALL:
        draft.report.error(
            header.place,
            f"with this matrix there are more than {matrix.MOST_IN_ALL} stages",
            "make the matrices of this file smaller",
        )
        combinations = [{}]
    options = {name: setting.value for name, setting in header.settings.items()}
    for combination in combinations:
        yield Stage(
            name=matrix.member(header.name, combination),
            dependencies=header.dependencies,
            steps=body.steps,
            interpreter=body.interpreter,
            shell=options.get("shell", "sh"),
            once=options.get("once", "no") == "yes",
            options=options,
            matrix=combination,
            family=header.name,
            line=header.place.line,
        )
