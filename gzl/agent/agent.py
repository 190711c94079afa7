"""The agent's loop: start what may start, wait for what runs, note what ended. The package says why that is safe."""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from gzl.agent.conditions import Conditions, Go, Reuse, Unchanged
from gzl.agent.desk import Chores, Desk
from gzl.agent.lease import Lease
from gzl.agent.limits import Limits, Moment, Watch, limits_of
from gzl.agent.preparation import Preparation
from gzl.agent.slots import Slots
from gzl.agent.state import Begun, JobState
from gzl.agent.vault import Unfit
from gzl.errors import GzlError
from gzl.git.repo import Repo
from gzl.kit.clock import Clock
from gzl.kit.crash import point
from gzl.kit.fs import NotPlain, append, read_or_none, regular_size
from gzl.model.pipeline import Stage
from gzl.model.record import JobRecord, usage_data
from gzl.model.request import Added, JobRequest
from gzl.model.result import State
from gzl.planning.plan import Plan
from gzl.planning.progress import NOTHING_CHANGED, Skip
from gzl.records import unfinished
from gzl.runners import attempt
from gzl.runners.base import End, Runner, Work

BACKOFF = 1.0  # seconds before the second attempt; doubled for each one after
SAMPLE = 0.25  # seconds between two looks at how far the logs have come: the resolution of `logs --timestamps`


class HandedOver(GzlError):
    """The agent was asked to leave its job to another one; the workloads go on."""


