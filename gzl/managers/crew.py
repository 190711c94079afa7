"""Jobs → agents: the half of the repo manager that keeps agents at work.

At most `gzl.jobs` of them, one at a time for each branch; a job that waits is dropped, and recorded as such, once a
newer push to its branch waits too. An agent that dies before its job is recorded is followed by another.
"""

import os
import select
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from gzl.errors import UserError
from gzl.git.refs import ANY, RefUpdate
from gzl.git.repo import Repo
from gzl.kit import proc
from gzl.kit.clock import Clock
from gzl.kit.crash import point
from gzl.kit.fs import is_locked
from gzl.model import refs
from gzl.model.event import EventKind
from gzl.model.record import JobRecord, StageResult
from gzl.model.result import State
from gzl.notes import store
from gzl.notes.writer import own
from gzl.records import unfinished

MAX_CRASHES = 5  # of a job's agents in one manager's time; then the job is given up as lost
_FOLLOWING = (EventKind.PUSH, EventKind.COMMIT, EventKind.MERGE)


class Crew:
    """The agents of one repository: children of this process, and those that somebody else started."""

    def __init__(
        self, repo: Repo, clock: Clock, say: Callable[[str], None], start: Callable[[str], int], poll: "select.poll"
    ) -> None:
        """`start` starts the agent of a job and gives its pid; `poll` wakes the manager when a pidfd in it is ready."""
        self._repo = repo
        self._layout = repo.layout
        self._clock = clock
        self._say = say
        self._start = start
        self._poll = poll
        self._own: dict[int, str] = {}  # pid → job
        self._foreign: dict[int, str] = {}  # pidfd → job
        self._crashes: dict[str, int] = {}
        self._waiting: dict[str, JobRecord] = {}  # as they were asked for: a request never changes
        self.unwatched = False
        """Whether an agent is at work that has not said who it is yet, so that there is no pidfd to wait for."""

    @property
    def busy(self) -> bool:
        return bool(self._own or self._foreign or self.unwatched)

    def reap(self) -> bool:
        """Take note of the agents that ended; whether there were any."""
        ended: list[tuple[str, int]] = []
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)  # a `gzl gc` that the manager started ends here, too
            except ChildProcessError:
                break
            if not pid:
                break
            if pid in self._own:
                ended.append((self._own.pop(pid), os.waitstatus_to_exitcode(status)))
        for pidfd in [fd for fd in self._foreign if select.select([fd], [], [], 0)[0]]:
            self._poll.unregister(pidfd)
            os.close(pidfd)
            ended.append((self._foreign.pop(pidfd), 0))
        for job, status in ended:
            self._after(job, status)
        return bool(ended)

    def employ(self, most: int) -> bool:
        """Start agents for the jobs that may run now, `most` at once; whether there were any."""
        self._look()
        ours = set(self._own.values())
        held = ours | {job for job in self._waiting if is_locked(self._layout.job(job).lease)}
        self._watch(held - ours)
        self._drop_superseded(held)
        if not self._waiting.keys() - held:
            return False
        busy = {_lane(self._waiting[job]) for job in held if job in self._waiting}
        room = most - len(held)
        started = False
        for job, record in sorted(self._waiting.items()):
            if room <= 0:
                break
            if job not in held and _lane(record) not in busy:
                self._own[self._start(job)] = job
                busy.add(_lane(record))
                room -= 1
                started = True
                point("manager.started")
        return started

    def _look(self) -> None:
        there = unfinished.jobs(self._layout)
        for job in self._waiting.keys() - set(there):
            del self._waiting[job]
        for job in there:
            if job not in self._waiting:
                try:
                    self._waiting[job] = unfinished.request(self._layout, job).record
                except UserError as error:
                    if self._layout.job(job).root.exists():
                        unfinished.set_aside(self._layout, job)
                        self._say(f"{error}; kept in {self._layout.spool / 'bad'}")

    def _drop_superseded(self, held: set[str]) -> None:
        newest: dict[str, JobRecord] = {}
        for job, record in sorted(self._waiting.items()):
            begun = job in held or self._layout.job(job).journal.exists()
            if begun or record.event not in _FOLLOWING:
                continue
            older = newest.get(record.ref)
            newest[record.ref] = record
            if older is not None:
                self._end(older, State.SKIPPED, f"superseded by {record.id}")

    def _end(self, record: JobRecord, state: State, reason: str) -> None:
        """Record a job that no agent will run, or run on."""
        stages = {name: _given_up(stage, reason) for name, stage in record.stages.items()}
        done = replace(record, state=state, finished=self._clock(), reason=reason, stages=stages, agent=None)
        store.record(self._repo, own(self._repo), done, refs=[RefUpdate(refs.live(done.id), None, ANY)])
        unfinished.remove(self._layout, record.id)
        self._waiting.pop(record.id, None)
        self._say(f"{record.id} {state}: {reason}")

    def _after(self, job: str, status: int) -> None:
        """An agent ended. If its job did not, the next turn starts another one, unless that fails again and again."""
        if not self._layout.job(job).root.exists():
            self._crashes.pop(job, None)
            self._say(f"{job} done")
            return
        self._crashes[job] = self._crashes.get(job, 0) + 1
        if self._crashes[job] < MAX_CRASHES:
            self._say(f"{job}: its agent ended with {status}; another one takes over")
            return
        record = unfinished.read(self._layout, job)
        for stage in record.stages.values():
            for attempt in stage.attempts:
                directory = self._layout.job(job).attempt(stage.name, attempt.number)
                proc.signal_all(proc.marked(f"GZL_ATTEMPT={directory}"), signal.SIGKILL)
        self._end(record, State.LOST, f"its agents failed {MAX_CRASHES} times; {self._layout.manager_log} says why")

    def _watch(self, jobs: set[str]) -> None:
        """See to it that the end of agents that others started is noticed."""
        self.unwatched = False
        for job in jobs - set(self._foreign.values()):
            pidfd = -1
            with suppress(UserError, ProcessLookupError):
                agent = unfinished.read(self._layout, job).agent
                pidfd = os.pidfd_open(agent.pid) if agent is not None else -1
            if pidfd < 0:
                self.unwatched = True
            else:
                self._foreign[pidfd] = job
                self._poll.register(pidfd, select.POLLIN)


def _lane(record: JobRecord) -> str:
    """Jobs of one lane run one after the other: those of one branch. What a person started has a lane of its own."""
    return record.id if record.event == EventKind.MANUAL else record.ref


def _given_up(stage: StageResult, reason: str) -> StageResult:
    if stage.state.final:
        return stage
    if stage.state is State.WAITING:
        return replace(stage, state=State.SKIPPED, skipped_because=reason)
    attempts = tuple(replace(a, state=State.LOST, reason=reason) if not a.state.final else a for a in stage.attempts)
    return replace(stage, state=State.LOST, attempts=attempts)
