"""The `gzl` inside a stage, under each shell and with each program that it can use, against a real listener."""

import os
import re
import shutil
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from api_host import Served

from gzl.jobapi.shim import folder

SHELLS = {"dash": ["/bin/dash"], "bash": ["/bin/bash", "--posix"], "busybox": ["/bin/busybox", "sh"]}
BASICS = "base64 cat chmod cp date mkdir mv od rm sed sleep tail tar tr wc".split()
TOOLS: Mapping[str, tuple[str, ...]] = {
    "curl": ("curl",),
    "GNU wget": ("wget",),
    "busybox wget": ("busybox",),
    "python3": ("python3",),
}


@dataclass
class Stage:
    """A running stage, and the commands that it gives."""

    served: Served
    work: Path
    shell: list[str]
    path: str

    def gzl(
        self, *args: str | bytes, stdin: bytes = b"", name: str = "build", **env: str
    ) -> subprocess.CompletedProcess[bytes]:
        environ = {**self.served.environ(name), "PATH": self.path, "GZL_API_PAUSES": "0.05 0.1 0.2 0.4 0.8", **env}
        argv = [*self.shell, str(folder() / "gzl"), *args]
        return subprocess.run(
            argv, cwd=self.work, env=environ, input=stdin, capture_output=True, timeout=60, check=False
        )

    def ok(self, *args: str | bytes, **kwargs: str | bytes) -> str:
        done = self.gzl(*args, **kwargs)  # type: ignore[arg-type]
        assert (done.returncode, done.stderr) == (0, b""), (args, done)
        return os.fsdecode(done.stdout)


def only(where: Path, *programs: str) -> str:
    """A PATH with the basics and these programs alone."""
    where.mkdir()
    for name in (*BASICS, *programs):
        found = "/usr/bin/python3" if name == "python3" else shutil.which(name)
        assert found, f"{name} is missing: tests/services installs it"
        (where / ("wget" if name == "busybox" else name)).symlink_to(found)
    return str(where)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path)
    yield made
    made.close()


def stage(served: Served, shell: str = "dash", tool: str = "curl") -> Stage:
    work = served.runtime / "work"
    work.mkdir()
    return Stage(served, work, SHELLS[shell], only(served.runtime / "bin", *TOOLS[tool]))


PAIRS = [*((shell, "curl") for shell in SHELLS), *(("dash", tool) for tool in TOOLS if tool != "curl"),
         ("busybox", "busybox wget"), ("bash", "python3")]  # fmt: skip
each = pytest.mark.parametrize(("shell", "tool"), PAIRS)


@each
def test_every_argument_arrives_as_it_was_given(served: Served, shell: str, tool: str) -> None:
    s = stage(served, shell, tool)
    odd = "two words\n\n'\"$(x)`y`\\n%s\ttab * \n"
    s.ok("out", "plain=1", f"odd={odd}", "empty=", b"bytes=\xff\xfe")
    assert served.host.outputs["build"] == {"plain": "1", "odd": odd, "empty": "", "bytes": os.fsdecode(b"\xff\xfe")}
    assert s.ok("await", "build.odd", name="test") == odd + "\n"
    assert s.ok("await", "build.bytes", name="test") == os.fsdecode(b"\xff\xfe\n")
    assert s.ok("comment", odd) == ""
    assert served.host.comments == [("build", odd.strip())]