class Agent:
    """Runs one job to its end. It is the `desk.Job` of what other threads ask through its `desk`."""

    def __init__(
        self,
        repo: Repo,
        lease: Lease,
        request: JobRequest,
        runner: Runner,
        *,
        conditions: Conditions,
        preparation: Preparation,
        clock: Clock,
        grace: float,
    ) -> None:
        self._repo = repo
        self._layout = lease.layout
        self._runner = runner
        self._clock = clock
        self._grace = grace
        self._request = request
        self._state = JobState(lease, request, unfinished.journal(repo.layout, self.job), clock)
        self._token = lease.token
        self.desk = Desk(runner.wake)
        self._chores = Chores(runner.wake)
        self._conditions = conditions
        self._preparation = preparation
        self._watch = Watch(Limits(request.timeout, request.idle), self._moment(), self.record.started)
        self._slots = Slots(repo, self.job, request.record.commit, request.slots)
        self._running: dict[str, Begun] = {}  # by attempt directory
        self._later: list[tuple[float, str]] = []  # stages to be tried again, by monotonic time
        self._lent: Counter[str] = Counter()
        self._sampled = time.monotonic()
        self._sizes: dict[str, int] = {}
        self._overdue: dict[str, str] = {}  # attempt directory → the limit that it went over
        self._stopping: str | None = None
        self._stopped_as = State.STOPPED
        self._leaving = False

    @property
    def job(self) -> str:
        return self._layout.root.name

    def leave(self) -> None:
        """Hand the job over to a later agent at the next turn of the loop; for signal handlers."""
        self._leaving = True
        self._runner.wake()

    def run(self, meanwhile: Callable[[], None]) -> JobRecord:
        """The job's record when all stages have ended. HandedOver if the agent was told to leave before.

        `meanwhile` is called in a thread of its own once the job is no longer a short one.
        """
        if not self.record.state.final:
            self._state.note("taken", token=self._token, host=os.uname().nodename, pid=os.getpid())
            self._preparation.expect(self.stages.values())
            self._adopt()
            helper = threading.Thread(target=meanwhile, daemon=True)
            begun = time.monotonic()
            while not self._turn():
                if helper.ident is None and time.monotonic() > begun + SAMPLE:
                    helper.start()
                self._wait()
            self.desk.close()
            self._runner.sweep()
            point("agent.over")
            self._finish()
        return self.record

    # What other threads may do, through the desk: see `desk.Job`.

    @property
    def record(self) -> JobRecord:
        return self._state.record

    @property
    def plan(self) -> Plan:
        return self._state.plan

    @property
    def stages(self) -> Mapping[str, Stage]:
        return self._state.stages

    def attempt(self, stage: str) -> int | None:
        begun = self._state.begun.get(stage)
        return begun.number if begun is not None and self._directory(begun) in self._running else None

    def begun(self) -> frozenset[str]:
        return frozenset(self._state.stages) - frozenset(self._state.progress.unstarted())

    def tell(self, what: str, stage: str, attempt: int, data: Mapping[str, Any]) -> None:
        self._state.note(what, stage, attempt, data=data)
        self.desk.announce()

    def grow(self, added: Added, stage: str) -> None:
        self._preparation.expect(added.stages)
        self._state.grow(added, stage)

    def heartbeat(self, stage: str) -> None:
        """The log's time of change is when the stage last said something: whichever agent looks at it, finds it."""
        with suppress(FileNotFoundError):
            os.utime(Path(self._directory(self._state.begun[stage])) / "log", follow_symlinks=False)

    def lend(self, stage: str) -> None:
        self._lent[stage] += 1
        if self._lent[stage] == 1:
            self._slots.lend(1)

    def take_back(self, stage: str) -> None:
        self._lent[stage] -= 1
        if self._lent[stage] == 0:
            self._slots.lend(-1)

    # The loop.

    def _turn(self) -> bool:
        """Do all that can be done now; whether the job is over."""
        for end in self._runner.ended():
            self._end(end)
        self._chores.serve()
        self.desk.serve()
        self._sample()
        self._heed_stop()
        self._heed_limits()
        self._skip()
        self._start()
        return self._state.progress.over

    def _wait(self) -> None:
        if self._leaving:
            self.desk.close()
            raise HandedOver(f"{self.job}: left to the next agent")
        wake_at = [when for when, _ in self._later]
        if self._running:
            wake_at.append(self._sampled + SAMPLE)
        if (deadline := self._watch.next_deadline()) is not None:
            wake_at.append(deadline)
        self._runner.wait(max(0.0, min(wake_at) - time.monotonic()) if wake_at else None)

    def _sample(self) -> None:
        """Note in `log.t` how long each log is by now: `<bytes> <epoch in milliseconds>`."""
        if time.monotonic() < self._sampled + SAMPLE:
            return
        self._sampled = time.monotonic()
        for name in self._running:
            with suppress(FileNotFoundError, NotPlain):  # its end will say so
                size = regular_size(Path(name) / "log")
                if size != self._sizes.get(name, 0):
                    self._sizes[name] = size
                    append(Path(name) / "log.t", f"{size} {int(self._clock() * 1000)}\n".encode())

    def _adopt(self) -> None:
        """Take over what an earlier agent began: what runs is adopted, what never ran is begun again."""
        for begun in list(self._state.begun.values()):
            directory = self._directory(begun)
            if self._runner.adopt(Path(directory)):
                self._running[directory] = begun
                self._slots.hold(begun.slot)
                since = self.record.stages[begun.stage].attempts[-1].started
                self._watch.begin(Path(directory), limits_of(self.stages[begun.stage]), self._moment(), since)
            else:
                self._state.begun.pop(begun.stage)
                self._state.progress.put_back(begun.stage)

    def _heed_stop(self) -> None:
        if self._stopping is not None:
            return
        asked = read_or_none(self._layout.stop)
        if asked is not None:
            self._stop(asked.decode(errors="replace").strip() or "stopped")

    def _heed_limits(self) -> None:
        for late in self._watch.overdue(self._moment()) if self._stopping is None else ():
            if late.directory is None:
                self._stopped_as = State.TIMED_OUT
                self._stop(late.reason)
            elif str(late.directory) in self._running:
                self._overdue[str(late.directory)] = late.reason
                self._runner.stop(late.directory, self._grace)

    def _stop(self, reason: str) -> None:
        """Stop all that runs; nothing else begins."""
        self._stopping = reason
        for directory in self._running:
            self._runner.stop(Path(directory), self._grace)
            self._watch.end(Path(directory), self._moment())
        for stage in [*self._state.progress.unstarted(), *(stage for _, stage in self._later)]:
            self._state.skip(Skip(stage, reason))
        self._later.clear()
        self.desk.announce()

    def _skip(self) -> None:
        while skips := self._state.progress.skips():
            for skip in skips:
                self._state.skip(skip)
            self.desk.announce()

    def _start(self) -> None:
        now = time.monotonic()
        for when, again in [entry for entry in self._later if entry[0] <= now]:
            self._later.remove((when, again))
            self._state.progress.put_back(again)
        while self._stopping is None and not self._slots.full and (name := self._state.progress.pop()) is not None:
            self._begin(name)
            self._skip()

    def _begin(self, name: str) -> None:
        stage = self._state.stages[name]
        match self._conditions.decide(stage, self.record, self.plan) if stage.options or not stage.steps else Go():
            case Unchanged() as unchanged:
                self._state.note("skipped", name, reason=unchanged.reason, data=unchanged.data)
                self._settle(name, State.SKIPPED, unchanged=True)
            case Reuse(key=key) as reuse:
                self._state.note("reused", name, key=key, reason=reuse.reason, data=reuse.data)
                self._settle(name, State.PASSED)
            case Go() if not stage.steps:
                self._state.note("ended", name, state=State.PASSED)
                self._settle(name, State.PASSED)
            case Go(key, because):
                self._launch(name, key, because)

    def _launch(self, name: str, key: str, remark: str) -> None:
        begun = Begun(name, self._state.next_attempt(name), self._slots.take())
        stage, remarks = self._state.stages[name], [remark]
        try:
            workspace = self._slots.prepare(begun.slot)
        except (GzlError, OSError) as error:
            self._spawn(begun, key, None, f"no workspace: {error}", remarks)
            return
        if "cache" in stage.options:
            self._chores.begin(
                lambda: self._preparation.restore(stage, workspace),
                lambda said: self._spawn(begun, key, workspace, "", [*remarks, said]),
            )
        else:
            self._spawn(begun, key, workspace, "", remarks)

    def _spawn(self, begun: Begun, key: str, workspace: Path | None, problem: str, remarks: list[str]) -> None:
        if self._stopping is not None:  # while its cache was restored
            self._slots.free(begun.slot)
            self._state.skip(Skip(begun.stage, self._stopping))
            return
        stage, directory = self._state.stages[begun.stage], self._layout.attempt(begun.stage, begun.number)
        # Only now: a stage's time is its workload's, and an agent that dies on the way here has begun nothing.
        self._state.start(begun, key)
        point("agent.started")
        self._running[str(directory)] = begun
        limits = limits_of(stage)
        self._watch.begin(directory, limits, self._moment())
        self._remark(begun, *remarks)
        state = State.LOST
        try:
            if workspace is not None:
                env = self._preparation.env(stage, begun.number, directory, workspace, self._state)
                parts = attempt.shell(stage), attempt.script(stage)
                self._runner.start(Work(directory, workspace, *parts, env, contained=bool(limits)))
        except Unfit as error:
            state, problem = State.FAILED, str(error)
        except OSError as error:
            problem = f"could not be started: {error}"
        if problem:
            del self._running[str(directory)]
            self._watch.end(directory, self._moment())
            self._conclude(begun, End(directory, None, None), state, problem, self._clock())
        point("agent.spawned")

    def _end(self, end: End) -> None:
        """An attempt's workload has ended."""
        begun = self._running.pop(str(end.directory))
        self._watch.end(end.directory, self._moment())
        point("agent.ended")
        (state, reason), at = self._judge(end), self._clock()
        stage = self._state.stages[begun.stage]
        if state is State.PASSED and "cache" in stage.options:
            # It keeps its slot, and nobody follows it, until its workspace is no longer read. An agent that is killed
            # meanwhile has not noted the end: the next one finds it, and saves again.
            workspace = self._slots.workspace(begun.slot)
            self._chores.begin(
                lambda: self._preparation.save(stage, workspace),
                lambda said: self._conclude(begun, end, state, reason, at, said),
            )
        else:
            self._conclude(begun, end, state, reason, at)
        point("agent.noted")

    def _conclude(self, begun: Begun, end: End, state: State, reason: str, at: float, *remarks: str) -> None:
        """An attempt has ended; whether another one follows."""
        self._slots.free(begun.slot)
        self._remark(begun, *remarks)
        data = usage_data(end.usage) if end.usage is not None else None
        self._state.note(
            "ended", begun.stage, begun.number, time=at, state=state, exit=end.exit, reason=reason, data=data
        )
        if state is State.LOST and self._stopping is None and self._state.may_try_again(begun):
            self._state.begun.pop(begun.stage)
            self._later.append((time.monotonic() + BACKOFF * 2 ** (begun.number - 1), begun.stage))
        else:
            self._settle(begun.stage, state)

    def _remark(self, begun: Begun, *remarks: str) -> None:
        for remark in filter(None, remarks):
            self._state.note("remark", begun.stage, begun.number, reason=remark)

    def _judge(self, end: End) -> tuple[State, str]:
        if self._stopping is not None:
            return self._stopped_as, self._stopping
        if (limit := self._overdue.pop(str(end.directory), None)) is not None:
            return State.TIMED_OUT, limit
        if end.exit is None or end.log_bytes is None:
            return State.LOST, end.reason
        try:
            there = regular_size(end.directory / "log")
        except FileNotFoundError:
            there = -1
        except NotPlain as error:
            return State.FAILED, str(error)
        if there < end.log_bytes:
            # Somebody removed or truncated it (`>/dev/stderr` opens the log anew): green would be a guess.
            missing = f"its log has {max(there, 0)} bytes of {end.log_bytes}"
            return (
                State.FAILED,
                f"{missing}; a step that writes to /dev/stdout or /dev/stderr truncates it, >&2 does not",
            )
        said = "; ".join(filter(None, (_explain(end.exit), end.reason)))
        return (State.PASSED if end.exit == 0 else State.FAILED), said

    def _settle(self, stage: str, state: State, *, unchanged: bool = False) -> None:
        self._state.settle(stage, state, unchanged=unchanged)
        self.desk.announce()

    def _finish(self) -> None:
        state = self._stopped_as if self._stopping is not None else self._state.verdict()
        self._state.note(
            "finished", state=state, reason=self._stopping or (NOTHING_CHANGED if state is State.SKIPPED else "")
        )
        point("agent.finished")

    def _moment(self) -> Moment:
        return Moment(time.monotonic(), self._clock())

    def _directory(self, begun: Begun) -> str:
        return str(self._layout.attempt(begun.stage, begun.number))


def _explain(status: int) -> str:
    """What an exit status means where sh gives it a meaning of its own (POSIX, XCU 2.8.2)."""
    if status == 126:
        return "found but not executable"
    if status == 127:
        return "command not found"
    return f"killed by signal {status - 128}" if 128 < status <= 192 else ""
