"""What a call of the `gzl` in a stage costs, beside curl on an ASGI application that does nothing.

Both applications are behind the same web server, uvicorn, in a process of their own; the API's host is the one in
memory that the contract tests use, so that what is measured is gzl's side of the call and not a job's.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from common import ROOT, Machine, Table, Timing, compare, in_turns, timed

from gzl.jobapi.shim import folder

BASE = "curl, an ASGI application that does nothing"
CALL = "gzl heartbeat, with curl"
BUDGET = 2.0
_BASICS = "base64 cat chmod cp date mkdir mv od rm sed sleep tail tar tr wc".split()
_BARE = """
import uvicorn
async def application(scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"0\\n.\\n"})
class Server(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        print(f"http://127.0.0.1:{self.servers[0].sockets[0].getsockname()[1]}", flush=True)
Server(uvicorn.Config(application, port=0, log_config=None, access_log=False, lifespan="off", loop="asyncio")).run()
"""
_API = f"""
import json, sys
sys.path.insert(0, {str(ROOT / "tests")!r})
from pathlib import Path
from api_host import Served
served = Served(Path(sys.argv[1]))
print(json.dumps(served.environ()), flush=True)
sys.stdin.read()
"""


def tables(machine: Machine) -> Iterator[Table]:
    """One table of calls, one of first calls."""
    rounds = machine.rounds(40, 5)
    bare = _Program(machine, _BARE)
    api = _Program(machine, _API, _made(machine.folder / "jobapi"))
    body = machine.folder / "body"
    body.write_bytes(b"word\0" * 5)
    stages = {tool: _environment(machine, api, tool) for tool in ("curl", "wget", "python3")}
    contestants = {
        BASE: lambda: machine.time("curl", "-qsS", "--data-binary", f"@{body}", f"{bare.said}/v1/door/command"),
        CALL: lambda: _call(stages["curl"]),
        "gzl heartbeat, with GNU wget": lambda: _call(stages["wget"]),
        "gzl heartbeat, with python3": lambda: _call(stages["python3"]),
        "sh -c :": lambda: machine.time("sh", "-c", ":"),
    }
    timings = in_turns(contestants, rounds)
    yield Table(f"a call from a stage, {rounds} rounds", list(compare(timings, BASE, {CALL: BUDGET})))
    bare.end()
    api.end()
    first = Timing(tuple(_first(machine, number) for number in range(machine.rounds(15, 3))))
    yield Table("the first call of a job, which imports the web server", list(compare({CALL: first}, CALL)))


class _Program:
    """A server, whose first line says where it is."""

    def __init__(self, machine: Machine, program: str, *args: Path) -> None:
        argv = [sys.executable, "-c", program, *map(os.fspath, args)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(argv, env=machine.env, stdin=pipe, stdout=pipe, text=True)
        assert self._process.stdout is not None
        self.said = self._process.stdout.readline().strip()

    def end(self) -> None:
        self._process.terminate()
        self._process.wait()


def _first(machine: Machine, number: int) -> float:
    api = _Program(machine, _API, _made(machine.folder / f"jobapi-{number}"))
    environment = _environment(machine, api, "curl")
    taken = _call(environment)
    api.end()
    return taken


def _call(environment: Mapping[str, str]) -> float:
    argv = [folder() / "gzl", "heartbeat"]
    return timed(lambda: subprocess.run(argv, env=dict(environment), check=True, stdin=subprocess.DEVNULL))


def _environment(machine: Machine, api: _Program, tool: str) -> Mapping[str, str]:
    """A stage's environment, with this one program that can call."""
    place = machine.folder / f"only-{tool}"
    if not place.exists():
        place.mkdir()
        for name in ("sh", *_BASICS, tool):
            found = "/usr/bin/python3" if name == "python3" else shutil.which(name)
            assert found, f"{name} is missing: tests/services installs it"
            (place / name).symlink_to(found)
    told: dict[str, str] = json.loads(api.said)
    return {**told, "PATH": os.fspath(place)}


def _made(path: Path) -> Path:
    path.mkdir()
    return path
