"""Events → jobs: the half of the repo manager that reads the spool.

    spool/new/x  →  claimed as spool/cur/<job>.x  →  job folder  →  `seen`  →  spool file removed

The job's id is in the claimed name, so that an event handled again after a crash makes the same job, once.
"""

import traceback
from collections.abc import Callable
from dataclasses import replace

from gzl.errors import GzlError, TransientError
from gzl.git import refs as git_refs
from gzl.git import source as git_source
from gzl.git.repo import Repo
from gzl.githooks import spool
from gzl.githooks.spool import Claimed
from gzl.kit.clock import Clock
from gzl.kit.crash import point
from gzl.managers.cron import Schedule
from gzl.managers.jobs import Answer, Asked, Known, Nothing, Refused, answer, create
from gzl.managers.settings import read as read_settings
from gzl.model.event import Event, EventKind
from gzl.model.ids import next_job_id
from gzl.model.request import JobRequest
from gzl.notes import branches, store
from gzl.notes.index import open_index
from gzl.records import unfinished
from gzl.records.index import Index

RETRY = 1.0  # seconds until an event is handled again that could not be handled now


class Intake:
    """Handles the events of one repository. `say` gets a line for people about each."""

    def __init__(self, repo: Repo, clock: Clock, say: Callable[[str], None]) -> None:
        self._repo = repo
        self._layout = repo.layout
        self._clock = clock
        self._say = say
        self.settings = read_settings(repo, say)
        self._last_id = ""
        self._seen = spool.read_seen(self._layout)
        self.schedule = Schedule(repo, clock())
        self.troubled = 0
        """How many times in a row something (a full disk, a lock) kept an event from being handled."""

    def handle(self) -> bool:
        """Handle the events that there are; whether any of them is handled now."""
        if ticks := self.schedule.due(self._clock()):
            for event in ticks:
                spool.deposit(self._layout, event)
            self.schedule.keep()
        files = self._claim()
        if not files:
            return False
        self.settings = read_settings(self._repo, self._say)
        with open_index(self._repo) as index:
            for event_file in files:
                self._handle(event_file, index)
        return len(spool.claimed(self._layout)) < len(files)

    def deposit_missed(self) -> None:
        """Tell of the tips that no event told of: a hook was missing, a disk was full, the power failed."""
        for event in self._missed():
            self._say(f"{event.short_ref} moved to {(event.new or 'nothing')[:12]} and no event told of it")
            spool.deposit(self._layout, event)

    def _missed(self) -> list[Event]:
        if self._repo.bare:
            return spool.missed(git_refs.read(self._repo, "refs/heads"), self._seen)
        head = self._repo.symbolic("HEAD")
        tips = git_refs.read(self._repo, head) if head.startswith("refs/heads/") else {}
        known = {name: oid for name, oid in self._seen.items() if name in tips}
        return [replace(event, kind=EventKind.COMMIT) for event in spool.missed(tips, known) if event.new is not None]

    def _claim(self) -> list[Claimed]:
        files = spool.claimed(self._layout)
        for name in spool.pending(self._layout):
            # Ids in the order of the events: of two jobs of a branch the later id is the newer push.
            self._last_id = next_job_id(self._clock(), self._last_id)
            taken = spool.claim(self._layout, name, self._last_id)
            if taken is not None:
                files.append(taken)
        return files

    def _handle(self, event_file: Claimed, index: Index) -> None:
        point("manager.claimed")
        event = spool.read(self._layout, event_file)
        if event is None:
            self._say(f"{event_file.name}: not an event; kept in {self._layout.spool / 'bad'}")
            return
        try:
            said = self._came_of(event_file.job, event, index)
        except (TransientError, OSError) as error:
            self.troubled += 1
            self._say(f"{event.kind} {event.short_ref}: {error}; it is tried again")
            return
        except GzlError as error:
            said = str(error)
        except Exception as error:  # noqa: BLE001  a bug that one event brings out must not stop all others
            why = "".join(traceback.format_exception(error))
            spool.reject(self._layout, event_file, why)
            self._say(f"{event.kind} {event.short_ref}: a bug in gzl, please report it; kept in bad/: {why}")
            return
        self.troubled = 0
        self._say(f"{event.kind} {event.short_ref}: {said}")
        if event.new is None:
            self._seen.pop(event.ref, None)
        else:
            self._seen[event.ref] = event.new
        point("manager.handled")
        spool.write_seen(self._layout, self._seen)
        point("manager.seen")
        spool.done(self._layout, event_file)
        if "gzl.wait" in event.options:
            spool.outcome(self._layout, event_file.name, said)

    def _came_of(self, job: str, event: Event, index: Index) -> str:
        """Make the job of an event; what came of it, in a text whose first word is the job's id if there is one."""
        if event.new is None:
            return self._forget(event)
        if self._layout.job(job).root.exists() or store.recorded(self._repo, self.settings.writer, job):
            return job
        source = git_source.read(self._repo, event.new)
        if source is None:
            return f"{event.new[:12]} is no commit"
        twin = self._twin(event, source.commit)
        if twin is not None:
            return f"{twin} runs for it already"
        asked = Asked(
            job=job,
            event=event,
            source=source,
            writer=self.settings.writer,
            now=self._clock(),
            slots=self.settings.slots,
            targets=event.stages or None,
            again=event.kind is EventKind.CRON,
            follow_up=True,
        )
        return self._carry_out(event, answer(self._repo, asked, index, self.settings.trusted))

    def _carry_out(self, event: Event, outcome: Answer) -> str:
        match outcome:
            case Nothing(because):
                return because
            case Known(record):
                branches.inherit(self._repo, record, event.ref)
                return f"{record.id} {record.state} already, for the same pipeline"
            case Refused(record):
                store.record(self._repo, self.settings.writer, record)
                return f"{record.id} failed: {record.reason}"
            case JobRequest():
                create(self._repo, outcome)
                point("manager.created")
                return outcome.record.id

    def _twin(self, event: Event, commit: str) -> str | None:
        """An unfinished job that an earlier telling made: a tip may be found by a scan and told of by a hook."""
        if event.stages or event.kind is EventKind.CRON:
            return None
        for record in unfinished.unfinished(self._layout):
            if (record.commit, record.ref, record.event) == (commit, event.ref, str(event.kind)):
                return record.id
        return None

    def _forget(self, event: Event) -> str:
        if event.branch is not None:
            branches.forget(self._repo, event.branch)
        return "deleted"
