"""The Job API over HTTP: a real listener, real connections; what it does, and what it refuses."""

import os
import re
import socket
import stat
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import httpx
import pytest
from api_host import HOSTILE, JOB, MemoryHost, Served

from gzl.jobapi.host import Caller, Kind, Stored, Truncated
from gzl.jobapi.openapi import document
from gzl.jobapi.tokens import Tokens


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path)
    yield made
    made.close()


def client(served: Served, stage: str = "build", token: str | None = None) -> httpx.Client:
    """What speaks for a stage."""
    told = served.environ(stage)["GZL_TOKEN"] if token is None else token
    headers = {"Authorization": f"Bearer {told}"} if told else {}
    return httpx.Client(base_url=served.listener.url, headers=headers, trust_env=False, timeout=30)


def raw(served: Served) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(served.listener.url.rpartition(":")[2])), timeout=30)


def test_a_stage_does_all_that_a_stage_can(served: Served) -> None:
    host = served.host
    with client(served) as api:
        assert api.get("/v1/attempt").json() == {"job": JOB, "stage": "build", "attempt": 1, "shared": True}
        assert api.post("/v1/heartbeat").status_code == 204
        assert api.post("/v1/outputs", json={"values": {"url": "http://x", "n": ""}}).status_code == 204
        outcome = {"stage": "build", "state": "running", "outputs": {"url": "http://x", "n": ""}}
        assert api.get("/v1/stages/build").json() == outcome
        added = api.post("/v1/stages", json={"fragment": "a:\n    true\n", "before": ["test"]})
        assert (added.status_code, added.json()) == (201, {"stages": ["a"]})
        host.last["test", True] = "1f3c9ab"
        assert api.get("/v1/last-run", params={"stage": "test", "passed": "true"}).json() == {"commit": "1f3c9ab"}
        assert api.get("/v1/last-run").json() == {"commit": None}
        host.paths = ["a.c", "b.h"]
        assert api.get("/v1/changed", params={"glob": ["*.c", "*.x"]}).json() == {"paths": ["a.c"]}
        assert api.post("/v1/comments", json={"text": " hello \n"}).status_code == 204
        assert api.post("/v1/progress", json={"done": 1, "total": 2, "text": "half"}).status_code == 204
        report = api.put("/v1/reports/unit/r.xml", content=b'<testsuite><testcase time="2"/></testsuite>')
        assert report.json() == {"tests": 1, "failures": 0, "errors": 0, "skipped": 0, "seconds": 2.0}
        stored = api.put("/v1/objects/out/prog", content=b"data", params={"mode": "755"})
        assert (stored.status_code, stored.json()["size"]) == (201, 4)
        found = api.get("/v1/artifacts/out/prog", params={"from": "build"}).json()
        assert (found["kind"], found["mode"], found["stage"]) == ("file", "755", "build")
        got = api.get("/v1/objects/out/prog")
        assert (got.content, got.headers["etag"]) == (b"data", f'"{found["digest"]}"')
    assert (host.beats, host.comments) == (["build"], [("build", "hello")])
    assert host.steps == [("build", 1, 2, "half")]


def test_every_operation_of_the_document_is_there_and_wants_a_token(served: Served) -> None:
    with client(served, token="") as api:
        for path, methods in document()["paths"].items():
            for method in methods:
                answer = api.request(method.upper(), re.sub(r"\{\w+\}", "x", path))
                if "/door/" in path or path == "/v1/openapi.json":
                    assert answer.status_code in (200, 401, 422), (method, path, answer)
                    continue
                assert answer.status_code == 401, (method, path, answer)
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.headers["www-authenticate"] == "Bearer"
                assert set(answer.json()) == {"type", "title", "status", "detail"}