@each
@pytest.mark.parametrize("shared", [True, False], ids=["shared", "apart"])
def test_files_and_folders_go_and_come(served: Served, shell: str, tool: str, shared: bool) -> None:
    served.host.shared = shared
    s = stage(served, shell, tool)
    data = bytes(range(256)) * 5000
    (s.work / "out").mkdir()
    (s.work / "out/my prog").write_bytes(data)
    (s.work / "out/my prog").chmod(0o755)
    (s.work / "out/empty").touch()
    (s.work / "-dash").write_text("dash")
    assert "stored out/my prog: 1280000 bytes, sha256:" in s.ok("obj-store", "out/my prog", "./out/empty")
    s.ok("obj-store", "--as", "all/of it", "out")
    s.ok("obj-store", "--", "-dash")
    assert set(served.host.artifacts) == {"out/my prog", "out/empty", "all/of it", "-dash"}
    assert served.host.artifacts["out/my prog"][1] == data
    (s.work / "elsewhere").mkdir()
    s.work = s.work / "elsewhere"
    s.ok("obj-get", "out/my prog", "out/empty", "--from", "build")
    assert (s.work / "out/my prog").read_bytes() == data
    assert stat.S_IMODE((s.work / "out/my prog").stat().st_mode) == 0o755
    assert (s.work / "out/empty").read_bytes() == b""
    s.ok("obj-get", "all/of it", "--to", "unpacked")
    assert (s.work / "unpacked/my prog").read_bytes() == data
    s.ok("obj-get", "--to", "there/", "--", "-dash")
    assert (s.work / "there/-dash").read_text() == "dash"
    assert sorted(path.name for path in s.work.iterdir()) == ["out", "there", "unpacked"]


@each
def test_bodies_from_stdin_and_reports(served: Served, shell: str, tool: str) -> None:
    served.host.shared = False
    s = stage(served, shell, tool)
    assert s.ok("stage", "add", "--before", "test", stdin=b"a:\n    true\nb: a\n    true\n") == "a\nb\n"
    done = s.gzl("stage", "add", stdin=b"c: nothing\n    true\n")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"fragment:1:4" in done.stderr
    (s.work / "r.xml").write_text(
        '<testsuite><testcase name="x" time="1.5"/><testcase name="y"><failure/></testcase></testsuite>'
    )
    assert s.ok("test-report", "r.xml") == "r.xml: 2 tests, 1 passed, 1 failed, 1.5 s\n"
    (s.work / "bad.xml").write_text("<testsuite>\n<nope")
    done = s.gzl("test-report", "bad.xml")
    assert (done.returncode, done.stderr.startswith(b"gzl: bad.xml:2:")) == (2, True), done


def test_status_tells(served: Served) -> None:
    s = stage(served)
    served.host.last[("build", True)] = "1f3c9ab"
    served.host.paths = ["src/a.c", "doc/b"]
    assert s.ok("last-run", "--passed") == "1f3c9ab\n"
    assert s.gzl("last-run").returncode == 1
    assert s.ok("changed", "*.c") == "src/a.c\n"
    assert (s.gzl("changed", "*.h").returncode, s.gzl("changed", "*.h").stdout) == (1, b"")
    s.ok("progress", "3/12", "linking")
    s.ok("progress", "40%")
    s.ok("progress", "7")
    assert served.host.steps == [("build", 3, 12, "linking"), ("build", 40, 100, ""), ("build", 7, None, "")]
    s.ok("heartbeat")
    assert served.host.beats == ["build"]


def test_ten_thousand_lines_are_printed_in_time(served: Served) -> None:
    s = stage(served)
    served.host.paths = [f"folder/file-{number}" for number in range(10_000)]
    begun = time.monotonic()
    assert s.ok("changed").splitlines() == served.host.paths
    assert time.monotonic() - begun < 5


def test_wrong_usage_says_what_to_do(served: Served) -> None:
    s = stage(served)
    for args, said in {
        ("out", "nothing"): "'nothing' is not KEY=VALUE",
        ("out", "a-b=1"): "'a-b' is no name for an output",
        ("obj-store", "a", "b", "--as", "c"): "store them one by one",
        ("obj-store", "gone"): "No such file",
        ("obj-get", "gone"): "no artifact 'gone'",
        ("obj-get", "../gone"): "'../gone' is no name for an artifact",
        ("await", "nobody"): "no stage 'nobody'",
        ("await", "build"): "would wait for itself",
        ("await", "test", "--timeout", "soon"): "a duration is written like",
        ("stage", "remove"): "'remove' is not 'add'",
        ("progress", "much"): "is not a number, N/M or a percentage",
        ("comment",): "Missing argument 'TEXT'",
        ("comment", " "): "it is empty",
        ("test-report", "/dev/zero"): "not a file",
        ("last-run", "--nope"): "No such option",
    }.items():
        done = s.gzl(*args)
        assert (done.returncode, done.stdout) == (2, b""), done
        assert said in done.stderr.decode(), done
    for command in ("obj-store", "obj-get", "out", "await", "stage", "changed", "comment", "progress", "heartbeat"):
        assert s.ok(command, "--help").startswith(f"Usage: gzl {command}")
    assert "obj-store" in s.ok("--help")


