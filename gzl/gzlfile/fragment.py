"""Reads what `gzl stage add` is given: stages in the Gzlfile's language, for a job that runs already."""

from collections.abc import Mapping

from gzl.gzlfile.mistakes import GzlfileError, Place, Report, Severity
from gzl.gzlfile.options import carried_out
from gzl.gzlfile.parser import Draft, Kind, kind, read_stage
from gzl.gzlfile.resolve import check_cycles, check_mentions
from gzl.gzlfile.source import Block, blocks, decode
from gzl.model.pipeline import Stage

_MISPLACED = {
    Kind.RULE: ("a rule says when a job begins; this one runs already", "remove the line: what is added here runs"),
    Kind.ENV: ("`env:` is the Gzlfile's, for all of a job's stages", "set variables in a step: `export NAME=value`"),
    Kind.PIN: ("`gzl:` is the Gzlfile's, for the whole job", "remove the line"),
}


def fragment(data: bytes, where: str, known: Mapping[str, Stage]) -> dict[str, Stage]:
    """The stages that a fragment declares; `where` is what messages call it, `known` are the stages of the job.

    Dependencies may name stages of the fragment and of the job, whatever became of these. A stage that is in the job
    already, just so, may be declared once more: whoever adds it may have been started again. Raises GzlfileError with
    all mistakes, and counts as one an option that this version cannot carry out: in a Gzlfile it would be a warning.
    """
    lines, report = decode(data, where)
    draft = Draft(lines, report)
    for block in blocks(lines, report):
        _read(block, draft)
    families = _families(known)
    _check_names(draft, known, families)
    mentions = [mention for header in draft.headers.values() for mention in header.mentions]
    check_mentions(mentions, {**families, **draft.families}, {**known, **draft.stages}, report)
    check_cycles(draft.headers, report)
    _check_options(draft, report)
    if errors := [mistake for mistake in report.sorted() if mistake.severity is Severity.ERROR]:
        raise GzlfileError(errors)
    return draft.stages


def _read(block: Block, draft: Draft) -> None:
    what = kind(block)
    if what is Kind.STAGE:
        read_stage(block, draft)
    else:
        draft.report.error(block.header.place(0), *_MISPLACED[what])


def _families(known: Mapping[str, Stage]) -> dict[str, tuple[str, ...]]:
    members: dict[str, list[str]] = {}
    for stage in known.values():
        members.setdefault(stage.family or stage.name, []).append(stage.name)
    return {family: tuple(names) for family, names in members.items()}


def _check_names(draft: Draft, known: Mapping[str, Stage], families: Mapping[str, tuple[str, ...]]) -> None:
    if not draft.headers and not draft.report.mistakes:
        draft.report.error(Place(1, 1), "no stage is declared here", "write `name:` and below it, indented, its steps")
    for name, header in draft.headers.items():
        there = families.get(name)
        if there and not all(n in known and draft.stages[n].repeats(known[n]) for n in draft.families[name]):
            draft.report.error(header.place, f"the job has a stage {name!r} already", "give this one another name")


def _check_options(draft: Draft, report: Report) -> None:
    """A Gzlfile may have options of a later version, in stages that no job asks for; these stages are asked for."""
    for header in draft.headers.values():
        for name, setting in header.settings.items():
            if not carried_out(name, setting.value):
                report.error(
                    setting.place, f"`{name}={setting.value}` is not available in this version", "leave it out"
                )
