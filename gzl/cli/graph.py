"""`gzl graph`: the graph of stages, as text for people or in Graphviz's language.

As text it is a tree in which every stage stands once, below the dependency that is furthest from the start; what else
it waits for stands beside its name. The stages of a matrix are one entry.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import click

from gzl.cli.check import read_gzlfile
from gzl.cli.context import App, in_repository
from gzl.errors import UserError
from gzl.gzlfile import load
from gzl.gzlfile.mistakes import printable
from gzl.model.pipeline import Dependency, Pipeline, Rule, Stage, StageRef, When

_STYLES = {
    When.THEN: "",
    When.CATCH: ' [style=dashed, color="#c0392b", label="failed"]',
    When.FINALLY: ' [style=dotted, label="ended"]',
}


@click.command("graph")
@click.argument("file", required=False)
@click.option("--dot", is_flag=True, help="Print it in Graphviz's language, for `dot -Tsvg`.")
@click.option(
    "--stage", "stages", multiple=True, metavar="S", help="Only this stage and what it needs; may be repeated."
)
@in_repository
def command(app: App, file: str | None, dot: bool, stages: tuple[str, ...]) -> int:
    """Show the graph of stages.

    FILE is by default the Gzlfile of the working tree, or that of HEAD in a bare repository; `-` is the standard
    input.
    """
    pipeline = load(*read_gzlfile(app, file))
    graph = _needed({**_foreign(pipeline), **_fold(pipeline)}, [_family(pipeline, stage) for stage in stages])
    lines = _dot(graph) if dot else [*_rules([] if stages else pipeline.rules), *_tree(graph)]
    click.echo("\n".join(lines))
    return 0


@dataclass(frozen=True, slots=True)
class _Node:
    """A declared stage: one of its members, and their number if a matrix made them."""

    name: str
    stage: Stage
    members: int

    @property
    def title(self) -> str:
        return self.name if not self.stage.matrix else f"{self.name} ×{self.members}"

    def edges(self) -> Iterable[tuple[str, Dependency]]:
        """The names of what it waits for, each with the dependency that says so."""
        for dependency in self.stage.dependencies:
            for ref in dependency.alternatives:
                yield _name(ref), dependency


def _name(ref: StageRef) -> str:
    """The declared name of a stage, or a foreign one as it is written."""
    return ref.stage.partition("@")[0] if ref.repo is None else str(ref)


def _fold(pipeline: Pipeline) -> dict[str, _Node]:
    return {name: _Node(name, pipeline.stages[members[0]], len(members)) for name, members in pipeline.families.items()}


def _foreign(pipeline: Pipeline) -> dict[str, _Node]:
    """The stages of other repositories that are depended on: what they wait for stands in their own graphs."""
    refs = (
        ref
        for stage in pipeline.stages.values()
        for needed in stage.dependencies
        for ref in needed.alternatives
        if ref.repo
    )
    return {str(ref): _Node(str(ref), Stage(str(ref)), 1) for ref in refs}


def _family(pipeline: Pipeline, name: str) -> str:
    if name in pipeline.families:
        return name
    if name in pipeline.stages:
        return pipeline.stages[name].family
    near = difflib.get_close_matches(name, pipeline.families, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(pipeline.families) or 'none'}"
    raise UserError(f"--stage {name}: no such stage; {hint}")


def _needed(graph: dict[str, _Node], targets: Sequence[str]) -> dict[str, _Node]:
    """The part of the graph that the targets need; all of it if there are none."""
    if not targets:
        return graph
    todo, needed = list(targets), set(targets)
    while todo:
        for name, _ in graph[todo.pop()].edges():
            if name in graph and name not in needed:
                needed.add(name)
                todo.append(name)
    return {name: node for name, node in graph.items() if name in needed}


def _order(graph: Mapping[str, _Node]) -> list[str]:
    """The stages, each after all that it waits for, otherwise as the file has them (the graph has no cycle)."""
    done: dict[str, None] = {}
    for root in graph:
        stack = [(root, False)]
        while stack:
            name, entered = stack.pop()
            if entered:
                done[name] = None
            elif name not in done:
                stack.append((name, True))
                stack.extend((other, False) for other, _ in graph[name].edges() if other in graph)
    return list(done)


def _parents(graph: Mapping[str, _Node]) -> dict[str, str | None]:
    """For each stage the dependency below which it stands: the one furthest from the start, the first of equals."""
    level: dict[str, int] = {}
    parents: dict[str, str | None] = {}
    for name in _order(graph):
        others = [other for other, _ in graph[name].edges() if other in graph]
        parents[name] = max(others, key=level.__getitem__, default=None)
        level[name] = 1 + max((level[other] for other in others), default=-1)
    return parents


# -- text ---------------------------------------------------------------------------------------------------------


def _rules(rules: Sequence[Rule]) -> list[str]:
    lines = [(printable(f"on {' '.join([rule.kind, *rule.patterns])}"), " ".join(rule.stages)) for rule in rules]
    width = max((len(left) for left, _ in lines), default=0)
    return [f"{left.ljust(width)}  → {right}" for left, right in lines] + ([""] if lines else [])


def _tree(graph: Mapping[str, _Node]) -> list[str]:
    parents = _parents(graph)
    children: dict[str | None, list[str]] = {}
    for name in graph:
        children.setdefault(parents[name], []).append(name)
    lines = []
    stack = [(name, "", "") for name in reversed(children.get(None, []))]
    while stack:
        name, lead, indent = stack.pop()
        lines.append(lead + _entry(graph[name], parents[name]))
        below = children.get(name, [])
        for index, child in reversed(list(enumerate(below))):
            last = index == len(below) - 1
            stack.append((child, indent + ("└─ " if last else "├─ "), indent + ("   " if last else "│  ")))
    return lines + _legend(graph)


def _entry(node: _Node, parent: str | None) -> str:
    """A stage's line: how it follows what it stands below, its name, and what else it waits for."""
    mark, others = "", []
    for dependency in node.stage.dependencies:
        names = [_name(ref) for ref in dependency.alternatives]
        if parent in names and len(names) == 1 and not mark:
            mark = f"{dependency.when} " if dependency.when else ""
            parent = None
        else:
            others.append(str(dependency))
    beside = f"   (after {', '.join(others)})" if others else ""
    return f"{mark}{node.title}{beside}"


def _legend(graph: Mapping[str, _Node]) -> list[str]:
    kinds = {dependency.when for node in graph.values() for dependency in node.stage.dependencies}
    known = [(When.CATCH, "!  only if that failed"), (When.FINALLY, "?  whatever became of that")]
    shown = [text for kind, text in known if kind in kinds]
    return ["", *shown] if shown else []


# -- Graphviz -----------------------------------------------------------------------------------------------------


def _dot(graph: Mapping[str, _Node]) -> list[str]:
    lines = ["digraph gzl {", "  rankdir=LR;", "  node [shape=box, style=rounded];"]
    for node in graph.values():
        style = ", style=dashed" if "//" in node.name else ""
        lines.append(f"  {_quoted(node.name)} [label={_quoted(node.title)}{style}];")
    for node in graph.values():
        for name, dependency in node.edges():
            style = ' [label="first to pass"]' if len(dependency.alternatives) > 1 else _STYLES[dependency.when]
            lines.append(f"  {_quoted(name)} -> {_quoted(node.name)}{style};")
    return [*lines, "}"]


def _quoted(text: str) -> str:
    """A Graphviz string (https://graphviz.org/doc/info/lang.html)."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
