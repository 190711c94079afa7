"""Which process belongs to which running attempt, and the end of all that belong to one.

A workload may do what it likes: fork twice, leave its session and group, clear its environment, ignore signals, fork
as fast as it can. Where there are control groups each attempt that needs one has its own, and that settles it. Where
there are none, and for what an attempt did before it had one, the first of these that holds tells whose a process is:

    it is the supervising shell, or in the session that this leads
    it is the agent's session's: nobody's
    its parent's owner is known: the same
    its environment names the attempt, or it writes the log of one that an earlier agent began
    it is in a session that such a process began
    it lost its parent and so came to the agent (which is a subreaper), and
        works in, or has open files in, the attempt's directory or workspace
        or there is only one attempt that was running when it began

What was found out about a process is remembered as long as it lives: what a daemon does later to hide is of no use. So
what is left in doubt is a process that hid in its first moments, of two attempts that were both running; it goes with
the last of the two, or with the job.
"""

import os
import signal
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gzl.kit import proc
from gzl.runners import cgroup, processes
from gzl.runners.cgroup import Cgroup, NoCgroup
from gzl.runners.processes import Process

_DEAD_WITHIN = 5.0  # seconds; what waits for a broken disk or network file system does not even die of SIGKILL
_PAUSE = 0.001  # seconds, for the kernel to end what was killed
_FRESH = 64  # pids given last: how far a chain may get while it is looked for
_ROUNDS = 100  # of moving what was forked while the others were moved


_Key = tuple[int, int]  # pid and start


@dataclass(slots=True)
class _Tree:
    root: int  # pid of the supervising shell
    workspace: Path | None
    group: Cgroup | None
    start: int | None = None  # of the shell, as in Process; None: not looked at yet


