"""A running stage adds stages to its job, or waits for one: what is allowed, decided before anything is changed."""

import difflib
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence

from gzl.errors import UserError
from gzl.model.pipeline import Dependency, Stage, StageRef, When
from gzl.model.request import Added
from gzl.planning.plan import Plan, families_of

MOST = 10_000
"""Stages of one job: a stage that adds itself over and over comes to an end."""


def extend(
    stages: Mapping[str, Stage],
    new: Mapping[str, Stage],
    before: Sequence[str],
    begun: Collection[str],
    asker: str,
) -> Added:
    """What the job's `stages` gain when the running stage `asker` adds `new`, and the stages `before` wait for them.

    What is there already, just so, is not added again: the asker may have been started once more. `begun` are the
    stages that have begun or ended. Raises UserError, and then nothing is to be changed, for a name
    that is taken or unknown, a circle, a stage in `before` that cannot wait any more, or too many stages.
    """
    new = {name: stage for name, stage in new.items() if name not in stages or not stage.repeats(stages[name])}
    if not new:
        return Added(())
    if len(stages) + len(new) > MOST:
        raise UserError(f"with {len(new)} more the job would have over {MOST} stages; add fewer")
    families = families_of({**stages, **new})
    _check_names(stages, new, families)
    waiting = _waiting(before, families, begun, asker, stages)
    added = Added(tuple(new.values()), {name: _needs(stages[name], new) for name in waiting})
    _check_circles(stages, added, families)
    return added


def _check_names(stages: Mapping[str, Stage], new: Mapping[str, Stage], families: Mapping[str, Sequence[str]]) -> None:
    taken = {stage.family or stage.name for stage in stages.values()} | stages.keys()
    for stage in new.values():
        for name in (stage.name, stage.family):
            if name in taken:
                raise UserError(f"the job has a stage {name!r} already; give the new one another name")
        for ref in _refs(stage):
            if ref not in families:
                raise UserError(f"stage {stage.name} needs {ref!r}: {_near(ref, families)}")


def _waiting(
    before: Sequence[str],
    families: Mapping[str, Sequence[str]],
    begun: Collection[str],
    asker: str,
    stages: Mapping[str, Stage],
) -> tuple[str, ...]:
    """The stages that `--before` names. UserError if one of them cannot wait any more."""
    found: dict[str, None] = {}
    for name in before:
        members = [member for member in families.get(name, ()) if member in stages]
        if not members:
            raise UserError(f"--before {name}: {_near(name, families)}")
        found.update(dict.fromkeys(members))
    if asker in found:
        raise UserError(f"--before {asker}: that is the stage that asks; `gzl await STAGE` waits in the middle of it")
    needed = needed_by(asker, stages) if found else set()
    for name in found:
        if name in needed:
            raise UserError(f"--before {name}: {asker}, which asks, waits for {name} itself; name a later stage")
        if name in begun:
            raise UserError(f"--before {name}: it has begun already; name a stage that has not, or leave it out")
    return tuple(found)


def _needs(stage: Stage, new: Mapping[str, Stage]) -> tuple[Dependency, ...]:
    """What `stage` waits for besides from now on: in the way in which it waits for others, where it takes them as they
    come (`x?`), and else for their passing."""
    always = bool(stage.dependencies) and all(d.when is When.FINALLY for d in stage.dependencies)
    # A stage of another repository came along: those that were declared wait for it themselves.
    names = dict.fromkeys(added.family or added.name for added in new.values() if "//" not in added.name)
    return tuple(Dependency((StageRef(name),), When.FINALLY if always else When.THEN) for name in names)


def _check_circles(stages: Mapping[str, Stage], added: Added, families: Mapping[str, Sequence[str]]) -> None:
    """UserError if stages would wait for each other.

    A circle goes through a new stage, for there was none before: a depth-first search from each of them finds it. Only
    where something old waits for something new can it lead through old ones.
    """
    new = {stage.name: stage for stage in added.stages}
    looked_at = {**stages, **new} if added.before else new

    def after(name: str) -> Iterator[str]:
        more = (ref.stage for dependency in added.before.get(name, ()) for ref in dependency.alternatives)
        for ref in (*_refs(looked_at[name]), *more):
            yield from (member for member in families[ref] if member in looked_at)

    finished: set[str] = set()
    for root in new:
        path: dict[str, Iterator[str]] = {} if root in finished else {root: after(root)}
        while path:
            name = next(reversed(path))
            following = next((other for other in path[name] if other not in finished), None)
            if following is None:
                finished.add(name)
                del path[name]
            elif following in path:
                names = list(path)
                circle = [*names[names.index(following) :], following]
                raise UserError(f"stages that would wait for each other: {' → '.join(circle)}; remove one dependency")
            else:
                path[following] = after(following)


def needed_by(name: str, stages: Mapping[str, Stage]) -> set[str]:
    """All that a stage of a job waits for, directly or not."""
    families = families_of(stages)
    todo, found = [name], set[str]()
    while todo:
        for ref in _refs(stages[todo.pop()]):
            fresh = [member for member in families[ref] if member not in found]
            found.update(fresh)
            todo += fresh
    return found


def _refs(stage: Stage) -> Iterator[str]:
    return (str(ref) for dependency in stage.dependencies for ref in dependency.alternatives)


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"the job has no stage of this name{f'; did you mean {near[0]!r}?' if near else ''}"


def would_deadlock(
    plan: Plan,
    waiter: str,
    stage: str,
    waits: Mapping[str, Collection[str]],
    begun: Container[str] = (),
) -> str | None:
    """Why the running stage `waiter` must not wait for `stage`, for a person; None if it may.

    `waits` are the stages that others which run wait for in their middle right now. A stage that has not `begun` is
    held up by those that it needs, one that has only by what it waits for; by `x|y` only if both are held up.
    """
    held: dict[str, str] = {waiter: waiter}  # stage → the one that holds it up
    todo = [waiter]
    while todo and stage not in held:
        name = todo.pop(0)
        behind = [other for other, awaited in waits.items() if name in awaited]
        behind += [other for other in plan.dependents[name] if other not in begun and _held_up(plan, other, held)]
        for other in behind:
            if other not in held:
                held[other] = name
                todo.append(other)
    if stage not in held:
        return None
    chain = [stage]
    while chain[-1] != waiter:
        chain.append(held[chain[-1]])
    if len(chain) == 1:
        return f"{waiter} would wait for itself"
    return f"{waiter} and {stage} would wait for each other: {' → '.join([waiter, *chain])}"


def _held_up(plan: Plan, name: str, held: Container[str]) -> bool:
    return any(
        all(any(member in held for member in stages) for stages in need.alternatives) for need in plan.needs[name]
    )
