"""Starter Gzlfiles: each fits its files, is valid, and never overwrites."""

from pathlib import Path

import pytest

from gzl.githooks import starters
from gzl.gzlfile import parse, unavailable

PROJECTS: dict[str, tuple[dict[str, str], str, list[str]]] = {
    "python": ({"pyproject.toml": "", "tests/x": ""}, "Python", [".venv/bin/pip install --quiet -e . pytest"]),
    "python scripts": ({"requirements.txt": ""}, "Python", [".venv/bin/pip install --quiet -r requirements.txt"]),
    "node": (
        {"package.json": '{"scripts": {"test": "x", "lint": "y"}}', "package-lock.json": ""},
        "Node",
        ["npm ci", "npm run lint", "npm run test"],
    ),
    "yarn": ({"package.json": '{"scripts": {"build": ""}}', "yarn.lock": ""}, "Node", ["yarn run build"]),
    "pnpm": ({"package.json": '{"scripts": {"test": ""}}', "pnpm-lock.yaml": ""}, "Node", ["pnpm run test"]),
    "node without scripts": ({"package.json": "[]"}, "Node", ["npm install"]),
    "broken node": ({"package.json": "{"}, "Node", ["npm install"]),
    "rust": ({"Cargo.toml": ""}, "Rust", ["cargo test"]),
    "go": ({"go.mod": ""}, "Go", ["go test ./..."]),
    "make with tests": ({"Makefile": "all:\n\tcc x.c\ntest: all\n\t./x\n"}, "make", ["make test"]),
    "make with checks": ({"makefile": "check:\n\ttrue\n"}, "make", ["make check"]),
    "make": ({"GNUmakefile": "all:\n\ttrue\n"}, "make", ["    make\n"]),
    "cmake": ({"CMakeLists.txt": ""}, "CMake", ["ctest"]),
    "c": ({"main.c": ""}, "C", ["cc "]),
    "nothing": ({}, "any", ["echo"]),
}


@pytest.mark.parametrize(("files", "kind", "steps"), PROJECTS.values(), ids=PROJECTS)
def test_a_starter_fits_and_is_valid(tmp_path: Path, files: dict[str, str], kind: str, steps: list[str]) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)

    written = starters.write(tmp_path)

    assert written is not None
    assert written.kind == kind
    data = (tmp_path / "Gzlfile").read_bytes()
    parsed = parse(data, "Gzlfile")
    assert parsed.mistakes == ()
    assert unavailable(parsed.pipeline, list(parsed.pipeline.stages)) == []
    assert all(step in data.decode() for step in steps)
    assert parsed.pipeline.rules[0].stages == tuple(parsed.pipeline.stages)


def test_a_gzlfile_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "Gzlfile").write_text("mine")
    assert starters.write(tmp_path) is None
    assert (tmp_path / "Gzlfile").read_text() == "mine"
