"""What a running stage asks of its job, answered: the agent's side of the Job API (`jobapi.host.Host`).

The API calls from threads of its own. What is of the job itself happens in the agent's loop, through its desk; what
takes long (reading and storing, git) stays in the caller's thread.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import BinaryIO, TypeVar

from gzl.agent import reports, sources
from gzl.agent.artifacts import Artifacts
from gzl.agent.conditions import Conditions
from gzl.agent.desk import Closed, Desk, Job
from gzl.agent.state import another_may_follow
from gzl.errors import TransientError, UserError
from gzl.git import changes
from gzl.git.foreign import complete
from gzl.git.repo import Repo
from gzl.gzlfile import GzlfileError
from gzl.gzlfile.fragment import fragment as read_fragment
from gzl.jobapi.host import Artifact, Caller, Kind, Outcome, Refused, Stored, Totals
from gzl.jobapi.tokens import Tokens
from gzl.kit.clock import Clock
from gzl.kit.mask import Masker
from gzl.kit.proc import CommandFailed
from gzl.kit.text import escaped
from gzl.model import comment as comments
from gzl.model.comment import Comment
from gzl.model.ids import new_job_id
from gzl.model.record import Advance, advance_data, artifact_data, totals_data
from gzl.model.record import Artifact as Kept
from gzl.model.refs import short_branch
from gzl.model.result import State
from gzl.objects.base import ObjectStore
from gzl.planning.extend import extend, would_deadlock
from gzl.planning.plan import families_of

T = TypeVar("T")
_ADVANCES = 0.2  # seconds between two entries of the journal about how far a stage is


@dataclass(frozen=True, slots=True)
class Means:
    """What a host works with besides the job."""

    repo: Repo
    tokens: Tokens
    store: Callable[[Repo], ObjectStore]
    masker: Callable[[], Masker]
    """What is to be masked now: stages that are added can bring secrets of their own."""
    conditions: Conditions
    clock: Clock
    shared: bool
    """Whether attempts see this process's file system."""


