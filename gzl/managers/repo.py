"""The repo manager: one process per repository that turns events into jobs and keeps agents at work on them.

It owns nothing but its lock. Events are files in the spool, jobs are folders, running agents hold their leases: a
manager that is killed leaves all of it as it is, and the next one goes on. It sleeps in one poll(2) on a FIFO that
hooks write to, on SIGCHLD for the agents it started, and on pidfds for those that somebody else did.

    spool/new/x  →  claimed as spool/cur/<job>.x  →  job folder  →  `seen`  →  spool file removed

The job's id is in the claimed name, so that an event handled again after a crash makes the same job, once.
"""

import os
import select
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from gzl.errors import GzlError, UserError
from gzl.git import refs as git_refs
from gzl.git import source as git_source
from gzl.git.refs import ANY, RefUpdate
from gzl.git.repo import Repo
from gzl.githooks import spool
from gzl.kit import proc
from gzl.kit.clock import Clock
from gzl.kit.crash import point
from gzl.kit.fs import Lock, is_locked, try_lock, write_atomic
from gzl.managers.cron import Schedule
from gzl.managers.jobs import Answer, Asked, Known, Nothing, Refused, answer, create, default_slots
from gzl.model import refs
from gzl.model.event import Event, EventKind
from gzl.model.ids import next_job_id
from gzl.model.record import JobRecord
from gzl.model.request import JobRequest
from gzl.model.result import State
from gzl.notes import ledger, store
from gzl.notes.index import open_index
from gzl.notes.trust import trusted
from gzl.notes.writer import own
from gzl.records import unfinished

MAX_CRASHES = 5  # of a job's agents with no manager restart between; then the job is given up as lost
_EXITING_WITHIN = 5.0  # seconds that a manager which has taken back its pid file may still hold the lock


class AlreadyManaged(UserError):
    """Another manager is at work on the repository."""


