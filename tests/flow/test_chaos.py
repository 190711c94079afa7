"""Hook, manager and agent are killed at every place with a name, and at random instants.

Whatever happens: a push has one verdict, a stage that ended ran once, no byte of a log is missing, what a stage told
and handed over arrives, and nothing is green that did not pass. `GZL_CHAOS_RUNS` sets how many random runs there are;
docs/benchmarks.md has the figures of many.
"""

import os
import random
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from world import Place, World

from gzl.kit.proc import start_time

POINTS = [
    "manager.claimed", "job.pinned", "manager.created", "manager.handled", "manager.seen", "manager.started",
    "agent.started", "agent.spawned", "agent.ended", "agent.noted", "agent.over", "agent.finished", "agent.recorded",
]  # fmt: skip

# Every stage appends to a file outside of its workspace when it begins and when it ends, and writes a log whose bytes
# are known. `bad` fails on purpose: it must never be green, and what needs it never run.
GZLFILE = """\
on push: last report never
first:
    echo first >>"$RAN"
    i=0; while [ $i -lt 200 ]; do echo "line $i"; i=$((i + 1)); done
    sleep 0.0$((GZL_RANDOM % 10))
    gzl out said=hello
    echo artifact >file
    gzl obj-store file >/dev/null
    echo first-end >>"$RAN"
bad:
    echo bad >>"$RAN"; echo failing
    exit 3
second: first
    gzl obj-get file
    echo second >>"$RAN"; echo second "$GZL_IN_FIRST_SAID" "$(cat file)"
last: second
    echo last >>"$RAN"; echo last
never: bad
    echo never >>"$RAN"
report: bad? last?
    echo report >>"$RAN"; echo report
"""
LOGS = {
    "first": "".join(f"line {n}\n" for n in range(200)),
    "bad": "failing\n",
    "second": "second hello artifact\n",
    "last": "last\n",
}
STATES = {
    "first": "passed",
    "bad": "failed",
    "second": "passed",
    "last": "passed",
    "never": "skipped",
    "report": "passed",
}


class Story:
    """One push into a server where things die."""

    def __init__(self, world: World, name: str = "") -> None:
        self.ran = world.root / f"ran{name}"
        self.ran.touch()
        world.env |= {"RAN": str(self.ran), "GZL_RANDOM": str(random.randrange(10))}
        self.server = world.server(f"server{name}.git")
        self.clone = world.clone(self.server, f"clone{name}")
        self.clone.gzlfile(GZLFILE)
        self.commit = self.clone.commit("push me")

    def settle(self) -> None:
        """What an operator does, or the next push: see that there is a manager, and wait until nothing is left."""
        once = self.server.gzl("manage-repo", "--once", ok=False)
        assert once.returncode == 0 or "another manager" in once.stdout, once
        self.server.settled()

    def check(self) -> None:
        job = self.server.show(self.commit)
        assert {name: stage["state"] for name, stage in job["stages"].items()} == STATES
        assert job["state"] == "failed"
        heads = [line for line in self.server.note(self.commit).splitlines() if "/" not in line.split()[0]]
        assert len(heads) == 1, f"one verdict for one push: {heads}"
        ran = Counter(self.ran.read_text().split())
        assert ran == Counter(["first", "first-end", "bad", "second", "last", "report"]), "every stage ran once"
        assert job["stages"]["first"]["outputs"] == {"said": "hello"}
        for stage, log in LOGS.items():
            assert self.server.gzl("logs", f"{job['id']}/{stage}").stdout == log
        assert self.server.git("for-each-ref", "refs/gzl/live") == ""
        assert self.server.gzl("fsck").returncode == 0


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_at_any_place_with_a_name_changes_nothing(world: World, point: str) -> None:
    flag = world.root / "flag"
    flag.touch()
    world.env["GZL_CRASH_AT"] = f"{point}:{flag}"
    story = Story(world)
    story.clone.push()
    until = time.monotonic() + 20
    while flag.exists() and time.monotonic() < until:
        time.sleep(0.01)
    assert not flag.exists(), f"nothing came to {point}"
    story.settle()
    story.check()


def test_kills_at_random_instants_change_nothing(world: World) -> None:
    seed = int(os.environ.get("GZL_CHAOS_SEED", random.randrange(1 << 30)))
    print(f"GZL_CHAOS_SEED={seed}")
    dice = random.Random(seed)
    killed = 0
    for number in range(int(os.environ.get("GZL_CHAOS_RUNS", "5"))):
        story = Story(world, f"-{number}")
        pusher = subprocess.Popen(["git", "push", "-q", "origin", "HEAD"], cwd=story.clone.path, env=story.clone.env)
        for _ in range(dice.randrange(1, 4)):
            time.sleep(dice.uniform(0, 0.25))
            for pid in _victims(story.server, dice):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed += 1
        pusher.wait(60)
        _push_again_if_it_was_lost(story)
        story.settle()
        story.check()
    assert killed, "nothing was hit"


def _victims(server: Place, dice: random.Random) -> list[int]:
    """The hook, the manager or the agents of one server, or all of them; never the workloads."""
    hooks, managers, agents = [], [], []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            folder = os.readlink(entry / "cwd")
        except OSError:
            continue
        if "gzl.cli.agent" in command and str(server.path) in command:
            agents.append(int(entry.name))
        elif "manage-repo" in command and folder == str(server.path):
            managers.append(int(entry.name))
        elif "hooks/post-receive" in command and folder == str(server.path):
            hooks.append(int(entry.name))
    groups = [group for group in (hooks, managers, agents, hooks + managers + agents) if group]
    return [pid for pid in dice.choice(groups) if start_time(pid) is not None] if groups else []


def _push_again_if_it_was_lost(story: Story) -> None:
    """A hook that was killed before git moved the ref (pre-receive) refused the push, as git says."""
    if not story.server.git("for-each-ref", "refs/heads/main"):
        story.clone.push()
