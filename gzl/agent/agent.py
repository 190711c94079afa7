"""The agent's loop: start what may start, wait for what runs, note what ended. The package says why that is safe."""

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gzl.agent.environment import job_env, stage_env
from gzl.agent.lease import Journal, Lease
from gzl.agent.slots import Slots
from gzl.errors import GzlError
from gzl.git import refs as git_refs
from gzl.git.repo import Repo
from gzl.kit.clock import Clock
from gzl.kit.crash import point
from gzl.kit.fs import append, read_or_none
from gzl.model import refs
from gzl.model.journal import Entry, replay
from gzl.model.record import JobRecord
from gzl.model.request import JobRequest
from gzl.model.result import State
from gzl.planning.plan import plan
from gzl.planning.progress import Progress, verdict
from gzl.records import unfinished
from gzl.runners import attempt
from gzl.runners.base import End, Runner, Work

MAX_ATTEMPTS = 3
BACKOFF = 1.0  # seconds before the second attempt; doubled for each one after
SAMPLE = 0.25  # seconds between two looks at how far the logs have come: the resolution of `logs --timestamps`


@dataclass(frozen=True, slots=True)
class _Running:
    stage: str
    number: int
    slot: int


class HandedOver(GzlError):
    """The agent was asked to leave its job to another one; the workloads go on."""


