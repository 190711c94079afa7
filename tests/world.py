"""Stories against the real program: a server's bare repository, clones of it, pushes, and what came of them."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gzl.model.layout import Layout

BIN = Path(sys.executable).parent
_GITCONFIG = """\
[user]
	name = A U Thor
	email = author@example.com
[init]
	defaultBranch = main
[protocol "file"]
	allow = always
"""


@dataclass
class Place:
    """A repository, and what people type in it."""

    path: Path
    env: dict[str, str]

    def sh(self, *argv: str, ok: bool = True, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            argv,
            cwd=self.path,
            env={**self.env, **env},
            input=stdin,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=280,
            check=False,
        )
        assert not ok or done.returncode == 0, f"{argv}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def git(self, *args: str, ok: bool = True, **env: str) -> str:
        return self.sh("git", *args, ok=ok, **env).stdout.strip()

    def gzl(self, *args: str, ok: bool = True, **env: str) -> subprocess.CompletedProcess[str]:
        return self.sh("gzl", *args, ok=ok, **env)

    def show(self, name: str = "HEAD") -> dict[str, Any]:
        shown: dict[str, Any] = json.loads(self.gzl("show", name, "--json").stdout)
        return shown

    @property
    def layout(self) -> Layout:
        return Layout(Path(self.git("rev-parse", "--path-format=absolute", "--git-common-dir")) / "gzl")

    def gzlfile(self, text: str) -> None:
        (self.path / "Gzlfile").write_text(text)

    def commit(self, message: str = "change", **files: str) -> str:
        for name, text in files.items():
            (self.path / name).write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")

    def push(self, *args: str) -> subprocess.CompletedProcess[str]:
        return self.sh("git", "push", "--quiet", *(args or ("origin", "HEAD")))

    def note(self, commit: str = "HEAD") -> str:
        return self.git("log", "--notes=gzl", "-1", "--format=%N", commit)

    def settled(self, seconds: float = 60) -> None:
        """Wait until the spool is empty and every job is recorded."""
        layout = self.layout
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            waiting = [
                *layout.spool.glob("tmp/*"),
                *layout.spool.glob("new/*"),
                *layout.spool.glob("cur/*"),
                *layout.jobs.glob("[0-9a-z]*"),
            ]
            if not waiting:
                return
            time.sleep(0.02)
        log = layout.manager_log.read_text() if layout.manager_log.exists() else ""
        raise AssertionError(f"still waiting: {waiting}\n{log}")

    def manager_pid(self) -> int | None:
        try:
            return int(self.layout.manager_pid.read_text().split()[0])
        except (FileNotFoundError, IndexError):
            return None


@dataclass
class World:
    """A server and its clones in one temporary folder, apart from the machine's own configuration."""

    root: Path
    env: dict[str, str]
    places: list[Place] = field(default_factory=list)

    def place(self, name: str) -> Place:
        place = Place(self.root / name, self.env)
        self.places.append(place)
        return place

    def server(self, name: str = "server.git") -> Place:
        place = self.place(name)
        place.path.mkdir()
        place.git("init", "--quiet", "--bare", "--initial-branch=main")
        place.gzl("init")
        return place

    def clone(self, server: Place, name: str = "clone") -> Place:
        place = self.place(name)
        subprocess.run(
            ["git", "clone", "--quiet", server.path, place.path], env=self.env, check=True, capture_output=True
        )
        return place

    def repository(self, name: str = "repo") -> Place:
        place = self.place(name)
        place.path.mkdir()
        place.git("init", "--quiet", "--initial-branch=main")
        return place


def environment(home: Path, base: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What a fresh user has: no configuration but an identity."""
    home.mkdir(exist_ok=True)
    (home / ".gitconfig").write_text(_GITCONFIG)
    left = ("GIT_", "GZL_", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in base.items() if not name.startswith(left)}
    return {**kept, "HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1", "PATH": f"{BIN}:{base['PATH']}", "LC_ALL": "C.UTF-8"}