def test_the_document_finds_nothing(served: Served) -> None:
    """schemathesis, with all of its checks."""
    import hypothesis
    import schemathesis
    from schemathesis.core.result import Ok

    served.host.release()  # nothing waits
    schema = schemathesis.openapi.from_url(f"{served.listener.url}/v1/openapi.json")
    headers = {"Authorization": f"Bearer {served.environ()['GZL_TOKEN']}"}
    tried = 0
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)

        @hypothesis.given(case=result.ok().as_strategy())
        @hypothesis.settings(
            max_examples=8,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        def check(case: schemathesis.Case) -> None:
            case.call_and_validate(headers=headers)

        check()
        tried += 1
    others = [path for path in document()["paths"] if path != "/v1/openapi.json"]  # which it fetched already
    assert tried == sum(len(document()["paths"][path]) for path in others)


def test_tokens_of_others_are_refused(served: Served) -> None:
    mine = served.environ()["GZL_TOKEN"]
    head, _, mac = mine.rpartition(".")
    others = ["x", mine[:-1], f"{head}.{mac[::-1]}", Tokens(JOB, b"other key" * 4).issue("build", 1)]
    others += [Tokens("01jdf3k2q8v0h6m4c1x9z7n5rb", b"k" * 32).issue("build", 1)]
    for token in others:
        with client(served, token=token) as api:
            assert api.post("/v1/outputs", json={"values": {"a": "b"}}).status_code == 401
            assert api.put("/v1/objects/a", content=b"x").status_code == 401
            door = api.post("/v1/door/command", content=f"{token}\0id\0\0/\0out\0a=b\0".encode())
            assert door.text.startswith("2\n2gzl: GZL_TOKEN is no token of this job")
    assert (served.host.outputs, served.host.artifacts) == ({}, {})


def test_a_token_acts_for_its_own_stage_alone(served: Served) -> None:
    """No request names another stage to write to, but one that says so is refused, not obeyed."""
    with client(served, "test") as api:
        assert api.post("/v1/outputs", json={"values": {"a": "b"}, "stage": "build"}).status_code == 422
        assert api.post("/v1/outputs", params={"stage": "build"}, json={"values": {"a": "b"}}).status_code == 204
        assert api.post("/v1/stages/build", json={"values": {"a": "b"}}).status_code == 405
        api.put("/v1/objects/f", content=b"x", params={"kind": "file"})
    assert served.host.outputs == {"test": {"a": "b"}}
    assert served.host.artifacts["f"][0].stage == "test"


def test_an_attempt_that_ended_or_was_taken_over_is_gone(served: Served) -> None:
    with client(served) as api:
        served.host.running["build"] = 2
        answer = api.post("/v1/outputs", json={"values": {"a": "b"}})
        assert (answer.status_code, answer.json()["detail"]) == (410, "attempt 1 of build has ended")
        served.host.running["build"] = 1
        served.host.over = True
        assert api.put("/v1/objects/a", content=b"x").status_code == 410
    assert (served.host.outputs, served.host.artifacts) == ({}, {})


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_store_nothing(served: Served, name: str) -> None:
    encoded = quote(name.encode(errors="surrogateescape"), safe="")
    head = f"Host: localhost\r\nAuthorization: Bearer {served.environ()['GZL_TOKEN']}\r\nContent-Length: 1\r\n"
    for verb, path in [("PUT", "objects"), ("POST", "reports"), ("POST", f"door/store?name={encoded}")]:
        target = path if "?" in path else f"{path}/{encoded}"
        with raw(served) as connection:
            connection.sendall(f"{verb} /v1/{target} HTTP/1.1\r\n{head}Connection: close\r\n\r\nx".encode())
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        told = int(answer.split()[1])
        assert told in (403, 404, 422) or (told == 200 and b"\r\n\r\n2\n2gzl: " in answer), (name, answer)
    assert (served.host.artifacts, served.host.reports) == ({}, {})


def test_bodies_that_are_wrong_are_refused(served: Served) -> None:
    json = {"Content-Type": "application/json"}
    with client(served) as api:
        for body, status in [
            (b"{", 400), (b'{"text": NaN}', 400), (b"[" * 100_000, 400), (b"\xff", 400), (b"[]", 422), (b"{}", 422),
            (b'{"text": ""}', 422), (b'{"text": "a\\u0000"}', 422), (b'{"text": "\\ud800"}', 422),
        ]:  # fmt: skip
            assert api.post("/v1/comments", content=body, headers=json).status_code == status, body[:20]
        assert api.post("/v1/comments", content=b'{"text": "a"}').status_code == 415
        huge = b'{"text": "' + b"x" * (1 << 20) + b'"}'
        assert api.post("/v1/comments", content=huge, headers=json).status_code == 413
        assert api.post("/v1/comments", content=iter([huge]), headers=json).status_code == 413
        assert api.post("/v1/door/command", content=huge).status_code == 413
        assert api.get("/v1/last-run", params={"passed": "maybe"}).status_code == 422
        assert api.get("/v1/last-run", params={"unknown": "1"}).status_code == 422
        assert api.get("/v1/stages/test", params={"wait": "1e9"}).status_code == 422
        assert api.request("PATCH", "/v1/stages").status_code == 405
        assert api.get("/v1/nothing").status_code == 404
    assert served.host.comments == []


def test_only_for_loopback(served: Served) -> None:
    with client(served) as api:
        for name in (
            "evil.example",
            "evil.example:80",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "",
            "[::2]:1",
        ):
            answer = api.get("/v1/attempt", headers={"Host": name})
            assert answer.status_code == 421, name
        for name in ("localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:80"):
            answer = api.get("/v1/attempt", headers={"Host": name, "Origin": "https://evil.example"})
            assert answer.status_code == 200, name
            assert not [header for header in answer.headers if header.startswith("access-control-")]


def test_said_again_it_is_done_once(served: Served) -> None:
    with client(served) as api:
        for text, key in [("a", "1"), ("a", "1"), ("a", "2"), ("b", "1")]:
            answer = api.post("/v1/comments", json={"text": text}, headers={"Idempotency-Key": key})
            assert answer.status_code == 204
        assert [text for _, text in served.host.comments] == ["a", "a", "b"]
        command = f"{served.environ()['GZL_TOKEN']}\0id\0\0/\0comment\0once\0".encode()
        assert [api.post("/v1/door/command", content=command).text for _ in range(2)] == ["0\n.\n", "0\n.\n"]
        assert [text for _, text in served.host.comments] == ["a", "a", "b", "once"]


def test_waiting_and_slow_clients_keep_nobody_waiting(served: Served) -> None:
    token = served.environ()["GZL_TOKEN"]
    head = f"HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
    wait = f"GET /v1/stages/test?wait=60 {head}\r\n"
    upload = f"PUT /v1/objects/slow {head}Content-Length: 9\r\n\r\nx"
    comment = f"POST /v1/comments {head}Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{{"
    slow = [raw(served) for _ in range(150)]
    try:
        for number, connection in enumerate(slow):
            connection.sendall([wait, upload, comment, "GET /v1/att"][number % 4].encode())
        with client(served) as api:
            api.get("/v1/attempt")
            begun = time.monotonic()
            for _ in range(20):
                assert api.get("/v1/attempt").status_code == 200
            assert time.monotonic() - begun < 5
        served.host.end("test", "passed")
        answer = slow[0].recv(65536)
        assert b'"state":"passed"' in answer + (b"" if b"passed" in answer else slow[0].recv(65536))
    finally:
        for connection in slow:
            connection.close()


def test_garbage_does_not_stop_it(served: Served) -> None:
    token = served.environ()["GZL_TOKEN"]
    head = f"Host: localhost\r\nAuthorization: Bearer {token}\r\n"
    comment = f"POST /v1/comments HTTP/1.1\r\n{head}"
    for text in [
        b"\0\1\2\3" * 1000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /v1/attempt HTTP/1.1\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /v1/attempt HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * (2 << 20),
        f"{comment}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /".encode(),
        f"{comment}Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde".encode(),
        f"{comment}Content-Length: -1\r\n\r\n".encode(),
        f"{comment}Transfer-Encoding: chunked\r\n\r\nZZ\r\n".encode(),
        f"GET /v1/attempt HTTP/1.1\r\n{head}Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n".encode(),
        f"PUT /v1/objects/cut HTTP/1.1\r\n{head}Content-Length: 100\r\n\r\nhalf".encode(),
    ]:
        with raw(served) as connection:
            try:
                connection.sendall(text)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass
            except ConnectionError:
                continue  # hung up on us in the middle of it
    with client(served) as api:
        assert api.get("/v1/attempt").status_code == 200
    assert (served.host.comments, served.host.artifacts) == ([], {})


class Counting(MemoryHost):
    """Keeps only how much was sent."""

    def store_stream(self, caller: Caller, name: str, body: BinaryIO, kind: Kind, mode: int) -> Stored:
        size = 0
        try:
            while piece := body.read(1 << 16):
                size += len(piece)
        except Truncated:
            self.beats.append("truncated")
            raise
        return Stored(name, "sha256:0", size)


def test_uploads_take_constant_memory_and_may_break_off(served: Served) -> None:
    served.host = Counting(served.tokens)
    piece = bytes(1 << 18)
    with client(served) as api:
        api.get("/v1/attempt")
        tracemalloc.start()
        answer = api.put("/v1/objects/big", content=iter([piece] * 160))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert answer.json()["size"] == 40 << 20
        assert peak < 8 << 20
    token = served.environ()["GZL_TOKEN"]
    with raw(served) as connection:
        head = f"PUT /v1/objects/cut HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        connection.sendall(f"{head}Content-Length: 100\r\n\r\nhalf".encode())
    until = time.monotonic() + 10
    while "truncated" not in served.host.beats and time.monotonic() < until:
        time.sleep(0.01)
    assert served.host.beats == ["truncated"]


def test_a_long_poll_ends_with_the_stage_and_with_the_api(served: Served) -> None:
    with client(served) as api:
        begun = time.monotonic()
        assert api.get("/v1/stages/test", params={"wait": 0.2}).json()["state"] == "running"
        assert time.monotonic() - begun >= 0.2
        threading.Timer(0.2, lambda: served.host.out(Caller(JOB, "test", 1), {"k": "v"})).start()
        assert api.get("/v1/stages/test", params={"wait": 60, "key": "k"}).json()["outputs"] == {"k": "v"}
        threading.Timer(0.2, served.close).start()
        assert api.get("/v1/stages/test", params={"wait": 60}).json()["state"] == "running"
        assert time.monotonic() - begun < 20
        with pytest.raises(httpx.TransportError):
            api.get("/v1/attempt")


def test_nothing_is_left_after_the_end(served: Served) -> None:
    before = {thread.name for thread in threading.enumerate()}
    assert "Job API" in before
    descriptors = len(os.listdir("/proc/self/fd"))
    (served.runtime / "other").mkdir()
    second = Served(served.runtime / "other")
    with client(second) as api:
        api.get("/v1/attempt")
    second.close()
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert [path.name for path in second.layout.root.iterdir()] == ["api"]  # for an agent that follows


def test_children_inherit_nothing(served: Served) -> None:
    out = served.runtime / "out"
    actions = [(os.POSIX_SPAWN_OPEN, 1, out, os.O_WRONLY | os.O_CREAT, 0o600)]
    pid = os.posix_spawn("/bin/ls", ["ls", "-l", "/proc/self/fd"], os.environ, file_actions=actions)
    os.waitpid(pid, 0)
    assert "/out" in out.read_text()
    assert "socket:" not in out.read_text()


def test_whoever_never_calls_pays_nothing(tmp_path: Path) -> None:
    """Neither a web server nor the host is made; what is imported is what an agent has already, and `_socket`."""
    program = f"""
import sys
from pathlib import Path
from gzl.jobapi.listener import Listener
from gzl.jobapi.tokens import Tokens
from gzl.model.layout import JobLayout
def host(): raise SystemExit("made")
listener = Listener(JobLayout(Path({str(tmp_path)!r})), Tokens("j", bytes(32)), host, Path("/tmp"))
listener.close()
costly = ("starlette", "uvicorn", "asyncio", "anyio", "click", "socket", "hashlib", "gzl.jobapi.host")
print([name for name in costly if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_next_agent_has_the_same_address_and_accepts_the_same_tokens(served: Served) -> None:
    told = served.environ()
    with client(served) as api:
        assert api.get("/v1/attempt").status_code == 200
    served.close()
    served.listener = served.listen()
    assert served.environ() == told
    with client(served) as api:
        assert api.get("/v1/attempt").status_code == 200
    with closing(served.listen()) as other:  # while the old one still has the port
        assert other.url != told["GZL_API"]
        assert served.layout.api.read_text().startswith(other.url)


def test_a_job_in_a_deep_folder_has_its_socket_elsewhere(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    (tmp_path / "run").mkdir()
    served = Served(deep, tmp_path / "run")
    path = served.listener.socket_path
    assert path.parent.parent == served.runtime
    assert (stat.S_IMODE(path.parent.stat().st_mode), stat.S_IMODE(path.stat().st_mode)) == (0o700, 0o600)
    transport = httpx.HTTPTransport(uds=str(path))
    headers = {"Authorization": f"Bearer {served.environ()['GZL_TOKEN']}"}
    with httpx.Client(transport=transport, base_url="http://localhost", headers=headers) as api:
        assert api.get("/v1/attempt").json()["stage"] == "build"
    served.close()
    assert list(served.runtime.iterdir()) == []
    served.listener = served.listen()
    assert served.listener.socket_path == path
    served.close()
    # A folder of that name that others can read is not used again.
    path.parent.mkdir(mode=0o755)
    served.listener = served.listen()
    assert served.listener.socket_path != path
    served.close()
    assert list(served.runtime.iterdir()) == [path.parent]


def test_a_stage_with_a_name_in_another_script(served: Served) -> None:
    served.host.running["prüfen"] = 1
    served.host.states["prüfen"] = "running"
    with client(served, "prüfen") as api:
        assert api.get("/v1/attempt").json()["stage"] == "prüfen"
        assert api.get("/v1/stages/prüfen").json()["state"] == "running"
