"""`gzl logs` and whatever else shows a log: the right lines, no secret, and no file that is not the log."""

import json
import re
import subprocess
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from world import Place, World

GZLFILE = """\
on push: build lint empty

build:
    echo one apple; echo two pears
    sleep 1.2
    printf 'three apples, no end of line'
lint:
    echo an Apple tree >&2
empty:
    true
"""
SECRET = "correct-horse-battery"


@pytest.fixture
def repo(world: World) -> Place:
    place = world.repository()
    place.gzlfile(GZLFILE)
    place.commit("first")
    place.gzl("init")
    return place


def until(happened: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_lines_are_chosen(repo: Place) -> None:
    repo.gzl("run")
    job = repo.show()
    found = repo.gzl("logs", "--grep", "[Aa]pple")
    assert found.stdout == "build | one apple\nbuild | three apples, no end of line\nlint  | an Apple tree\n"
    assert repo.gzl("logs", "HEAD/build", "--grep", "^t.*s$").stdout == "two pears\n"
    assert repo.gzl("logs", "--stage", "lint", "--stage", "build", "--grep", "(?i)AN|one").stdout == (
        "build | one apple\nlint  | an Apple tree\n"
    )
    assert repo.gzl("logs", "--stage", "lint").stdout == repo.gzl("logs", "HEAD/lint").stdout == "an Apple tree\n"
    both = repo.gzl("logs", "--stage", "lint", "HEAD/empty").stdout
    assert both == "==> lint <==\nan Apple tree\n==> empty <==\n" or both.startswith("==> empty <==\n==> lint <==\n")
    nothing = repo.gzl("logs", "--grep", "cherry", ok=False)
    assert (nothing.returncode, nothing.stdout) == (1, "")

    stamped = repo.gzl("logs", "HEAD/build", "--timestamps", "--grep", "s").stdout.splitlines()
    first, last = (datetime.fromisoformat(line.split(" ", 1)[0]) for line in stamped)
    assert last - first > timedelta(seconds=0.8)
    assert first.timestamp() >= job["started"] - 1
    between = (last - timedelta(seconds=0.4)).isoformat()
    assert repo.gzl("logs", "--stage", "build", "--since", between).stdout == "three apples, no end of line\n"
    assert repo.gzl("logs", "HEAD/build", "--since", "1h").stdout.startswith("one apple\ntwo pears\nthree")
    assert repo.gzl("logs", "HEAD/build", "--since", (last + timedelta(days=1)).isoformat()).stdout == ""


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--grep", "a(b"], "--grep 'a(b', character 2: missing ), unterminated subpattern"),
        (["--since", "yesterday"], "--since 'yesterday': no time; write how long ago, as in 90s"),
        (["--stage", "biuld"], "no stage 'biuld'; it has build, lint, empty"),
    ],
)
def test_mistakes_are_said(repo: Place, arguments: list[str], said: str) -> None:
    repo.gzl("run", "--stage", "build", "--stage", "lint", "--stage", "empty")
    done = repo.gzl("logs", *arguments, ok=False)
    assert done.returncode == 2
    assert said in done.stderr


def test_no_secret_is_shown_before_and_after_the_end(repo: Place) -> None:
    repo.gzlfile(
        "go:\n"
        "    half=correct-; echo before ${half}horse-battery after\n"
        "    printf 'half: correct-'\n"
        "    until [ -e $GZL_ATTEMPT/../../half ]; do sleep 0.02; done\n"
        "    printf 'horse-battery, other: correct-ho'\n"
        "    until [ -e $GZL_ATTEMPT/../../all ]; do sleep 0.02; done\n"
        "    echo rse.\n"
    )
    repo.commit()
    job = repo.gzl("run", "--detach", "--stage", "go").stdout.strip()
    folder = repo.layout.job(job)
    folder.secrets.write_bytes(SECRET.encode() + b"\0")
    until(lambda: repo.gzl("logs", f"{job}/go", ok=False).stdout == "before *** after\nhalf: correct-")
    following = [
        subprocess.Popen(["gzl", *words], cwd=repo.path, env=repo.env, stdout=subprocess.PIPE, text=True)
        for words in (["attach", job], ["logs", "-f", f"{job}/go"], ["logs", "-f", "--grep", "", job])
    ]
    time.sleep(0.5)
    (folder.root / "half").touch()
    until(lambda: "other" in repo.gzl("logs", f"{job}/go").stdout)
    live = repo.gzl("logs", "--timestamps", f"{job}/go").stdout
    (folder.root / "all").touch()
    seen = [process.communicate(timeout=30)[0] for process in following]
    whole = "before *** after\nhalf: ***, other: correct-horse.\n"
    assert "go | before *** after\ngo | half: ***, other: correct-horse.\n" in seen[0]
    assert seen[1:] == [whole, "".join(f"go | {line}\n" for line in whole.splitlines())]
    assert repo.gzl("logs", f"{job}/go").stdout == whole
    assert SECRET not in "".join([*seen, live, json.dumps(repo.show(job))])
    stage = repo.show(job)["stages"]["go"]["attempts"][0]
    assert stage["log"]["bytes"] == len(whole)
    assert not (repo.layout.objects).exists()


def test_following_can_be_narrowed(repo: Place) -> None:
    job = repo.gzl("run", "--detach").stdout.strip()
    followed = repo.gzl("logs", "-f", job, "--grep", "apple", "--timestamps").stdout
    lines = [re.sub(r"\d{4}-\S+ ", "", line) for line in followed.splitlines()]
    assert sorted(lines) == ["build | one apple", "build | three apples, no end of line"]


@pytest.mark.parametrize("trick", ["ln -s $GZL_ATTEMPT/../../../../config", "mkfifo", "mkdir"])
def test_a_log_that_was_replaced_is_not_read(repo: Place, trick: str) -> None:
    (repo.path / ".git" / "config").write_text((repo.path / ".git" / "config").read_text() + "# hidden\n" * 1000)
    repo.gzlfile(
        f"swap:\n    echo begun\n    sleep 0.5\n    rm $GZL_ATTEMPT/log\n    {trick} $GZL_ATTEMPT/log\n    echo on\n"
    )
    repo.commit()
    ran = repo.gzl("run", "--stage", "swap", ok=False)
    logs = repo.gzl("logs", "HEAD/swap", ok=False)
    assert "hidden" not in ran.stdout + ran.stderr + logs.stdout
    attempt = repo.show()["stages"]["swap"]["attempts"][-1]
    assert attempt["log"] is None
    assert "was replaced" in attempt["reason"]
    assert attempt["state"] == "failed"


def test_a_line_of_any_length_is_searched_in_little_memory(repo: Place, tmp_path: Path) -> None:
    repo.gzlfile("long:\n    head -c 60M /dev/zero | tr '\\0' x; echo; echo last\n")
    repo.commit()
    repo.gzl("run", "--stage", "long")
    assert repo.show()["stages"]["long"]["attempts"][0]["log"]["store"] == "object"
    limited = "ulimit -v 400000; exec gzl logs HEAD/long --grep"
    assert repo.sh("sh", "-c", f"{limited} last").stdout == "last\n"
    assert repo.sh("sh", "-c", f"{limited} '^x*$' | wc -c").stdout.strip() == str(60 * (1 << 20) + 60)
