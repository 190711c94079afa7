"""Reads a stage's header: `name [options]: dependencies`."""

import re
from collections.abc import Collection
from dataclasses import dataclass

from gzl.gzlfile import options
from gzl.gzlfile.mistakes import Place, Report
from gzl.gzlfile.names import branch_flaw, reference_flaw, repo_flaw, stage_flaw
from gzl.gzlfile.source import Logical
from gzl.model.pipeline import Dependency, StageRef, When

_NAME = re.compile(r"[^\s:\[\]=]+")
_SPACE = re.compile(r"\s*")
_KEY = re.compile(r"""[^\s,=\[\]"']+""")
_VALUE = re.compile(r"""[ \t]*=[ \t]*(?:"(?P<double>[^"\n]*)"|'(?P<single>[^'\n]*)'|(?P<plain>[^\s,\]"']*))""")
_TERM = re.compile(r"[^\s|]+")


@dataclass(frozen=True, slots=True)
class Mention:
    """A stage's name where it is used, to be looked up once all are known."""

    name: str
    place: Place


@dataclass(frozen=True, slots=True)
class Setting:
    """An option as it was written, and where its name stands."""

    value: str
    place: Place


@dataclass(frozen=True, slots=True)
class Header:
    """What a stage's header says."""

    name: str
    place: Place
    settings: dict[str, Setting]
    dependencies: tuple[Dependency, ...]
    mentions: tuple[Mention, ...]
    """The dependencies on stages of this file."""


def read_header(text: Logical, report: Report) -> Header | None:
    """A stage's header; None if not even its name can be told."""
    match = _NAME.match(text.text)
    if match is None:
        report.error(text.place(0), "a stage's name is missing here", "a stage begins with `name:`")
        return None
    name, place = match[0], text.place(0)
    if flaw := stage_flaw(name):
        report.error(text.place(flaw[0]), flaw[1], _name_hint(text.text))
    if text.broken:
        return Header(name, place, {}, (), ())
    settings: dict[str, Setting] = {}
    at = _after_space(text.text, match.end())
    if text.text.startswith("[", at):
        settings, at = read_options(text, at + 1, report)
    if not text.text.startswith(":", at):
        _report_no_colon(text, name, at, report)
        return Header(name, place, settings, (), ())
    dependencies, mentions = _dependencies(text, at + 1, report)
    return Header(name, place, settings, dependencies, mentions)


def read_options(text: Logical, at: int, report: Report, only: Collection[str] = ()) -> tuple[dict[str, Setting], int]:
    """The options from the offset after `[` on, and the offset after `]` and what white space follows; `only` has the
    names of those that may stand here, where not all may."""
    return _Options(text, at, report, only).read()


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _name_hint(text: str) -> str:
    if re.match(r"\.[A-Z]+\s*:", text):
        return "make's special targets mean nothing here: remove the line"
    if re.match(r"(on|env|gzl)\b", text):
        return "call the stage something else"
    if "=" in text.partition(":")[0] and "[" not in text.partition("=")[0]:
        return "variables go below a line `env:`, indented"
    return "a name has letters, digits, `_`, and after the first of them `-` and `.`"


def _report_no_colon(text: Logical, name: str, at: int, report: Report) -> None:
    rest = text.text[at:]
    if rest.startswith(("=", ":=", "+=", "?=")):
        report.error(text.place(at), "a variable outside of `env:`", "put it below a line `env:`, indented")
    elif rest and ":" in rest and _NAME.match(rest):
        report.error(text.place(at), "a header names one stage", f"give this one a line of its own, after {name!r}")
    else:
        report.error(
            text.place(at),
            f"expected `:` after {name!r}" if not rest else f"expected `:` here, not {rest[0]!r}",
            "a stage begins with `name:`; indent the line if it is a step of the stage above",
        )


