"""Following a job from outside: what its journal says, what its logs say, until it is recorded.

Nothing here is asked of the agent: the files are read, ten to thirty times a second, because a person looks on.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from gzl.errors import GzlError, UserError
from gzl.git.repo import Repo
from gzl.kit.fs import NotPlain, is_locked
from gzl.kit.mask import Masker
from gzl.logs import live, times
from gzl.logs import store as log_store
from gzl.logs.live import LiveLog
from gzl.logs.masking import masker
from gzl.model.journal import Entry, entries, replay
from gzl.model.record import Attempt, JobRecord, StageResult
from gzl.model.request import JobRequest
from gzl.model.result import State
from gzl.notes.ledger import read_job
from gzl.objects import opening
from gzl.objects.base import ObjectStore
from gzl.records import unfinished
from gzl.runners.attempt import read_steps

_AGENT_DUE = 1.0  # seconds without an agent after which somebody should start one


@dataclass(frozen=True, slots=True)
class Output:
    """Bytes that an attempt wrote, masked, and when they were there, where that was asked for and noted."""

    stage: str
    data: bytes
    time: float | None = None


@dataclass
class Follower:
    """A job that is not recorded yet, or was not when this was made."""

    repo: Repo
    job: str
    request: JobRequest
    record: JobRecord
    environ: Mapping[str, str]
    """Has the credentials of the object store."""
    timed: bool = False
    """Whether output has times."""
    _offset: int = 0
    _logs: dict[tuple[str, int], LiveLog] = field(default_factory=dict)
    _told: dict[tuple[str, int], int] = field(default_factory=dict)  # masked bytes, of attempts that ended
    _open: set[tuple[str, int]] = field(default_factory=set)
    _unattended_since: float | None = None
    over: bool = False

    @classmethod
    def of(cls, repo: Repo, job: str, environ: Mapping[str, str], *, timed: bool = False) -> "Follower | None":
        """None for a job that is recorded already."""
        try:
            request = unfinished.request(repo.layout, job)
        except UserError:
            return None
        return cls(repo, job, request, request.record, environ, timed)

    @classmethod
    def replay(cls, repo: Repo, record: JobRecord, environ: Mapping[str, str]) -> "Follower":
        """For a job that was over before anybody could look: tells all of it in one poll."""
        before = replace(record, state=State.WAITING, stages={name: StageResult(name) for name in record.stages})
        return cls(repo, record.id, JobRequest(before, {}), before, environ)

    def poll(self) -> Iterator[Entry | Output]:
        """What happened since the last poll, in order as far as it can be told. At the end `record` is the job's record
        and `over` is set."""
        gone = not self.repo.layout.job(self.job).root.exists()
        for entry in self._news():
            if entry.what == "started":
                self._open.add((entry.stage, entry.attempt))
            yield from self._tails()
            self.record = replay(self.record, [entry])
            if entry.what == "ended":
                yield from self._close((entry.stage, entry.attempt))
            yield entry
        yield from self._tails()
        if gone:
            yield from self._rest()

    def step(self, stage: str) -> tuple[int, str] | None:
        """The step that a running stage is at: its number and its text."""
        attempts = self.record.stages[stage].attempts
        if not attempts:
            return None
        directory = self.repo.layout.job(self.job).attempt(stage, attempts[-1].number)
        try:
            begun = read_steps(directory)
        except NotPlain:  # its end will say so
            return None
        asked = self.request.stages.get(stage)  # none for a stage that was added while the job ran
        steps = asked.steps if asked is not None else ()
        number = begun[-1][0] if begun else 0
        return (number, steps[number - 1].text) if 0 < number <= len(steps) else None

    def unattended(self) -> bool:
        """Whether no agent has been at work on the job for some time, so that one should be started."""
        layout = self.repo.layout.job(self.job)
        if self.over or not layout.root.exists() or is_locked(layout.lease):
            self._unattended_since = None
            return False
        now = time.monotonic()
        self._unattended_since = self._unattended_since or now
        if now - self._unattended_since < _AGENT_DUE:
            return False
        self._unattended_since = None
        return True

    def tail(self, stage: str, attempt: int, lines: int) -> list[bytes]:
        """The last lines that an attempt of the unfinished job wrote."""
        try:
            return live.tail(self.repo.layout.job(self.job).attempt(stage, attempt), lines, self._masker())
        except NotPlain as error:
            return [str(error).encode(errors="replace")]

    def _masker(self) -> Masker:
        return masker(self.repo.layout.job(self.job))

    def _news(self) -> Iterator[Entry]:
        path = self.repo.layout.job(self.job).journal
        try:
            with path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        yield from entries(whole)

    def _tails(self) -> Iterator[Output]:
        for key in list(self._open):
            yield from self._tail(key)

    def _tail(self, key: tuple[str, int]) -> Iterator[Output]:
        if key not in self._logs:
            try:
                directory = self.repo.layout.job(self.job).attempt(*key)
                self._logs[key] = LiveLog(directory, self._masker(), timed=self.timed)
            except FileNotFoundError:
                return
            except NotPlain as error:
                self._open.discard(key)
                yield Output(key[0], f"gzl: {error}\n".encode(errors="replace"))
                return
        for piece in self._logs[key].news():
            yield Output(key[0], piece.data, piece.time)

    def _close(self, key: tuple[str, int]) -> Iterator[Output]:
        self._open.discard(key)
        log = self._logs.pop(key, None)
        if log is not None:
            for piece in log.finish():
                yield Output(key[0], piece.data, piece.time)
            self._told[key] = log.told
            log.close()

    def _rest(self) -> Iterator[Entry | Output]:
        """The job was recorded: what was not seen while it ran is in its record and in the log store."""
        record = read_job(self.repo, self.job)
        if record is None:
            raise UserError(f"{self.job}: its folder is gone and no ledger has it; `gzl fsck` says what is wrong")
        for key in list(self._open):
            yield from self._close(key)
        before, self.record = self.record, record
        for stage in record.stages.values():
            for attempt in stage.attempts:
                yield from self._untold(record, stage.name, attempt)
            known = before.stages.get(stage.name)
            if known is None or not known.state.final:
                yield Entry(
                    stage.finished or 0.0, "skipped" if stage.state is State.SKIPPED else "ended", stage.name,
                    attempt=stage.attempts[-1].number if stage.attempts else 0, state=stage.state, exit=stage.exit,
                    reason=stage.skipped_because or (stage.attempts[-1].reason if stage.attempts else ""),
                )  # fmt: skip
        self.over = True

    def _untold(self, record: JobRecord, stage: str, attempt: Attempt) -> Iterator[Output]:
        told = self._told.get((stage, attempt.number), 0)
        if attempt.log is None or attempt.log.bytes <= told:
            return
        try:
            when = times.read(self.repo, record, stage, attempt) if self.timed else times.Times([], [])
            with log_store.open_log(self.repo, record, stage, attempt.number, self._objects, offset=told) as file:
                for piece in times.timed(file, when, told):
                    yield Output(stage, piece.data, piece.time)
        except GzlError as error:  # that a log cannot be shown changes nothing about the job
            yield Output(stage, f"gzl: {error}\n".encode(errors="replace"))

    def _objects(self) -> ObjectStore:
        return opening.of(self.repo, self.environ)