class AgentHost:
    """The `Host` of one job."""

    def __init__(self, job: Job, desk: Desk, means: Means) -> None:
        self._job = job
        self._desk = desk
        self._means = means
        self._artifacts = Artifacts(lambda: means.store(means.repo), means.masker, means.repo.layout.objects / "tmp")
        self._reports = Lock()
        self._waits: dict[str, list[str]] = {}  # stage → the stages that it waits for; only in the loop
        self._advanced: dict[str, float] = {}  # stage → when it last told how far it is
        self._elsewhere: dict[tuple[str, str], Repo] = {}  # (job, digest) → the repository that has the artifact
        self._released = False

    def caller(self, token: str) -> Caller:
        stage, attempt = self._means.tokens.read(token)
        caller = Caller(self._job_id(), stage, attempt, self._means.shared)
        self._loop(lambda: self._alive(caller))
        return caller

    def heartbeat(self, caller: Caller) -> None:
        self._as(caller, lambda: self._job.heartbeat(caller.stage))

    # -- values -----------------------------------------------------------------------------------------------

    def out(self, caller: Caller, values: Mapping[str, str]) -> None:
        masked = {key: self._means.masker().text(value) for key, value in values.items()}

        def tell() -> None:
            for key, value in masked.items():
                self._tell(caller, "output", {"key": key, "value": value})

        self._as(caller, tell)

    def outcome(self, caller: Caller, stage: str) -> Outcome:
        return self._loop(lambda: self._outcome(stage))

    def wait(self, caller: Caller, stage: str, key: str | None, seconds: float) -> Outcome:
        until = time.monotonic() + seconds
        outcome = self.outcome(caller, stage)
        if _decided(outcome, key):
            return outcome
        with self._waiting(caller, stage):
            while True:
                version = self._desk.version
                outcome = self.outcome(caller, stage)
                left = until - time.monotonic()
                if _decided(outcome, key) or left <= 0 or self._released:
                    return outcome
                self._desk.wait(version, left)

    def release(self) -> None:
        self._released = True
        self._desk.announce()

    def add_stages(self, caller: Caller, fragment: bytes, before: Sequence[str]) -> list[str]:
        record, stages = self._loop(lambda: (self._job.record, dict(self._job.plan.stages)))
        try:
            new = read_fragment(fragment, "<stdin>", stages)
            all_new = complete(self._means.repo, new, stages, short_branch(record.ref) or "")
        except GzlfileError as error:
            raise Refused(str(error)) from error
        except UserError as error:
            raise Refused(f"<stdin>: {error}") from error

        def add() -> None:
            try:
                added = extend(self._job.plan.stages, all_new, before, self._job.begun(), caller.stage)
            except UserError as error:
                raise Refused(str(error), 409) from error
            if added.stages:
                self._job.grow(added, caller.stage)
                self._desk.announce()

        self._as(caller, add)
        return list(new)

    # -- what was before --------------------------------------------------------------------------------------

    def last_run(self, caller: Caller, stage: str | None, passed: bool) -> str | None:
        ran, good = self._means.conditions.last(stage or caller.stage)
        return (good if passed else ran) or None

    def changed(self, caller: Caller, since: str | None, globs: Sequence[str]) -> list[str]:
        with _refusing(422):
            found = self._means.conditions.changed(since or caller.stage, globs)
        return self._every_path(globs) if found is None else found

    def _every_path(self, globs: Sequence[str]) -> list[str]:
        files = changes.files(self._means.repo, self._loop(lambda: self._job.record.commit))
        return [file.path for file in (changes.matching(files, globs) if globs else files)]

    # -- what a stage says ------------------------------------------------------------------------------------

    def comment(self, caller: Caller, text: str) -> None:
        now = self._means.clock()
        with _refusing(422):
            said = comments.checked(self._means.masker().text(text))
        made = Comment(new_job_id(now), caller.job, caller.stage, now, said, caller.stage)
        self._as(caller, lambda: self._tell(caller, "comment", comments.to_data(made)))

    def progress(self, caller: Caller, done: int, total: int | None, text: str) -> None:
        advance = Advance(done, total, self._means.masker().text(text))

        def tell() -> None:
            # A loop that tells of each of a million files must not make a journal of a million lines.
            now = time.monotonic()
            if done == total or now - self._advanced.get(caller.stage, 0.0) >= _ADVANCES:
                self._advanced[caller.stage] = now
                self._tell(caller, "advanced", advance_data(advance))

        self._as(caller, tell)

    def report(self, caller: Caller, name: str, data: BinaryIO) -> Totals:
        with self._reports:
            before = self._loop(lambda: self._job.record.stages[caller.stage].tests)
            store = self._means.store(self._means.repo)
            said, all_ = reports.add(store, self._means.masker(), name, data, before)
            self._as(caller, lambda: self._tell(caller, "tested", totals_data(all_)))
        return said

    # -- artifacts --------------------------------------------------------------------------------------------

    def store_stream(self, caller: Caller, name: str, body: BinaryIO, kind: Kind, mode: int) -> Stored:
        return self._kept(caller, self._artifacts.keep_stream(name, body, kind, mode))

    def store_path(self, caller: Caller, path: Path, name: str) -> Stored:
        return self._kept(caller, self._artifacts.keep_path(name, path))

    def find(self, caller: Caller, name: str, source: str | None) -> Artifact:
        record, plan = self._loop(lambda: (self._job.record, self._job.plan))
        with _refusing(404):
            if source is None:
                found = sources.own(name, record, plan, caller.stage)
            else:
                found = sources.elsewhere(name, source, record, plan, self._means.repo)
        kept = found.artifact
        if found.repo is not None:
            self._elsewhere[found.job, kept.digest] = found.repo
        kind: Kind = "tree" if kept.kind == "tree" else "file"
        return Artifact(kept.name, kind, kept.digest, kept.size, kept.mode, found.job, found.stage)

    def open(self, caller: Caller, artifact: Artifact) -> BinaryIO:
        return self._artifacts.open(_as_kept(artifact), self._store_of(artifact))

    def fetch_to(self, caller: Caller, artifact: Artifact, target: Path) -> None:
        self._artifacts.fetch(_as_kept(artifact), target, self._store_of(artifact))

    def _kept(self, caller: Caller, artifact: Kept) -> Stored:
        self._as(caller, lambda: self._tell(caller, "stored", artifact_data(artifact)))
        return Stored(artifact.name, artifact.digest, artifact.size)

    def _store_of(self, artifact: Artifact) -> ObjectStore | None:
        repo = self._elsewhere.get((artifact.job, artifact.digest))
        return None if repo is None else self._means.store(repo)

    # -- in the loop ------------------------------------------------------------------------------------------

    def _loop(self, function: Callable[[], T]) -> T:
        try:
            return self._desk.call(function)
        except Closed as error:
            raise TransientError(str(error)) from error  # if the job is not over, its next agent answers

    def _as(self, caller: Caller, function: Callable[[], T]) -> T:
        """Run it in the loop, unless the caller's attempt has ended meanwhile."""

        def guarded() -> T:
            self._alive(caller)
            return function()

        return self._loop(guarded)

    def _job_id(self) -> str:
        return self._loop(lambda: self._job.record.id)

    def _alive(self, caller: Caller) -> None:
        if self._job.attempt(caller.stage) != caller.attempt:
            raise Refused(f"attempt {caller.attempt} of stage {caller.stage} has ended, or another one took over", 410)

    def _tell(self, caller: Caller, what: str, data: Mapping[str, object]) -> None:
        self._job.tell(what, caller.stage, caller.attempt, data)

    def _outcome(self, name: str) -> Outcome:
        stages = self._job.record.stages
        members = families_of(self._job.plan.stages).get(name)
        if members is None:
            raise Refused(f"this job has no stage {escaped(name)!r}; it has {_some(stages)}", 404)
        outputs = {key: value for member in members for key, value in stages[member].outputs.items()}
        return Outcome(name, str(_together(map(self._state, members))), outputs)

    @contextmanager
    def _waiting(self, caller: Caller, stage: str) -> Iterator[None]:
        """The caller's stage waits in its middle, and another one may run in its place. Refused (409) if nothing could
        ever come of it."""
        awaited = self._as(caller, lambda: self._begin_waiting(caller.stage, stage))
        try:
            yield
        finally:
            with suppress(TransientError):
                self._loop(lambda: self._end_waiting(caller.stage, awaited))

    def _begin_waiting(self, waiter: str, stage: str) -> list[str]:
        plan, begun = self._job.plan, self._job.begun()
        awaited = [name for name in families_of(plan.stages)[stage] if not self._state(name).final]
        for name in awaited:
            why = would_deadlock(plan, waiter, name, self._waits, begun)
            if why is not None:
                raise Refused(f"gzl await {stage}: {why}", 409)
        self._waits.setdefault(waiter, []).extend(awaited)
        self._job.lend(waiter)
        return awaited

    def _end_waiting(self, waiter: str, awaited: Sequence[str]) -> None:
        for name in awaited:
            self._waits[waiter].remove(name)
        self._job.take_back(waiter)

    def _state(self, name: str) -> State:
        """Where a stage stands; one that was lost and is to be tried again is waiting."""
        result = self._job.record.stages[name]
        again = another_may_follow(self._job.plan.stages[name], len(result.attempts))
        return State.WAITING if result.state is State.LOST and again else result.state


@contextmanager
def _refusing(status: int) -> Iterator[None]:
    try:
        yield
    except (UserError, CommandFailed) as error:
        raise Refused(str(error), status) from error


def _decided(outcome: Outcome, key: str | None) -> bool:
    return State(outcome.state).final or (key is not None and key in outcome.outputs)


def _together(members: Iterable[State]) -> State:
    """How a family stands: as a member that has not ended, else as one that did not pass."""
    states = list(members)
    for undecided in (State.RUNNING, State.WAITING):
        if undecided in states:
            return undecided
    return next((state for state in states if state is not State.PASSED), State.PASSED)


def _as_kept(artifact: Artifact) -> Kept:
    return Kept(artifact.name, artifact.kind, artifact.digest, artifact.size, artifact.mode)


def _some(names: Collection[str]) -> str:
    listed = ", ".join(map(escaped, list(names)[:8]))
    return listed + (", …" if len(names) > 8 else "")