class _Options:
    """Reads `key=value` and bare `key`, with commas or line ends between, up to the closing bracket."""

    def __init__(self, text: Logical, at: int, report: Report, only: Collection[str]) -> None:
        self.only = only
        self.logical = text
        self.text = text.text
        self.at = at
        self.report = report
        self.settings: dict[str, Setting] = {}
        self.before = ""

    def read(self) -> tuple[dict[str, Setting], int]:
        """The options, and the offset after the bracket and what white space follows."""
        separated = True
        while self.at < len(self.text):
            separated |= self._skip_separators()
            if self.text.startswith("]", self.at):
                self.at += 1
                break
            if not separated:
                self._error(
                    "expected `,` or `]` here", 'separate options with commas; quote a value with spaces: `x="…"`'
                )
            separated = False
            self._option()
        return self.settings, self._skip()

    def _option(self) -> None:
        key = _KEY.match(self.text, self.at)
        if key is None:
            self._error(f"an option cannot begin with {self.text[self.at]!r}", "an option is `name` or `name=value`")
            self.at += 1
            self._skip_to_separator()
            return
        place, self.at = self.logical.place(self.at), key.end()
        value = _VALUE.match(self.text, self.at)
        if value is not None:
            self.at = value.end()
        self._keep(key[0], value, place)

    def _keep(self, name: str, match: re.Match[str] | None, place: Place) -> None:
        option = options.find(name)
        earlier, self.before = self.before, name
        if option is None:
            self.report.error(place, f"no option {name!r}", self._unknown_hint(name, earlier, match is None))
            return
        if self.only and name not in self.only:
            known = " and ".join(f"`{other}`" for other in self.only)
            self.report.error(place, f"{name!r} is a stage's option, not a rule's", f"a rule may have {known}")
            return
        if name in self.settings:
            first = self.settings[name].place
            self.report.error(place, f"{name!r} is given twice", f"keep one; the other is in line {first.line}")
            return
        value = "yes" if match is None else next(group for group in match.groups() if group is not None)
        self.settings[name] = Setting(value, place)
        if match is None and not option.flag:
            self.report.error(place, f"{name!r} needs a value", f"write `{name}=…`: {option.kind.about}")
            return
        self._check(option, name, value, place)

    def _check(self, option: options.Option, name: str, value: str, place: Place) -> None:
        try:
            option.kind.read(value)
        except ValueError as error:
            hint = "start the body with #! to run it by any other program" if name == "shell" else option.kind.about
            self.report.error(place, f"`{name}={value}`: {error}", hint)
            return
        if not options.carried_out(name, value):
            self.report.warn(
                place,
                f"`{name}={value}` is not available in this version of gzl",
                "a job with this stage is refused; remove the option for now",
            )

    def _unknown_hint(self, name: str, earlier: str, bare: bool) -> str:
        known = options.find(earlier) if bare else None
        if known and not known.flag:
            return f'if it belongs to {earlier!r}, quote the whole value: `{earlier}="…"`'
        return self.report.near(name, self.only or options.OPTIONS, "docs/gzlfile.md lists them all")

    def _skip_separators(self) -> bool:
        """Go past white space and commas; whether there was a comma or a line's end."""
        start, self.at = self.at, self._skip()
        while self.text.startswith(",", self.at):
            self.at += 1
            self.at = self._skip()
        return any(c in ",\n" for c in self.text[start : self.at])

    def _skip_to_separator(self) -> None:
        while self.at < len(self.text) and self.text[self.at] not in " \t\n,]":
            self.at += 1

    def _skip(self) -> int:
        return _after_space(self.text, self.at)

    def _error(self, text: str, hint: str) -> None:
        self.report.error(self.logical.place(self.at), text, hint)


def _dependencies(text: Logical, at: int, report: Report) -> tuple[tuple[Dependency, ...], tuple[Mention, ...]]:
    found: list[Dependency] = []
    mentions: list[Mention] = []
    seen: set[StageRef] = set()
    for group in _groups(text.text, at):
        dependency = _dependency(text, group, report)
        if dependency is None:
            continue
        found.append(dependency)
        for ref, (_, offset) in zip(dependency.alternatives, group, strict=True):
            if ref in seen:
                report.error(text.place(offset), f"{str(ref)!r} is named twice", "one dependency on a stage is enough")
            seen.add(ref)
            if ref.repo is None:
                mentions.append(Mention(ref.stage, text.place(offset)))
    return tuple(found), tuple(mentions)


def _groups(text: str, at: int) -> list[list[tuple[str, int]]]:
    """The words from `at` on with offsets, those with `|` between them together; a missing word is empty."""
    groups: list[list[tuple[str, int]]] = []
    joined = False
    for match in re.finditer(r"[^\s|]+|\|", text[at:]):
        word, offset = match[0], at + match.start()
        if word == "|":
            if joined or not groups:
                groups[-1:] = [[*(groups[-1] if groups else []), ("", offset)]]
            joined = True
        elif joined:
            groups[-1].append((word, offset))
            joined = False
        else:
            groups.append([(word, offset)])
    if joined:
        groups[-1].append(("", at + len(text[at:].rstrip()) - 1))
    return groups


def _dependency(text: Logical, group: list[tuple[str, int]], report: Report) -> Dependency | None:
    when, refs = When.THEN, []
    for word, offset in group:
        suffix = word[-1:] if word[-1:] in ("!", "?") else ""
        if suffix and len(group) > 1:
            report.error(text.place(offset), f"`{suffix}` inside of `|`", "alternatives are plain names: `x|y`")
            return None
        when = When(suffix)
        ref, flaw = _stage_ref(word.removesuffix(suffix) if suffix else word)
        if flaw:
            report.error(text.place(offset), flaw, _dependency_hint(word))
            return None
        refs.append(ref)
    return Dependency(tuple(refs), when, text.place(group[0][1]).line)


def _stage_ref(word: str) -> tuple[StageRef, str | None]:
    head, slashes, stage = word.rpartition("//")
    if not slashes:
        return StageRef(word), reference_flaw(word)
    repo, at, branch = head.partition("@")
    flaw = repo_flaw(repo) or (branch_flaw(branch) if at else None) or reference_flaw(stage)
    return StageRef(stage, repo, branch if at else None), flaw


def _dependency_hint(word: str) -> str:
    if "," in word:
        return "separate dependencies with spaces"
    if word.startswith("$"):
        return "a Gzlfile has no variables in headers: name the stages"
    if "/" in word and "//" not in word:
        return "a stage of another repository is written `repo//stage`"
    return "a dependency is `stage`, `stage!`, `stage?`, `x|y`, `repo//stage` or `repo@branch//stage`"
