"""Following a job from outside: what its journal says, what its logs say, until it is recorded.

Nothing here is asked of the agent: the files are read, ten to thirty times a second, because a person looks on.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from gzl.errors import UserError
from gzl.git.repo import Repo
from gzl.kit.fs import is_locked, read_or_none
from gzl.logs import store as log_store
from gzl.model.journal import Entry, entries, replay
from gzl.model.record import JobRecord, StageResult
from gzl.model.request import JobRequest
from gzl.model.result import State
from gzl.notes.ledger import read_job
from gzl.records import unfinished

_AGENT_DUE = 1.0  # seconds without an agent after which somebody should start one


@dataclass(frozen=True, slots=True)
class Output:
    """Bytes that an attempt wrote."""

    stage: str
    data: bytes


@dataclass
class Follower:
    """A job that is not recorded yet, or was not when this was made."""

    repo: Repo
    job: str
    request: JobRequest
    record: JobRecord
    _offset: int = 0
    _logs: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)  # attempt → (fd or -1, bytes told)
    _open: set[tuple[str, int]] = field(default_factory=set)
    _unattended_since: float | None = None
    over: bool = False

    @classmethod
    def of(cls, repo: Repo, job: str) -> "Follower | None":
        """None for a job that is recorded already."""
        try:
            request = unfinished.request(repo.layout, job)
        except UserError:
            return None
        return cls(repo, job, request, request.record)

    @classmethod
    def replay(cls, repo: Repo, record: JobRecord) -> "Follower":
        """For a job that was over before anybody could look: tells all of it in one poll."""
        before = replace(record, state=State.WAITING, stages={name: StageResult(name) for name in record.stages})
        return cls(repo, record.id, JobRequest(before, {}), before)

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
                self._close((entry.stage, entry.attempt))
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
        lines = (read_or_none(directory / "steps") or b"").split(b"\n")
        steps = self.request.stages[stage].steps
        number = int(lines[-2].split()[0]) if len(lines) > 1 else 0
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
        fd, told = self._logs.get(key, (-1, 0))
        if fd < 0:
            path = self.repo.layout.job(self.job).attempt(*key) / "log"
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return
        while data := os.pread(fd, 65536, told):
            told += len(data)
            yield Output(key[0], data)
        self._logs[key] = (fd, told)

    def _close(self, key: tuple[str, int]) -> None:
        self._open.discard(key)
        fd, told = self._logs.get(key, (-1, 0))
        if fd >= 0:
            os.close(fd)
            self._logs[key] = (-1, told)

    def _rest(self) -> Iterator[Entry | Output]:
        """The job was recorded: what was not seen while it ran is in its record and in the log store."""
        record = read_job(self.repo, self.job)
        if record is None:
            raise UserError(f"{self.job}: its folder is gone and no ledger has it; `gzl fsck` says what is wrong")
        before, self.record = self.record, record
        for stage in record.stages.values():
            for attempt in stage.attempts:
                told = self._logs.get((stage.name, attempt.number), (-1, 0))[1]
                if attempt.log is not None and attempt.log.bytes > told:
                    with log_store.open_log(self.repo, record, stage.name, attempt.number) as file:
                        file.seek(told)
                        while data := file.read(65536):
                            yield Output(stage.name, data)
            if not before.stages[stage.name].state.final:
                yield Entry(
                    stage.finished or 0.0, "skipped" if stage.state is State.SKIPPED else "ended", stage.name,
                    attempt=stage.attempts[-1].number if stage.attempts else 0, state=stage.state, exit=stage.exit,
                    reason=stage.skipped_because or (stage.attempts[-1].reason if stage.attempts else ""),
                )  # fmt: skip
        for key in list(self._open):
            self._close(key)
        self.over = True


def tail_of(path: Path, lines: int) -> list[bytes]:
    """The last lines of a file, of its last 64 KiB at most."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 65536))
            return file.read().splitlines()[-lines:]
    except FileNotFoundError:
        return []