@dataclass
class RepoManager:
    """See the module. `say` gets a line for people about each thing that it does."""

    repo: Repo
    environ: Mapping[str, str]
    clock: Clock
    say: Callable[[str], None]
    start_agent: Callable[[str], int]
    """Start the agent of a job; its pid."""
    _agents: dict[int, str] = field(default_factory=dict)
    _foreign: dict[int, str] = field(default_factory=dict)  # pidfd → job, of agents that are not our children
    _crashes: dict[str, int] = field(default_factory=dict)
    _unwatched: bool = False
    _last_id: str = ""
    _lock: Lock | None = None

    def run(self, *, once: bool, idle: float | None) -> None:
        """Manage until there is nothing left to do (`once`), for `idle` seconds of nothing to do, or for ever.

        AlreadyManaged if another manager has the repository.
        """
        self._take_over()
        self._open()
        self._handle_events()
        self._deposit_missed()
        quiet_since = time.monotonic()
        while True:
            if self._turn():
                quiet_since = time.monotonic()
            busy = bool(self._agents or self._foreign or self._unwatched)
            tick = None if once else self._schedule.next()
            if not busy and tick is None and (once or (idle is not None and time.monotonic() - quiet_since >= idle)):
                if self._leave():
                    return
                continue
            wake_at = [] if busy or idle is None or tick is not None else [quiet_since + idle - time.monotonic()]
            if tick is not None:
                wake_at.append(tick - self.clock())
            self._wait(max(0.0, min(wake_at)) if wake_at else None)

    def _take_over(self) -> None:
        layout = self.repo.layout
        until = time.monotonic() + _EXITING_WITHIN
        while (lock := try_lock(layout.manager_lock)) is None:
            # One that has removed its pid file is on its way out, and may have looked at the spool for the last time.
            if layout.manager_pid.exists() or time.monotonic() > until:
                wake(self.repo)
                raise AlreadyManaged(f"{self.repo.common_dir}: another manager is at work here; nothing to do")
            time.sleep(0.01)
        self._lock = lock

    def _open(self) -> None:
        layout = self.repo.layout
        self._writer = own(self.repo)
        with suppress(FileExistsError):
            os.mkfifo(layout.manager_wake, 0o600)
        self._fifo = os.open(layout.manager_wake, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._child_read, child_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(child_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._poll = select.poll()
        for fd in (self._fifo, self._child_read):
            self._poll.register(fd, select.POLLIN)
        self._present()
        unfinished.sweep(layout)
        spool.adopt(layout)
        self._seen = spool.read_seen(layout)
        self._schedule = Schedule(self.repo, self.clock())

    def _present(self) -> None:
        """From now on hooks need not start a manager."""
        pid = os.getpid()
        write_atomic(self.repo.layout.manager_pid, f"{pid} {proc.start_time(pid)}\n".encode())

    def _leave(self) -> bool:
        """Take back the pid file, then look once more: an event that came before is seen here, the hook of one that
        comes after starts another manager. Whether the manager may go."""
        self.repo.layout.manager_pid.unlink(missing_ok=True)
        if spool.pending(self.repo.layout) or unfinished.jobs(self.repo.layout):
            self._present()
            return False
        return True

    def _deposit_missed(self) -> None:
        """Tell of the tips that no event told of: a hook was missing, a disk was full, the power failed."""
        for event in self._missed():
            self.say(f"{event.short_ref} moved to {(event.new or 'nothing')[:12]} and no event told of it")
            spool.deposit(self.repo.layout, event)

    def _missed(self) -> list[Event]:
        if self.repo.bare:
            return spool.missed(git_refs.read(self.repo, "refs/heads"), self._seen)
        head = self.repo.git("rev-parse", "--symbolic-full-name", "HEAD").decode().strip()
        tips = git_refs.read(self.repo, head) if head.startswith("refs/heads/") else {}
        known = {name: oid for name, oid in self._seen.items() if name in tips}
        return [replace(event, kind=EventKind.COMMIT) for event in spool.missed(tips, known) if event.new is not None]

    def _turn(self) -> bool:
        """Do all that can be done now; whether there was anything."""
        reaped = self._reap()
        for event in self._schedule.due(self.clock()):
            spool.deposit(self.repo.layout, event)
        self._schedule.keep()
        handled = self._handle_events()
        started = self._start_agents()
        return reaped or handled or started

    def _wait(self, timeout: float | None) -> None:
        if self._unwatched:
            # An agent has its lease and has not said yet who it is: there is no pidfd to wait for.
            timeout = 0.1
        ready = self._poll.poll(None if timeout is None else timeout * 1000)
        for fd, _ in ready:
            if fd in (self._fifo, self._child_read):
                with suppress(BlockingIOError):
                    os.read(fd, 4096)

    # Events → jobs

    def _handle_events(self) -> bool:
        layout = self.repo.layout
        claimed = spool.claimed(layout)
        for name in spool.pending(layout):
            # Ids in the order of the events: of two jobs of a branch the later id is the newer push.
            self._last_id = next_job_id(self.clock(), self._last_id)
            taken = spool.claim(layout, name, self._last_id)
            if taken is not None:
                claimed.append(taken)
        for event_file in claimed:
            point("manager.claimed")
            event = spool.read(layout, event_file)
            if event is None:
                self.say(f"{event_file.name}: not an event; kept in {layout.spool / 'bad'}")
                continue
            try:
                said = self._handle(event_file.job, event)
            except GzlError as error:
                said = str(error)
            self.say(f"{event.kind} {event.short_ref}: {said}")
            if event.new is None:
                self._seen.pop(event.ref, None)
            else:
                self._seen[event.ref] = event.new
            point("manager.handled")
            spool.write_seen(layout, self._seen)
            point("manager.seen")
            spool.done(layout, event_file)
            if "gzl.wait" in event.options:
                spool.outcome(layout, event_file.name, said)
        if claimed:
            self._schedule.refresh()
        return bool(claimed)

    def _handle(self, job: str, event: Event) -> str:
        """Make the job of an event; what came of it, its first word the job's id if there is one."""
        if event.new is None:
            return self._forget(event)
        if self.repo.layout.job(job).root.exists() or ledger.read_job(self.repo, job) is not None:
            return job
        commit = self.repo.resolve(event.new)
        if commit is None:
            return f"{event.new[:12]} is no commit"
        same = self._unfinished_twin(event, commit)
        if same is not None:
            return f"{same} runs for it already"
        asked = Asked(
            job=job,
            event=event,
            source=git_source.read(self.repo, commit),
            writer=self._writer,
            now=self.clock(),
            slots=slots(self.repo),
            targets=event.stages or None,
            again=event.kind is EventKind.CRON,
            follow_up=True,
        )
        with open_index(self.repo) as index:
            outcome = answer(asked, index, trusted(self.repo))
        return self._carry_out(outcome)

    def _carry_out(self, outcome: Answer) -> str:
        match outcome:
            case Nothing(because):
                return because
            case Known(record):
                return f"{record.id} {record.state} already, for the same pipeline"
            case Refused(record):
                store.record(self.repo, self._writer, record)
                return f"{record.id} failed: {record.reason}"
            case JobRequest():
                create(self.repo, outcome)
                point("manager.created")
                return outcome.record.id

    def _unfinished_twin(self, event: Event, commit: str) -> str | None:
        """A job that an earlier telling of the event made: a tip may be found by a scan and told of by a hook."""
        for record in unfinished.unfinished(self.repo.layout):
            if (record.commit, record.ref, record.event) == (commit, event.ref, str(event.kind)) and not event.stages:
                return record.id
        return None

    def _forget(self, event: Event) -> str:
        """A branch was deleted: its `last` and `passed` refs go with it, so that `a` and later `a/b` can both be."""
        branch = event.branch
        if branch is None:
            return "deleted"
        mine = refs.encode_path(branch)
        there = git_refs.read(self.repo, "refs/gzl/last", "refs/gzl/passed")
        stale = [name for name in there if name.split("/", 4)[4] == mine]
        git_refs.transaction(self.repo, [RefUpdate(name, None, ANY) for name in stale])
        return "deleted"

    # Jobs → agents

    def _start_agents(self) -> bool:
        layout = self.repo.layout
        records = {record.id: record for record in unfinished.unfinished(layout)}
        held = {job for job in records if is_locked(layout.job(job).lease)} | set(self._agents.values())
        self._watch({job: records[job] for job in held - set(self._agents.values())})
        self._drop_superseded([record for job, record in records.items() if job not in held], records)
        busy = {_lane(records[job]) for job in held if job in records}
        room = self._most_jobs() - len(held)
        started = False
        for job, record in sorted(records.items()):
            if room <= 0:
                break
            if job in held or _lane(record) in busy or not layout.job(job).root.exists():
                continue
            self._agents[self.start_agent(job)] = job
            busy.add(_lane(record))
            room -= 1
            started = True
            point("manager.started")
        return started

    def _drop_superseded(self, waiting: list[JobRecord], records: dict[str, JobRecord]) -> None:
        """A job that waits has lost its point once a newer push to its branch waits too; it is recorded as such."""
        newest: dict[str, JobRecord] = {}
        for record in sorted(waiting, key=lambda record: record.id):
            if record.state is State.WAITING and _replaceable(self.repo, record):
                older = newest.get(record.ref)
                newest[record.ref] = record
                if older is not None:
                    self._end(older, State.SKIPPED, f"superseded by {record.id}")
                    del records[older.id]

    def _end(self, record: JobRecord, state: State, reason: str) -> None:
        """Record a job that no agent will run."""
        stages = {
            name: replace(stage, state=State.SKIPPED, skipped_because=reason) if not stage.state.final else stage
            for name, stage in record.stages.items()
        }
        done = replace(record, state=state, finished=self.clock(), reason=reason, stages=stages, agent=None)
        store.record(self.repo, self._writer, done, refs=[RefUpdate(refs.live(done.id), None, ANY)])
        unfinished.remove(self.repo.layout, record.id)
        self.say(f"{record.id} {state}: {reason}")

    def _reap(self) -> bool:
        done = False
        while self._agents:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if not pid:
                break
            job = self._agents.pop(pid, None)
            if job is not None:
                done = True
                self._after(job, os.waitstatus_to_exitcode(status))
        for pidfd, job in list(self._foreign.items()):
            if select.select([pidfd], [], [], 0)[0]:
                self._poll.unregister(pidfd)
                os.close(pidfd)
                del self._foreign[pidfd]
                self._after(job, 0)
                done = True
        return done

    def _after(self, job: str, status: int) -> None:
        """An agent ended. If its job did not, the next turn starts another one, unless that fails again and again."""
        if not self.repo.layout.job(job).root.exists():
            self._crashes.pop(job, None)
            self.say(f"{job} done")
            return
        self.say(f"{job}: its agent ended with {status}; another one takes over")
        self._crashes[job] = self._crashes.get(job, 0) + 1
        if self._crashes[job] >= MAX_CRASHES:
            record = unfinished.read(self.repo.layout, job)
            self._end(
                record, State.LOST, f"its agents failed {MAX_CRASHES} times; {self.repo.layout.manager_log} says why"
            )

    def _watch(self, jobs: Mapping[str, JobRecord]) -> None:
        """See to it that the end of agents that others started is noticed."""
        self._unwatched = False
        for job in jobs.keys() - set(self._foreign.values()):
            agent = jobs[job].agent
            try:
                if agent is None:
                    raise ProcessLookupError
                pidfd = os.pidfd_open(agent.pid)
            except ProcessLookupError:
                self._unwatched = True
                continue
            self._foreign[pidfd] = job
            self._poll.register(pidfd, select.POLLIN)

    def _most_jobs(self) -> int:
        return _count(self.repo, "gzl.jobs", 2)


def wake(repo: Repo) -> None:
    """Wake the manager of a repository, if there is one."""
    with suppress(FileNotFoundError, BlockingIOError):
        fd = os.open(repo.layout.manager_wake, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.write(fd, b"\n")
        finally:
            os.close(fd)


def slots(repo: Repo) -> int:
    """How many stages of a job may run at once: git config gzl.slots, else the number of processors."""
    return _count(repo, "gzl.slots", default_slots())


def _count(repo: Repo, key: str, default: int) -> int:
    value = repo.config(key)
    if value is None:
        return default
    if not value.isdecimal() or int(value) < 1:
        raise UserError(f"git config {key}: {value!r} is not a count from 1; `git config {key} {default}` mends it")
    return int(value)


def _lane(record: JobRecord) -> str:
    """Jobs of one lane run one after the other: those of one branch. What a person started has a lane of its own."""
    return record.id if record.event == EventKind.MANUAL else record.ref


def _replaceable(repo: Repo, record: JobRecord) -> bool:
    """Whether the job follows a branch's tip. A person's own job, or a tag's, is never dropped."""
    return (
        record.event in (EventKind.PUSH, EventKind.COMMIT, EventKind.MERGE)
        and unfinished.request(repo.layout, record.id).follow_up
    )