class Agent:
    """Runs one job to its end; `main` makes it, `wake` may be called from signal handlers."""

    def __init__(
        self,
        repo: Repo,
        lease: Lease,
        request: JobRequest,
        runner: Runner,
        *,
        environ: Mapping[str, str],
        clock: Clock,
        grace: float,
    ) -> None:
        self._repo = repo
        self._lease = lease
        self._layout = lease.layout
        self._runner = runner
        self._clock = clock
        self._grace = grace
        self._journal = Journal(lease)
        self._request = request
        self._plan = plan(self._request.stages)
        self._record = self._replayed()
        self._env = job_env(environ, self._request.env, self._record)
        self._slots = Slots(repo, self.job, self._record.commit, self._request.slots)
        self._running: dict[str, _Running] = {}  # by attempt directory
        self._later: list[tuple[float, str]] = []  # stages to be tried again, by monotonic time
        self._numbers: dict[str, int] = {}  # the highest attempt number of each stage
        self._states: dict[str, State] = {}
        self._sampled = time.monotonic()
        self._sizes: dict[str, int] = {}
        self._stopping: str | None = None
        self._leaving = False
        self._progress: Progress
        self._last: dict[str, tuple[str, str]] = {}

    @property
    def job(self) -> str:
        return self._layout.root.name

    def leave(self) -> None:
        """Hand the job over to a later agent at the next turn of the loop."""
        self._leaving = True
        self._runner.wake()

    def run(self, meanwhile: Callable[[], None]) -> JobRecord:
        """The job's record when all stages have ended. HandedOver if the agent was told to leave before.

        `meanwhile` is called in a thread of its own once the job is no longer a short one.
        """
        if not self._record.state.final:
            self._note(Entry(self._now(), "taken", token=self._lease.token, host=os.uname().nodename, pid=os.getpid()))
            self._resume()
            helper = threading.Thread(target=meanwhile, daemon=True)
            begun = time.monotonic()
            while not self._turn():
                if helper.ident is None and time.monotonic() > begun + SAMPLE:
                    helper.start()
                self._wait()
            self._runner.sweep()
            point("agent.over")
            self._finish()
        return self._replayed()

    def _turn(self) -> bool:
        """Do all that can be done now; whether the job is over."""
        for end in self._runner.ended():
            self._end(end)
        self._sample()
        self._heed_stop()
        self._skip()
        self._start()
        return self._progress.over

    def _wait(self) -> None:
        if self._leaving:
            raise HandedOver(f"{self.job}: left to the next agent")
        wake_at = [when for when, _ in self._later]
        if self._running:
            wake_at.append(self._sampled + SAMPLE)
        self._runner.wait(max(0.0, min(wake_at) - time.monotonic()) if wake_at else None)

    def _sample(self) -> None:
        """Note in `log.t` how long each log is by now: `<bytes> <epoch in milliseconds>`."""
        if time.monotonic() < self._sampled + SAMPLE:
            return
        self._sampled = time.monotonic()
        for name in self._running:
            with suppress(FileNotFoundError):
                size = (Path(name) / "log").stat().st_size
                if size != self._sizes.get(name, 0):
                    self._sizes[name] = size
                    append(Path(name) / "log.t", f"{size} {int(self._now() * 1000)}\n".encode())

    def _resume(self) -> None:
        """Take over from the journal: what ended stays ended, what was begun is adopted or begun again."""
        self._states = {name: s.state for name, s in self._record.stages.items() if s.state.final}
        begun: dict[str, _Running] = {}
        lost: dict[str, int] = {}
        for entry in unfinished.journal(self._repo.layout, self.job):
            if entry.what == "started":
                self._numbers[entry.stage] = entry.attempt
                begun[entry.stage] = _Running(entry.stage, entry.attempt, entry.slot)
            elif entry.what == "ended":
                begun.pop(entry.stage, None)
                lost[entry.stage] = entry.attempt
        for stage, number in lost.items():
            if self._states.get(stage) is State.LOST and number < MAX_ATTEMPTS and not self._request.stages[stage].once:
                del self._states[stage]
        self._progress = Progress(self._plan, self._states)
        self._progress.claim(begun)
        for running in begun.values():
            directory = self._layout.attempt(running.stage, running.number)
            if self._runner.adopt(directory):
                self._running[str(directory)] = running
                self._slots.hold(running.slot)
            else:
                self._progress.put_back(running.stage)

    def _heed_stop(self) -> None:
        if self._stopping is not None:
            return
        asked = read_or_none(self._layout.stop)
        if asked is None:
            return
        self._stopping = asked.decode(errors="replace").strip() or "stopped"
        for directory in self._running:
            self._runner.stop(Path(directory), self._grace)
        for stage in [*self._progress.unstarted(), *(stage for _, stage in self._later)]:
            self._settle(Entry(self._now(), "skipped", stage, reason=self._stopping), State.SKIPPED)
        self._later.clear()

    def _skip(self) -> None:
        while skips := self._progress.skips():
            for skip in skips:
                self._settle(Entry(self._now(), "skipped", skip.stage, reason=skip.because), State.SKIPPED)

    def _start(self) -> None:
        if self._stopping is not None:
            return
        now = time.monotonic()
        for when, again in [entry for entry in self._later if entry[0] <= now]:
            self._later.remove((when, again))
            self._progress.put_back(again)
        while not self._slots.full and (stage := self._progress.pop()) is not None:
            if self._request.stages[stage].steps:
                self._begin(stage)
            else:
                self._settle(Entry(self._now(), "ended", stage, state=State.PASSED), State.PASSED)
                self._skip()

    def _begin(self, name: str) -> None:
        stage = self._request.stages[name]
        slot = self._slots.take()
        number = self._numbers.get(name, 0) + 1
        self._numbers[name] = number
        directory = self._layout.attempt(name, number)
        problem, workspace = "", directory
        try:
            workspace = self._slots.prepare(slot)
        except (GzlError, OSError) as error:
            problem = f"no workspace: {error}"
        # Only now: a stage's time is its workload's, and an agent that dies on the way here has begun nothing.
        self._note(Entry(self._now(), "started", name, number, slot))
        point("agent.started")
        self._running[str(directory)] = _Running(name, number, slot)
        try:
            if not problem:
                last = self._last_of(name)
                env = stage_env(self._env, stage, attempt=directory, workspace=workspace, last=last)
                self._runner.start(Work(directory, workspace, attempt.shell(stage), attempt.script(stage), env))
        except OSError as error:
            problem = f"could not be started: {error}"
        if problem:
            self._end(End(directory, None, None, problem))
        point("agent.spawned")

    def _end(self, end: End) -> None:
        running = self._running.pop(str(end.directory))
        self._slots.free(running.slot)
        point("agent.ended")
        state, reason = self._judge(end)
        entry = Entry(self._now(), "ended", running.stage, running.number, state=state, exit=end.exit, reason=reason)
        retry = (
            state is State.LOST
            and self._stopping is None
            and not self._request.stages[running.stage].once
            and running.number < MAX_ATTEMPTS
        )
        if retry:
            self._note(entry)
            self._later.append((time.monotonic() + BACKOFF * 2 ** (running.number - 1), running.stage))
        else:
            self._settle(entry, state)
        point("agent.noted")

    def _judge(self, end: End) -> tuple[State, str]:
        if self._stopping is not None:
            return State.STOPPED, self._stopping
        if end.exit is None or end.log_bytes is None:
            return State.LOST, end.reason
        try:
            there = (end.directory / "log").stat().st_size
        except FileNotFoundError:
            there = -1
        if there < end.log_bytes:
            # Somebody removed or truncated it (`>/dev/stderr` opens the log anew): green would be a guess.
            missing = f"its log has {max(there, 0)} bytes of {end.log_bytes}"
            return (
                State.FAILED,
                f"{missing}; a step that writes to /dev/stdout or /dev/stderr truncates it, >&2 does not",
            )
        return (State.PASSED, "") if end.exit == 0 else (State.FAILED, _explain(end.exit))

    def _settle(self, entry: Entry, state: State) -> None:
        """A stage has come to its final state."""
        self._note(entry)
        self._states[entry.stage] = state
        self._progress.end(entry.stage, state)

    def _finish(self) -> None:
        asked = self._request.record.targets
        state = State.STOPPED if self._stopping is not None else verdict(self._plan, self._states, asked)
        self._note(Entry(self._now(), "finished", state=state, reason=self._stopping or ""))
        point("agent.finished")

    def _last_of(self, stage: str) -> tuple[str, str]:
        if not self._last:
            self._last = _last_commits(self._repo, self._record)
        return self._last.get(stage, ("", ""))

    def _replayed(self) -> JobRecord:
        return replay(self._request.record, unfinished.journal(self._repo.layout, self.job))

    def _note(self, entry: Entry) -> None:
        self._journal.write(entry)

    def _now(self) -> float:
        return self._clock()


def _explain(status: int) -> str:
    """What an exit status means where sh gives it a meaning of its own (POSIX, XCU 2.8.2)."""
    if status == 126:
        return "found but not executable"
    if status == 127:
        return "command not found"
    return f"killed by signal {status - 128}" if 128 < status <= 192 else ""


def _last_commits(repo: Repo, job: JobRecord) -> dict[str, tuple[str, str]]:
    """For each stage, the commits that it last ran and last passed on, on the job's branch."""
    found = dict.fromkeys(job.stages, ("", ""))
    branch = refs.short_branch(job.ref)
    if branch is not None:
        names = {refs.last(stage, branch): (stage, 0) for stage in job.stages}
        names |= {refs.passed(stage, branch): (stage, 1) for stage in job.stages}
        for name, commit in git_refs.read(repo, "refs/gzl/last", "refs/gzl/passed").items():
            if name in names:
                stage, place = names[name]
                found[stage] = (commit, found[stage][1]) if place == 0 else (found[stage][0], commit)
    return found