@pytest.mark.parametrize("shell", SHELLS)
def test_what_is_not_the_apis_goes_to_the_next_gzl(served: Served, shell: str) -> None:
    s = stage(served, shell)
    done = s.gzl("list", "--all")
    assert done.returncode == 127
    assert b"`gzl list` is not for a stage's own gzl" in done.stderr
    # Itself, a link to it and a copy of it are no other gzl.
    copies = [served.runtime / name for name in ("link", "copy", "real folder")]
    for copy in copies:
        copy.mkdir()
    (copies[0] / "gzl").symlink_to(folder() / "gzl")
    shutil.copy(folder() / "gzl", copies[1] / "gzl")
    path = ":".join(map(str, [folder(), *copies[:2], "", s.path, copies[2]]))
    assert s.gzl("list", PATH=path).returncode == 127
    (copies[2] / "gzl").write_text('#!/bin/sh\nprintf "%s," real "$@"\nexit 7\n')
    (copies[2] / "gzl").chmod(0o755)
    done = s.gzl("list", "a b", "", PATH=path)
    assert (done.returncode, done.stdout) == (7, b"real,list,a b,,")


def test_without_a_program_to_call_with(served: Served) -> None:
    s = stage(served)
    (Path(s.path) / "curl").unlink()
    done = s.gzl("heartbeat")
    assert done.returncode == 2
    assert b"looked for curl, wget and python3 on PATH" in done.stderr
    done = s.gzl("heartbeat", GZL_TOKEN="")
    assert done.returncode == 2
    assert b"works inside a stage only" in done.stderr


@pytest.mark.parametrize("tool", TOOLS)
def test_await_waits_and_gives_up(served: Served, tool: str) -> None:
    s = stage(served, "dash", tool)
    threading.Timer(0.3, lambda: served.host.end("test", "failed")).start()
    done = s.gzl("await", "test")
    assert (done.returncode, done.stdout) == (1, b"failed\n")
    done = s.gzl("await", "test.key")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"has ended (failed) and gave no output key" in done.stderr
    served.host.states["slow"] = "running"
    begun = time.monotonic()
    assert s.gzl("await", "slow", "--timeout", "1s").returncode == 75
    assert time.monotonic() - begun < 5
    served.host.end("slow", "passed")
    assert s.ok("await", "slow") == "passed\n"


