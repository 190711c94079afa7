"""A first Gzlfile that fits a repository: what it is built with is told from the files at its top.

Stages do not share a working folder, so what needs a build builds; several stages are several things that can run at
the same time.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gzl.kit.fs import read_or_none

NAME = "Gzlfile"
_HEADER = """\
# What gzl runs, and when. `gzl check` reads this file, `gzl run` runs it here and now.

on push: {stages}
# on commit: {last}
"""


@dataclass(frozen=True, slots=True)
class Starter:
    """A Gzlfile to begin with, and the kind of project that it is for."""

    kind: str
    stages: Mapping[str, tuple[str, ...]]
    """Stage → its steps."""

    @property
    def text(self) -> str:
        parts = [_HEADER.format(stages=" ".join(self.stages), last=list(self.stages)[-1])]
        parts += ["".join([f"{name}:\n", *(f"    {step}\n" for step in steps)]) for name, steps in self.stages.items()]
        return "\n".join(parts)


def starter(top: Path) -> Starter:
    """The starter for a working tree."""
    return next(found for kind in _KINDS if (found := kind(top)) is not None)


def write(top: Path) -> Starter | None:
    """Write the starter into a working tree; None, and nothing written, where there is a Gzlfile already."""
    chosen = starter(top)
    try:
        with (top / NAME).open("x", encoding="utf-8") as file:
            file.write(chosen.text)
    except FileExistsError:
        return None
    return chosen


def _python(top: Path) -> Starter | None:
    packaged = _has(top, "pyproject.toml", "setup.py", "setup.cfg")
    if not packaged and not _has(top, "requirements.txt"):
        return None
    wanted = (["-r requirements.txt"] if _has(top, "requirements.txt") else []) + (["-e ."] if packaged else [])
    install = f".venv/bin/pip install --quiet {' '.join(wanted)}"
    tests = _has(top, "tests", "test") or list(top.glob("test_*.py"))
    test = (f"{install} pytest", ".venv/bin/python -m pytest") if tests else (install,)
    # `git ls-files` leaves the environment out of it, which compileall would look into.
    lint = "git ls-files -z -- '*.py' | xargs -0 -r python3 -m py_compile"
    return Starter("Python", {"lint": (lint,), "test": ("python3 -m venv .venv", *test)})


def _node(top: Path) -> Starter | None:
    if not _has(top, "package.json"):
        return None
    tool, install = "npm", "npm ci" if _has(top, "package-lock.json") else "npm install"
    if _has(top, "pnpm-lock.yaml"):
        tool, install = "pnpm", "pnpm install --frozen-lockfile"
    elif _has(top, "yarn.lock"):
        tool, install = "yarn", "yarn install --frozen-lockfile"
    scripts = [script for script in ("lint", "build", "test") if script in _scripts(top)]
    stages = {script: (install, f"{tool} run {script}") for script in scripts}
    return Starter("Node", stages or {"install": (install,)})


def _rust(top: Path) -> Starter | None:
    if not _has(top, "Cargo.toml"):
        return None
    return Starter("Rust", {"lint": ("cargo fmt --check",), "test": ("cargo test",)})


def _go(top: Path) -> Starter | None:
    if not _has(top, "go.mod"):
        return None
    return Starter("Go", {"lint": ("go vet ./...",), "test": ("go build ./...", "go test ./...")})


def _make(top: Path) -> Starter | None:
    text = b"\n".join(read_or_none(top / name) or b"" for name in ("GNUmakefile", "makefile", "Makefile"))
    if not text.strip():
        return None
    target = next((name for name in ("test", "check") if re.search(rf"^{name}[ \t]*:".encode(), text, re.M)), None)
    return Starter("make", {"test": ("make", f"make {target}")} if target else {"build": ("make",)})


def _cmake(top: Path) -> Starter | None:
    if not _has(top, "CMakeLists.txt"):
        return None
    build = ("cmake -S . -B build", "cmake --build build")
    return Starter("CMake", {"test": (*build, "ctest --test-dir build --output-on-failure")})


def _c(top: Path) -> Starter | None:
    if not any(top.glob("*.c")):
        return None
    return Starter("C", {"build": ("cc -Wall -Wextra -o program *.c",)})


def _generic(_top: Path) -> Starter:
    return Starter(
        "any", {"hello": ('echo "this is commit $GZL_COMMIT"', "ls"), "test": ("true  # your tests go here",)}
    )


_KINDS: tuple[Callable[[Path], Starter | None], ...] = (_python, _node, _rust, _go, _cmake, _make, _c, _generic)


def _has(top: Path, *names: str) -> bool:
    return any((top / name).exists() for name in names)


def _scripts(top: Path) -> Mapping[str, object]:
    try:
        package = json.loads(read_or_none(top / "package.json") or b"{}")
    except ValueError:
        return {}  # npm will say what is wrong with it, better than we could
    scripts = package.get("scripts") if isinstance(package, dict) else None
    return scripts if isinstance(scripts, dict) else {}
