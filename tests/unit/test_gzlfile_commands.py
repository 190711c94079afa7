"""`gzl check` and `gzl graph` as people run them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

GZLFILE = """\
on push main: deploy
build:
    true
test [matrix.os="a b"]: build
    true
deploy: test migrate
migrate:
rollback: deploy!
report: deploy? test?
"""


def gzl(cwd: Path, *args: str, stdin: str = "") -> tuple[int, str, str]:
    """Exit status, output and messages."""
    env = {"PATH": os.environ["PATH"], "HOME": str(cwd), "GIT_CONFIG_GLOBAL": os.devnull, "LANG": "C.UTF-8"}
    done = subprocess.run(
        [sys.executable, "-m", "gzl", *args],
        cwd=cwd,
        env=env,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository with a Gzlfile in its first commit, and a folder in it."""
    root = tmp_path / "a 'repo'"
    (root / "sub").mkdir(parents=True)
    (root / "Gzlfile").write_text(GZLFILE)
    git = ["git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
    for args in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "one"]):
        subprocess.run([*git, *args], check=True)
    return root


def test_check_finds_the_file_of_the_repository(repo: Path) -> None:
    assert gzl(repo / "sub", "check") == (0, "Gzlfile: fine: 7 stages, 1 rule\n", "")
    bare = repo.parent / "bare"
    subprocess.run(["git", "clone", "-q", "--bare", str(repo), str(bare)], check=True)
    assert gzl(bare, "check") == (0, "HEAD:Gzlfile: fine: 7 stages, 1 rule\n", "")


def test_check_reads_any_file_anywhere(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("a [cpu=2]: b\n")
    status, out, _ = gzl(tmp_path, "check", "x")
    assert status == 2
    assert out.splitlines()[0] == "x:1:4: warning: `cpu=2` is not available in this version of gzl"
    assert out.splitlines()[-1] == "x: 1 error, 1 warning"
    assert gzl(tmp_path, "check", "-", stdin="a [timeout=1m]:\n")[0] == 0


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    for args, said in (["nope"], "nope: no such file"), (["."], ".: cannot be read"), ([], "not in a git repository"):
        status, out, err = gzl(tmp_path, "check", *args)
        assert (status, out) == (2, "")
        assert said in err


def test_graph_is_a_tree_with_each_stage_once(repo: Path) -> None:
    assert gzl(repo, "graph")[1].splitlines() == [
        "on push main  → deploy",
        "",
        "build",
        "└─ test ×2",
        "   └─ deploy   (after migrate)",
        "      ├─ ! rollback",
        "      └─ ? report   (after test?)",
        "migrate",
        "",
        "!  only if that failed",
        "?  whatever became of that",
    ]
    assert gzl(repo, "graph", "--stage", "test@a")[1].splitlines() == ["build", "└─ test ×2"]
    status, _, err = gzl(repo, "graph", "--stage", "tets")
    assert status == 2
    assert "did you mean 'test'?" in err


def test_graph_speaks_graphviz(repo: Path) -> None:
    out = gzl(repo, "graph", "--dot")[1]
    assert '"build" -> "test";' in out
    assert '"deploy" -> "rollback" [style=dashed' in out
    if dot := shutil.which("dot"):
        subprocess.run([dot, "-Tsvg"], input=out, text=True, capture_output=True, check=True)


def test_stages_of_other_repositories_are_part_of_the_graph(repo: Path) -> None:
    text = "test: lib//package\n    true\ndeploy: test tools@v1//image!\n    true\n"
    assert gzl(repo, "graph", "-", stdin=text)[1].splitlines()[:4] == [
        "lib//package", "└─ test", "   └─ deploy   (after tools@v1//image!)", "tools@v1//image",
    ]  # fmt: skip
    assert '"lib//package" [label="lib//package", style=dashed];' in gzl(repo, "graph", "--dot", "-", stdin=text)[1]
    assert gzl(repo, "check", "-", stdin=text)[1] == "<stdin>: fine: 2 stages, 0 rules\n"


def test_graph_of_a_file_with_mistakes_shows_them(repo: Path) -> None:
    status, out, err = gzl(repo, "graph", "-", stdin="a: b\nb: a\n")
    assert (status, out) == (2, "")
    assert "a → b → a" in err


def test_terminal_escapes_stay_data(tmp_path: Path) -> None:
    for command in ("check", "graph"):
        status, out, err = gzl(tmp_path, command, "-", stdin="on push \x1b[31m]: a\na [\x1b]0;x\x07=1]:\n")
        assert status == 2
        assert "\x1b" not in out + err
    assert "\x1b" not in gzl(tmp_path, "graph", "-", stdin="on push '\x1b]0;x': a\na:\n")[1]
