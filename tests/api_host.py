"""A small `Host` in memory, for tests of what is in front of it: one job, attempts that run, artifacts as bytes."""

import hashlib
import io
import os
import tarfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from gzl.gzlfile import GzlfileError, load
from gzl.jobapi import junit
from gzl.jobapi.host import Artifact, Caller, Kind, Outcome, Refused, Stored, Totals
from gzl.jobapi.listener import Listener
from gzl.jobapi.tokens import Tokens
from gzl.model.layout import JobLayout

JOB = "01jdf3k2q8v0h6m4c1x9z7n5ra"
HOSTILE = [
    "", ".", "..", "/etc/passwd", "../up", "a/../../b", "a/./b", "a//b", "a/", "a\\..\\b", "nul\0", "line\nend",
    "tab\t", "x" * 256, "ä" * 128, "esc\x1b[2J", "rtl\u202etxt.exe", "zero\u200bwidth", "‥/dots", "／etc", "．．/wide",
    "byte\udcff", "\ufffd", "line\u2028", "private\ue000",
]  # fmt: skip


@dataclass
class MemoryHost:
    """See `gzl.jobapi.host.Host`. Tests look at its fields and change them."""

    tokens: Tokens
    shared: bool = True
    running: dict[str, int] = field(default_factory=lambda: {"build": 1, "test": 1})
    states: dict[str, str] = field(default_factory=lambda: {"build": "running", "test": "running"})
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    artifacts: dict[str, tuple[Artifact, bytes]] = field(default_factory=dict)
    last: dict[tuple[str, bool], str] = field(default_factory=dict)
    paths: list[str] = field(default_factory=list)
    comments: list[tuple[str, str]] = field(default_factory=list)
    steps: list[tuple[str, int, int | None, str]] = field(default_factory=list)
    reports: dict[str, Totals] = field(default_factory=dict)
    beats: list[str] = field(default_factory=list)
    over: bool = False
    released: bool = False
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def caller(self, token: str) -> Caller:
        stage, attempt = self.tokens.read(token)
        with self._changed:
            if self.over or self.running.get(stage) != attempt:
                raise Refused(f"attempt {attempt} of {stage} has ended", 410)
        return Caller(JOB, stage, attempt, self.shared)

    def heartbeat(self, caller: Caller) -> None:
        self.beats.append(caller.stage)

    def out(self, caller: Caller, values: Mapping[str, str]) -> None:
        with self._changed:
            self.outputs.setdefault(caller.stage, {}).update(values)
            self._changed.notify_all()

    def end(self, stage: str, state: str) -> None:
        """The stage comes to its end."""
        with self._changed:
            self.running.pop(stage, None)
            self.states[stage] = state
            self._changed.notify_all()

    def outcome(self, caller: Caller, stage: str) -> Outcome:
        with self._changed:
            if stage not in self.states:
                raise Refused(f"this job has no stage {stage!r}", 404)
            return Outcome(stage, self.states[stage], dict(self.outputs.get(stage, {})))

    def wait(self, caller: Caller, stage: str, key: str | None, seconds: float) -> Outcome:
        if stage == caller.stage:
            raise Refused(f"{stage} would wait for itself", 409)
        until = time.monotonic() + seconds
        with self._changed:
            while True:
                now = self.outcome(caller, stage)
                left = until - time.monotonic()
                given = key is not None and key in now.outputs
                if given or now.state not in ("waiting", "running") or self.released or left <= 0:
                    return now
                self._changed.wait(left)

    def release(self) -> None:
        with self._changed:
            self.released = True
            self._changed.notify_all()

    def add_stages(self, caller: Caller, fragment: bytes, before: Sequence[str]) -> list[str]:
        try:
            added = list(load(fragment, "fragment").stages)
        except GzlfileError as error:
            raise Refused(str(error)) from error
        with self._changed:
            for name in before:
                if name not in self.states:
                    raise Refused(f"this job has no stage {name!r}", 404)
            if doubled := sorted(set(added) & set(self.states)):
                raise Refused(f"this job has a stage {doubled[0]!r} already", 409)
            self.states.update(dict.fromkeys(added, "waiting"))
        return added

    def last_run(self, caller: Caller, stage: str | None, passed: bool) -> str | None:
        return self.last.get((stage or caller.stage, passed))

    def changed(self, caller: Caller, since: str | None, globs: Sequence[str]) -> list[str]:
        return [path for path in self.paths if not globs or any(Path(path).match(glob) for glob in globs if glob)]

    def comment(self, caller: Caller, text: str) -> None:
        self.comments.append((caller.stage, text))

    def progress(self, caller: Caller, done: int, total: int | None, text: str) -> None:
        self.steps.append((caller.stage, done, total, text))

    def report(self, caller: Caller, name: str, data: BinaryIO) -> Totals:
        self.reports[name] = junit.totals(junit.read(data, name))
        return self.reports[name]

    def store_stream(self, caller: Caller, name: str, body: BinaryIO, kind: Kind, mode: int) -> Stored:
        return self._keep(caller, name, kind, mode, body.read())

    def store_path(self, caller: Caller, path: Path, name: str) -> Stored:
        if path.is_dir():
            packed = io.BytesIO()
            with tarfile.open(fileobj=packed, mode="w") as archive:
                archive.add(path, ".")
            return self._keep(caller, name, "tree", 0o755, packed.getvalue())
        try:
            data = path.read_bytes()
        except OSError as error:
            raise Refused(f"{path}: {error.strerror}", 404) from error
        return self._keep(caller, name, "file", path.stat().st_mode & 0o777, data)

    def find(self, caller: Caller, name: str, source: str | None) -> Artifact:
        if name not in self.artifacts or source not in (None, "build", JOB):
            raise Refused(f"no artifact {name!r} from {source or 'this job'}", 404)
        return self.artifacts[name][0]

    def open(self, caller: Caller, artifact: Artifact) -> BinaryIO:
        return io.BytesIO(self.artifacts[artifact.name][1])

    def fetch_to(self, caller: Caller, artifact: Artifact, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        data = self.artifacts[artifact.name][1]
        if artifact.kind == "tree":
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                archive.extractall(target, filter="data")
            return
        target.write_bytes(data)
        target.chmod(artifact.mode)

    def _keep(self, caller: Caller, name: str, kind: Kind, mode: int, data: bytes) -> Stored:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.artifacts[name] = Artifact(name, kind, digest, len(data), mode, JOB, caller.stage), data
        return Stored(name, digest, len(data))


class Served:
    """A real listener in front of a MemoryHost."""

    def __init__(self, folder: Path, runtime: Path | None = None) -> None:
        self.layout = JobLayout(folder / JOB)
        self.layout.root.mkdir(exist_ok=True)
        self.runtime = runtime or folder
        self.tokens = Tokens(JOB, b"k" * 32)
        self.host = MemoryHost(self.tokens)
        self.made = 0
        self.listener = self.listen()

    def listen(self) -> Listener:
        """A listener as an agent makes one."""
        return Listener(self.layout, self.tokens, self._make, self.runtime)

    def _make(self) -> MemoryHost:
        self.made += 1
        return self.host

    def environ(self, stage: str = "build", attempt: int = 1) -> dict[str, str]:
        told = self.listener.environ(stage, attempt, shared=self.host.shared)
        return told | {"GZL_STAGE": stage, "HOME": os.fspath(self.runtime)}

    def close(self) -> None:
        self.listener.close()