class Trees:
    """The processes of the attempts of one agent."""

    def __init__(self, cgroups: bool = True) -> None:
        self.without_groups = "" if cgroups else "not wanted"
        self._pid, self._session = os.getpid(), os.getsid(0)
        self._trees: dict[Path, _Tree] = {}
        self._roots: dict[int, Path] = {}
        self._owners: dict[_Key, Path | None] = {}
        self._sessions: dict[int, Path] = {}

    def add(self, directory: Path, root: int, workspace: Path | None, group: Cgroup | None = None) -> None:
        """An attempt has begun, in a session that its shell `root` leads (0: nobody knows); `workspace` None: under an
        earlier agent, so that its orphans do not come to this one."""
        self._trees[directory] = _Tree(root, workspace, group)
        if root:
            self._roots[root] = directory

    def drop(self, directory: Path) -> None:
        """An attempt has ended, with all its processes."""
        tree = self._trees.pop(directory)
        self._roots.pop(tree.root, None)
        self._sessions = {session: d for session, d in self._sessions.items() if d != directory}
        if tree.group is not None:
            tree.group.remove()

    def group(self, directory: Path) -> Cgroup | None:
        """The attempt's control group, if it has one."""
        return self._trees[directory].group

    def make_group(self, directory: Path) -> Cgroup | None:
        """A control group for the attempt; None if there are none here."""
        if self.without_groups:
            return None
        try:
            return cgroup.make(directory)
        except NoCgroup as error:
            self.without_groups = str(error)
            return None

    def contain(self, directory: Path) -> None:
        """Move all processes of the attempt into a control group, where there are such."""
        tree = self._trees[directory]
        group = tree.group = tree.group or self.make_group(directory)
        if group is None:
            return
        try:
            for _ in range(_ROUNDS):
                outside = self._near(directory) - group.members()
                for pid in outside:
                    group.add(pid)
                if not outside:
                    return
        except NoCgroup as error:
            self.without_groups = str(error)

    def members(self) -> dict[Path, list[Process]]:
        """The living processes of every attempt."""
        table = processes.everyone()
        begun = {process.session for process in table.values()}
        self._sessions = {session: d for session, d in self._sessions.items() if session in begun}
        inside = {pid: d for d, tree in self._trees.items() if tree.group for pid in tree.group.members()}
        known, self._owners = self._owners, {}
        found: dict[Path, list[Process]] = {directory: [] for directory in self._trees}
        for process in sorted(table.values(), key=_age):  # parents first
            owner = inside.get(process.pid) or self._owner(process, table, known)
            if owner in found and not process.dead:
                found[owner].append(process)
        return found

    def signal(self, directory: Path, *numbers: int) -> None:
        """Send signals to all processes of the attempt that there are now."""
        members = self.members()[directory]
        for number in numbers:
            self._signal(members, number)

    def kill(self, directory: Path) -> set[int]:
        """SIGKILL, until none is left; gives the pids of those that cannot be killed."""
        group, until = self.group(directory), time.monotonic() + _DEAD_WITHIN
        while True:
            if group is not None:
                group.kill()
            newest = processes.newest()
            alive = self.members()[directory]
            forbidden = self._signal(alive, signal.SIGKILL)
            left = {process.pid for process in alive} - forbidden
            fresh = self._kill_fresh(directory, newest, until)
            if not left and not fresh and not (group is not None and group.populated()):
                return forbidden
            if time.monotonic() > until:
                return left | forbidden
            self.strays()
            time.sleep(_PAUSE)

    def strays(self) -> list[Process]:
        """The living that lost their parent, came to this process, and are no supervising shells. The dead are reaped:
        nobody else will."""
        living = []
        for pid in proc.children():
            process = None if pid in self._roots else processes.process(pid)
            if process is None or process.session == self._session:
                continue
            if not process.dead:
                living.append(process)
            else:
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
        return living

    def is_stray(self, pid: int) -> bool:
        """Whether a child of this process is one: commands of the agent itself are in the agent's session."""
        process = processes.process(pid)
        return process is not None and pid not in self._roots and process.session != self._session

    def sweep(self) -> None:
        """End all strays, and what is below them."""
        until = time.monotonic() + _DEAD_WITHIN
        while (strays := self.strays()) and time.monotonic() < until:
            for stray in strays:
                for pid in [stray.pid, *processes.descendants(stray.pid)]:
                    with suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, signal.SIGKILL)

    def _signal(self, members: Iterable[Process], number: int) -> set[int]:
        """Signal each process once, a group that is wholly the attempt's as one, which no fork escapes; gives the pids
        of those that may not be signalled."""
        forbidden, done = set(), set()
        for process in members:
            whole = process.session in self._sessions or process.session in self._roots
            target = -process.group if whole else process.pid
            if target not in done:
                done.add(target)
                try:
                    os.kill(target, number)
                except ProcessLookupError:
                    continue
                except PermissionError:
                    forbidden.add(process.pid)
        return forbidden

    def _kill_fresh(self, directory: Path, seen: int, until: float) -> bool:
        """Kill what began after the pid `seen` was given, until nothing of the attempt did; whether anything had.

        A chain of processes that each start the next one and end is never there when all processes are looked at one
        after the other: its next link is always ahead. But the pids that were given meanwhile are few.
        """
        found = False
        while (newest := processes.newest()) != seen and time.monotonic() < until:
            fresh = processes.between(max(min(seen, newest), newest - _FRESH), newest)
            # The newest first, and each as soon as it is found: there is less than a millisecond to do it.
            for process in fresh:
                if not process.dead and self._owner(process, {}, {}) == directory:
                    found = True
                    self._signal([process], signal.SIGKILL)
            seen = newest
        return found

    def _near(self, directory: Path) -> set[int]:
        """The processes of the attempt that can be found from its shell and from this process, without all others."""
        root = self._trees[directory].root
        tops = [root, *(s.pid for s in self.strays() if self._owner(s, {}, {}) == directory)]
        return {pid for top in tops for pid in (top, *processes.descendants(top))}

    def _owner(self, process: Process, table: Mapping[int, Process], known: Mapping[_Key, Path | None]) -> Path | None:
        """Whose the process is; `known` is what an earlier look found out, `table` has its parent."""
        key = process.pid, process.start
        if key in self._owners:
            return self._owners[key]
        if key in known:
            self._owners[key] = known[key]
            return known[key]
        self._owners[key] = None  # two processes of different instants may seem to be each other's parents
        owner, sure = self._find_owner(process, table, known)
        if sure:
            self._owners[key] = owner
        else:
            del self._owners[key]
        if owner is not None and (process.pid == process.session or process.parent == self._pid):
            self._sessions[process.session] = owner
        return owner

    def _find_owner(
        self, process: Process, table: Mapping[int, Process], known: Mapping[_Key, Path | None]
    ) -> tuple[Path | None, bool]:
        """Whose the process is, and whether that can be said for good."""
        at_root = self._roots.get(process.pid) or self._roots.get(process.session)
        if at_root is not None:
            return at_root, True
        if process.session == self._session:
            return None, True
        parent = table.get(process.parent)
        owner = self._owner(parent, table, known) if parent is not None and parent.start <= process.start else None
        owner = owner or self._marked(process.pid) or self._sessions.get(process.session)
        if owner is not None or process.parent != self._pid:
            return owner, True
        owner = self._orphan_of(process)
        return owner, owner is not None

    def _marked(self, pid: int) -> Path | None:
        """The attempt that its environment names; or, if it came from an earlier agent, whose log it writes."""
        marks = {os.fsencode(f"GZL_ATTEMPT={directory}"): directory for directory in self._trees}
        named = next((marks[line] for line in processes.environment(pid) if line in marks), None)
        logs = [directory / "log" for directory, tree in self._trees.items() if tree.workspace is None]
        written = processes.written(pid, logs) if logs and named is None else None
        return written.parent if written is not None else named

    def _orphan_of(self, process: Process) -> Path | None:
        mine = [(directory, tree) for directory, tree in self._trees.items() if tree.workspace is not None]
        for directory, tree in mine:
            if tree.workspace is not None and processes.touches(process.pid, (directory, tree.workspace)):
                return directory
        able = [directory for directory, tree in mine if self._started(tree) <= process.start]
        return able[0] if len(able) == 1 else None

    def _started(self, tree: _Tree) -> int:
        if tree.start is None:
            shell = processes.process(tree.root)
            tree.start = shell.start if shell is not None else 0
        return tree.start


def _age(process: Process) -> tuple[int, int]:
    return process.start, process.pid