def test_await_asks_again_when_a_slice_is_over(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gzl.jobapi.commands.SLICE", 0.1)
    s = stage(served)
    threading.Timer(0.5, lambda: served.host.end("test", "passed")).start()
    assert s.ok("await", "test") == "passed\n"


@pytest.mark.parametrize("tool", TOOLS)
def test_the_agent_is_replaced_meanwhile(served: Served, tool: str) -> None:
    s = stage(served, "dash", tool)
    told = served.environ()
    served.close()

    def next_agent() -> None:
        served.listener = served.listen()

    timer = threading.Timer(0.4, next_agent)
    timer.start()
    s.ok("comment", "still here", GZL_API=told["GZL_API"])
    timer.join()
    assert served.host.comments == [("build", "still here")]


def test_nobody_answers(served: Served) -> None:
    s = stage(served)
    served.close()
    done = s.gzl("heartbeat", GZL_API_PAUSES="0.01")
    assert done.returncode == 75
    assert b"the agent of this job does not answer at http://127.0.0.1:" in done.stderr
    served.listener = served.listen()


def test_a_stage_without_a_network_uses_the_socket(served: Served) -> None:
    for tool in ("curl", "python3"):
        s = Stage(served, served.runtime, SHELLS["dash"], only(served.runtime / tool, *TOOLS[tool]))
        served.layout.api.write_text(f"http://127.0.0.1:1\n{served.listener.socket_path}\n")
        s.ok("comment", tool)
    assert served.host.comments == [("build", "curl"), ("build", "python3")]


def test_a_call_that_breaks_off_is_made_once(served: Served) -> None:
    """The answer is lost, not the call: a proxy that hangs up on the first answers."""
    s = stage(served)
    host, port = "127.0.0.1", int(served.listener.url.rpartition(":")[2])
    lost = 2

    def upwards(client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while piece := client.recv(1 << 16):
                server.sendall(piece)

    def forward(proxy: socket.socket) -> None:
        nonlocal lost
        for _ in range(3):
            client, _ = proxy.accept()
            with client, socket.create_connection((host, port)) as server:
                threading.Thread(target=upwards, args=(client, server), daemon=True).start()
                answer = b""
                while not re.search(rb"\r\n\r\n0\n\.\n", answer):
                    answer += server.recv(1 << 16)
                if not lost:
                    client.sendall(answer)
                lost = max(0, lost - 1)
                client.shutdown(socket.SHUT_RDWR)

    with socket.create_server((host, 0)) as proxy:
        thread = threading.Thread(target=forward, args=(proxy,))
        thread.start()
        served.layout.api.write_text(f"http://127.0.0.1:{proxy.getsockname()[1]}\n/nowhere\n")
        s.ok("comment", "once")
        thread.join()
    assert served.host.comments == [("build", "once")]


@pytest.mark.parametrize("tool", TOOLS)
def test_no_argument_of_a_process_has_the_token(served: Served, tool: str) -> None:
    """Every program that is started is one of ours that notes its arguments first."""
    served.host.shared = False
    s = stage(served, "dash", tool)
    noted = served.runtime / "arguments"
    for program in Path(s.path).iterdir():
        target = program.resolve()
        program.unlink()
        applet = "busybox wget" if tool == "busybox wget" and program.name == "wget" else ""
        command = f"/bin/{applet}" if applet else str(target)
        program.write_text(f'#!/bin/dash\nprintf "%s\\n" "{program.name}" "$@" >>"{noted}"\nexec {command} "$@"\n')
        program.chmod(0o755)
    (s.work / "f").write_text("data")
    s.ok("obj-store", "f")
    s.ok("obj-get", "f", "--to", "g")
    s.ok("comment", "x")
    text = noted.read_text()
    assert TOOLS[tool][0].replace("busybox", "wget") in text
    assert served.environ()["GZL_TOKEN"].rpartition(".")[2] not in text


def test_a_download_that_broke_off_is_not_taken(served: Served) -> None:
    served.host.shared = False
    s = stage(served)
    caller = served.host.caller(served.environ()["GZL_TOKEN"])
    served.host._keep(caller, "f", "file", 0o644, b"x" * 1000)
    artifact, _ = served.host.artifacts["f"]
    served.host.artifacts["f"] = artifact, b"x" * 999
    done = s.gzl("obj-get", "f")
    assert done.returncode == 75
    assert list(s.work.iterdir()) == []


def test_an_attempt_that_has_ended_is_refused(served: Served) -> None:
    s = stage(served)
    token = served.environ()["GZL_TOKEN"]
    served.host.end("build", "failed")
    done = s.gzl("out", "a=b", GZL_TOKEN=token)
    assert (done.returncode, done.stderr) == (2, b"gzl: attempt 1 of build has ended\n")
    assert served.host.outputs == {}


def test_proxies_are_not_asked(served: Served) -> None:
    for tool in TOOLS:
        s = Stage(served, served.runtime, SHELLS["dash"], only(served.runtime / tool.replace(" ", "-"), *TOOLS[tool]))
        (served.runtime / ".curlrc").write_text("proxy = http://127.0.0.1:1\n")
        (served.runtime / ".wgetrc").write_text("http_proxy = http://127.0.0.1:1\nuse_proxy = on\n")
        s.ok("heartbeat", http_proxy="http://127.0.0.1:1", ALL_PROXY="http://127.0.0.1:1")


def test_shellcheck_finds_nothing() -> None:
    done = subprocess.run(["shellcheck", "--shell=sh", folder() / "gzl"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
