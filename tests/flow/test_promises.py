"""Stages that hand values and files on, add stages while they run, catch, and wait for one another: whole jobs."""

import time
from pathlib import Path

import pytest
from world import Place, World

C_EXAMPLE = """\
on push: run

hello:
    cc -c hello.c
    gzl obj-store hello.o
main:
    cc -c main.c
    gzl obj-store main.o
run: hello main
    gzl obj-get hello.o main.o
    cc -o hello hello.o main.o
    ./hello
"""


@pytest.fixture
def repo(world: World) -> Place:
    place = world.repository()
    place.commit("nothing yet")
    place.gzl("init")
    return place


def run(repo: Place, gzlfile: str, *args: str, ok: bool = True, **files: str) -> dict[str, str]:
    """The states of the stages of a run of this Gzlfile."""
    repo.gzlfile(gzlfile)
    repo.commit("change", **files)
    done = repo.gzl("run", *args, ok=False)
    assert done.returncode == (0 if ok else 1), done.stdout + done.stderr
    return {name: stage["state"] for name, stage in repo.show()["stages"].items()}


def log(repo: Place, stage: str) -> str:
    return repo.gzl("logs", f"HEAD/{stage}").stdout


def test_the_c_example(repo: Place) -> None:
    states = run(
        repo,
        C_EXAMPLE,
        **{
            "hello.c": '#include <stdio.h>\nvoid hello(void) { puts("hello"); }\n',
            "main.c": "void hello(void);\nint main(void) { hello(); return 0; }\n",
        },
    )
    assert set(states.values()) == {"passed"}
    assert log(repo, "run") == "hello\n"
    assert [one["name"] for one in repo.show()["stages"]["main"]["artifacts"]] == ["main.o"]


def test_outputs_reach_those_who_depend(repo: Place) -> None:
    run(repo, """\
on push: all
build [matrix.os="a b"]:
    gzl out "path=out of $GZL_MATRIX_OS" n=1
deploy: build
    echo "$GZL_IN_BUILD_A_PATH, $GZL_IN_BUILD_B_PATH"
    gzl out url=http://x
all: deploy
    echo "$GZL_IN_DEPLOY_URL$GZL_IN_BUILD_A_N"
""")  # fmt: skip
    assert log(repo, "deploy") == "out of a, out of b\n"
    assert log(repo, "all") == "http://x\n", "what deploy depends on is deploy's own affair"
    assert repo.show()["stages"]["build@a"]["outputs"] == {"path": "out of a", "n": "1"}


def test_a_fan_out_of_fifty_stages_from_a_running_one(repo: Place) -> None:
    states = run(repo, """\
on push: sum
plan:
    for n in $(seq 50); do
        printf 'part%s: plan\\n    gzl out n=%s\\n' $n $n
    done | gzl stage add --before sum
sum: plan
    total=0
    for n in $(seq 50); do
        total=$((total + $(eval echo \\$GZL_IN_PART${n}_N)))
    done
    echo $total
""")  # fmt: skip
    assert len(states) == 52
    assert set(states.values()) == {"passed"}
    assert log(repo, "sum") == f"{50 * 51 // 2}\n"


def test_what_cannot_be_added_fails_there_and_then(repo: Place) -> None:
    states = run(repo, """\
on push: ask end
ask:
    ! echo 'x: end' | gzl stage add --before end
    ! echo 'x: edn' | gzl stage add
    ! echo 'x: y' | gzl stage add
    ! echo 'x:' | gzl stage add --before ask
    ! gzl await end
end: ask
    true
""")  # fmt: skip
    assert states == {"ask": "passed", "end": "passed"}
    said = log(repo, "ask")
    for sentence in (
        "x → end → x",
        "did you mean 'end'?",
        "no stage 'y'",
        "that is the stage that asks",
        "ask → end → ask",
    ):
        assert sentence in said


def test_catch_and_finally_with_what_was_told(repo: Place) -> None:
    states = run(repo, """\
on push: deploy
build:
    gzl out version=7
deploy: build
    gzl out step=2
    false
rollback: deploy!
    echo "back from $GZL_IN_DEPLOY_STEP"
report: deploy? build?
    echo "version $GZL_IN_BUILD_VERSION"
cheer: deploy
    true
""", ok=False)  # fmt: skip
    assert states == {"build": "passed", "deploy": "failed", "rollback": "passed", "report": "passed"}
    assert log(repo, "rollback") == "back from 2\n"
    assert log(repo, "report") == "version 7\n"


def test_a_stage_that_waits_lends_its_slot(repo: Place) -> None:
    repo.git("config", "gzl.slots", "1")
    states = run(repo, """\
on push: first second
first:
    echo "port $(gzl await second.port)"
    gzl await second
second:
    gzl out port=80
    gzl out port=8080 late=1
""")  # fmt: skip
    assert set(states.values()) == {"passed"}
    assert log(repo, "first").startswith("port 80")


def test_what_was_handed_on_before_the_agent_was_killed_is_still_there(repo: Place, tmp_path: Path) -> None:
    repo.gzlfile(f"""\
on push: last
first:
    echo data >file; gzl obj-store file; gzl out a=1
    printf 'more: first\\n    echo more $GZL_IN_FIRST_A\\n' | gzl stage add --before last
    echo x >>{tmp_path}/ready; while ! test -e {tmp_path}/go; do sleep 0.05; done
    gzl out b=2
last: first
    gzl obj-get file; cat file; echo $GZL_IN_FIRST_A $GZL_IN_FIRST_B
""")
    repo.commit("change")
    job = repo.gzl("run", "--detach").stdout.strip()
    until = time.monotonic() + 30
    while not (tmp_path / "ready").exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    repo.sh("kill", "-9", str(repo.show(job)["agent"]["pid"]))
    (tmp_path / "go").touch()
    repo.gzl("attach", job)
    assert {name: stage["state"] for name, stage in repo.show(job)["stages"].items()} == {
        "first": "passed", "last": "passed", "more": "passed",
    }  # fmt: skip
    assert log(repo, "last") == "data\n1 2\n"
    assert log(repo, "more") == "more 1\n"
    assert (tmp_path / "ready").read_text() == "x\n"


def test_what_did_not_pass_runs_again_with_what_the_others_handed_over(repo: Place, tmp_path: Path) -> None:
    run(repo, f"""\
on push: test
build:
    echo built >app; gzl obj-store app; gzl out version=7
test: build
    gzl obj-get app; cat app; echo $GZL_IN_BUILD_VERSION; test -e {tmp_path}/fixed
""", ok=False)  # fmt: skip
    (tmp_path / "fixed").touch()
    repo.gzl("run", "--again", "--failed")
    assert repo.show()["stages"]["build"]["attempts"] == []
    assert log(repo, "test") == "built\n7\n"
