"""Files of gzl in a repository, under `$GIT_COMMON_DIR/gzl`: every path that two parts of gzl share is named here."""

from dataclasses import dataclass
from pathlib import Path

from gzl.model.refs import encode


@dataclass(frozen=True, slots=True)
class Layout:
    """gzl's folder of one repository."""

    root: Path

    @property
    def spool(self) -> Path:
        """Maildir of events: hooks write in `tmp/` and rename to `new/`; the manager claims into `cur/`."""
        return self.root / "spool"

    @property
    def seen(self) -> Path:
        """The branch tips that events told of, `<hex> <ref>` a line: what differs at a manager's start was missed."""
        return self.root / "seen"

    @property
    def manager_lock(self) -> Path:
        """Locked by the repo manager as long as it lives."""
        return self.root / "manager.lock"

    @property
    def manager_pid(self) -> Path:
        """`<pid> <start time>` of a manager that will look at the spool again; while it lives hooks start no other."""
        return self.root / "manager.pid"

    @property
    def manager_wake(self) -> Path:
        """A FIFO: a byte written here wakes the manager."""
        return self.root / "manager.wake"

    @property
    def manager_log(self) -> Path:
        """What managers and agents that were started in the background say."""
        return self.root / "manager.log"

    @property
    def store_lock(self) -> Path:
        """Held while results are written to refs."""
        return self.root / "store.lock"

    @property
    def index(self) -> Path:
        """The SQLite index over the ledgers."""
        return self.root / "index.sqlite"

    @property
    def logs(self) -> Path:
        """Logs too large for a ref, `<first two>/<rest>` of their SHA-256."""
        return self.root / "logs"

    @property
    def objects(self) -> Path:
        """The embedded object store, and what a remote one keeps on this machine."""
        return self.root / "objects"

    @property
    def retired(self) -> Path:
        """The ids of jobs of which retention has removed artifacts or large logs, one a line."""
        return self.root / "retired"

    @property
    def gc_lock(self) -> Path:
        """Held by `gzl gc`; its time is when the last one began."""
        return self.root / "gc.lock"

    @property
    def secrets(self) -> Path:
        """A file for each secret, mode 0600, in a folder that is its owner's alone."""
        return self.root / "secrets"

    @property
    def caches(self) -> Path:
        """What stages' `cache=` options name: where the objects are, a folder for each option."""
        return self.root / "caches"

    @property
    def work(self) -> Path:
        """Workspaces, a folder for each parallel slot."""
        return self.root / "work"

    @property
    def jobs(self) -> Path:
        """A folder for each job that is not recorded yet."""
        return self.root / "jobs"

    def job(self, job: str) -> "JobLayout":
        return JobLayout(self.jobs / job)


@dataclass(frozen=True, slots=True)
class JobLayout:
    """The folder of one unfinished job."""

    root: Path

    @property
    def request(self) -> Path:
        """What is to be run, written once when the job is made."""
        return self.root / "request.json"

    @property
    def journal(self) -> Path:
        """What happened, a JSON object a line, only ever appended to."""
        return self.root / "journal"

    @property
    def lease(self) -> Path:
        """Locked by the agent that runs the job; its text is the fencing token."""
        return self.root / "lease"

    @property
    def tries(self) -> Path:
        """A byte for each agent that has begun and neither ended the job nor handed it over."""
        return self.root / "tries"

    @property
    def stop(self) -> Path:
        """Exists once somebody asked for the job to be stopped; its text says who."""
        return self.root / "stop"

    @property
    def api(self) -> Path:
        """Where the Job API of the job's agent listens: its URL, and in a second line its Unix socket."""
        return self.root / "api"

    @property
    def api_key(self) -> Path:
        """The key of the job's tokens, mode 0600."""
        return self.root / "api.key"

    @property
    def secrets(self) -> Path:
        """The values that must not be seen in the job's logs, each ended by NUL, mode 0600; none where it has none."""
        return self.root / "secrets"

    @property
    def joined(self) -> Path:
        """A file for each stage of another job that waits for this one: `<job> <stage>`, and before it, in the same
        form, what waits for that job."""
        return self.root / "joined"

    def attempt(self, stage: str, number: int) -> Path:
        """The attempt directory of a stage: `script`, `env`, `log`, `steps`, `pid`, `rc`."""
        return self.root / "stages" / f"{encode(stage)}.{number}"
