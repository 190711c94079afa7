"""A machine of its own for tests of hooks: a home folder, git configuration, and a `gzl` that only writes down how it
was called, because what hooks do must not depend on what a manager does."""

import os
import shlex
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gzl.git.repo import Repo, open_repo
from gzl.githooks import spool
from gzl.githooks.install import install
from gzl.githooks.script import hooks_source
from gzl.model.event import Event
from gzl.model.ids import new_job_id

ODD = "a 'b' \"c\" $(touch pwned) `d` [e]*"
"""A folder name with everything that a careless script stumbles over, but for a line break."""

_FAKE_GZL = """#!/bin/sh
{
    printf 'args'; printf ' %%s' "$@"; echo
    printf 'cwd %%s\\npid %%s\\n' "$PWD" $$
    env | grep '^GIT_' | grep -v '^GIT_CONFIG_GLOBAL=\\|^GIT_CONFIG_NOSYSTEM='
    for fd in 0 1 2 3 4 5 6 7 8 9; do [ -e /proc/$$/fd/$fd ] && echo "fd $fd $(readlink /proc/$$/fd/$fd)"; done
} >%(log)s.part
mv %(log)s.part %(log)s
[ "$1" != attach ] || echo "watching $3"
[ "$1" != manage-repo ] || exec sleep %(lives)s
"""


@dataclass(frozen=True)
class World:
    """A folder for everything, and the environment that its git runs in."""

    root: Path
    env: Mapping[str, str]

    @property
    def called(self) -> Path:
        """What the fake gzl wrote about its last call."""
        return self.root / "called"

    @property
    def gzl(self) -> str:
        return os.fspath(self.root / "bin" / "gzl")

    def run(self, directory: Path, *argv: str, ok: bool = True, **env: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            argv, cwd=directory, env={**self.env, **env}, capture_output=True, errors="surrogateescape", timeout=120,
            check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert not ok or done.returncode == 0, f"{argv}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def git(self, directory: Path, *args: str, ok: bool = True, **env: str) -> str:
        done = self.run(directory, "git", *args, ok=ok, **env)
        return done.stdout.strip()

    def commit(self, directory: Path, message: str = "x", **env: str) -> str:
        self.git(directory, "commit", "-q", "--allow-empty", "-m", message, **env)
        return self.git(directory, "rev-parse", "HEAD")

    def repo(self, directory: Path) -> Repo:
        return open_repo(directory, self.env)

    def server(self, name: str = "server.git") -> Repo:
        """A bare repository with gzl's hooks, whose writer is `server`."""
        self.git(self.root, "init", "-q", "--bare", name)
        self.git(self.root / name, "config", "gzl.writer", "server")
        return self.install(self.root / name, server=True)

    def client(self, name: str = "client", gzlfile: str | None = "on commit: t\non merge: t\nt:\n    true\n") -> Repo:
        """A repository with a working tree and one commit, and gzl's hooks."""
        self.git(self.root, "init", "-q", name)
        if gzlfile is not None:
            (self.root / name / "Gzlfile").write_text(gzlfile)
        self.git(self.root / name, "add", ".")
        self.commit(self.root / name, "first")
        return self.install(self.root / name, server=False)

    def install(self, directory: Path, server: bool) -> Repo:
        repo = self.repo(directory)
        install(repo, hooks_source(), self.gzl, server)
        return repo

    def clone(self, source: Path, name: str) -> Path:
        self.git(self.root, "clone", "-q", os.fspath(source), name)
        return self.root / name

    def script(self, path: Path, body: str, shebang: str = "#!/bin/sh") -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{shebang}\n{body}\n")
        path.chmod(0o755)
        return path

    def wait_for_call(self) -> str:
        """What the fake gzl was called with, once it was."""
        until = time.monotonic() + 10
        while not self.called.exists():
            assert time.monotonic() < until, "gzl was not called"
            time.sleep(0.005)
        return self.called.read_text(errors="surrogateescape")


def make_world(root: Path) -> World:
    """A world in the folder `root`."""
    home = root / "home"
    (root / "bin").mkdir(parents=True)
    home.mkdir()
    (home / ".gitconfig").write_text(
        "[user]\n\tname = T\n\temail = t@example.com\n[init]\n\tdefaultBranch = main\n"
        '[protocol "file"]\n\tallow = always\n'
        "[commit]\n\tgpgSign = false\n[advice]\n\tdetachedHead = false\n"
    )
    world = World(
        root,
        {
            "PATH": os.environ["PATH"],
            "HOME": os.fspath(home),
            "GIT_CONFIG_GLOBAL": os.fspath(home / ".gitconfig"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "LOGNAME": "ann",
            "LC_ALL": "C.UTF-8",
        },
    )
    fake_gzl(world)
    return world


def fake_gzl(world: World, lives: float = 0) -> None:
    """Make the `gzl` of the world; as a manager it lives for so many seconds."""
    path = Path(world.gzl)
    path.write_text(_FAKE_GZL % {"log": shlex.quote(os.fspath(world.called)), "lives": lives})
    path.chmod(0o755)


def take_events(repo: Repo) -> list[Event]:
    """The events in the spool, which is empty then."""
    events = []
    for name in spool.pending(repo.layout):
        claimed = spool.claim(repo.layout, name, new_job_id(1.0))
        assert claimed is not None
        event = spool.read(repo.layout, claimed)
        assert event is not None, (repo.layout.spool / "bad" / name).read_bytes()
        spool.done(repo.layout, claimed)
        events.append(event)
    return events
