"""The door for the `gzl` in a stage: POST only, because that is all that every wget can do.

    POST /v1/door/command   words in, an answer out; see `answer`
    POST /v1/door/store     a file or a tar in, an answer out
    POST /v1/door/report    a test report in, an answer out
    POST /v1/door/stages    a Gzlfile fragment in, an answer out
    POST /v1/door/fetch     an artifact out

An answer has status 200 whatever it says: wget shows no other one's text. The token is in a header, or else the first
word of the body, because busybox's wget takes headers only where `ps` shows them. With `encoding=base64` or `hex` the
body is text. What is said again with the same words and the same name is answered from memory.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, BinaryIO

from starlette.requests import Request
from starlette.responses import Response

from gzl.errors import GzlError, TransientError
from gzl.jobapi import answer, commands, wire
from gzl.jobapi.answer import Answer
from gzl.jobapi.content import Content
from gzl.jobapi.host import Caller, Host, Kind, Refused
from gzl.jobapi.names import object_flaw
from gzl.jobapi.operations import FROM, LONGEST_REPORT, NAME, NAMES, STORE_QUERY, Lane
from gzl.jobapi.repeats import Repeats
from gzl.jobapi.schema import Schema

_TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h
_LANES: Mapping[str, Lane] = {
    "await": "wait", "obj-store": "stream", "obj-get": "stream", "changed": "stream", "test-report": "stream",
}  # fmt: skip


_ENCODING: Mapping[str, Schema] = {"encoding": {"type": "string", "enum": ["base64", "hex"]}}
_REQUEST: Mapping[str, Schema] = {"request": {"type": "string", "maxLength": 255}}


@dataclass(frozen=True, slots=True)
class Visit:
    """One request at the door; `query` fits the service's description."""

    host: Host
    request: Request
    query: Mapping[str, Any]
    repeats: Repeats[Answer]


@dataclass(frozen=True, slots=True)
class Service:
    """One thing that the door does, apart from commands."""

    summary: str
    do: Callable[[Visit], Response]
    query: Mapping[str, Schema]
    required: Sequence[str] = ()
    media: str = "text/plain"
    """What its answer is."""


def lane_of(body: bytes) -> Lane:
    """Which threads serve the command in a body."""
    words = body.split(b"\0", 5)
    return _LANES.get(words[4].decode(errors="replace"), "short") if len(words) > 4 else "short"


def command(visit: Visit, body: bytes) -> Response:
    """Carry out the command in a body."""

    def do() -> Answer:
        said = answer.read(body)
        caller = replace(visit.host.caller(said.token), request=said.request)
        return commands.run(commands.Call(visit.host, caller, said))

    words = body.split(b"\0", 2)
    if len(words) < 3 or not words[1]:
        return told(do)
    return told(lambda: visit.repeats.once(("command", sha256(body).hexdigest()), do))


def store(visit: Visit) -> Response:
    """Keep what is sent as an artifact."""

    def do(caller: Caller, body: BinaryIO) -> Answer:
        kind: Kind = visit.query.get("kind", "file")
        mode = int(visit.query.get("mode", "644"), 8)
        return Answer(out=[commands.say_stored(visit.host.store_stream(caller, _name(visit), body, kind, mode))])

    return _with_body(visit, do, None)


def report(visit: Visit) -> Response:
    """Take a test report."""

    def do(caller: Caller, body: BinaryIO) -> Answer:
        name = _name(visit)
        return Answer(out=[commands.say_totals(name, visit.host.report(caller, name, body))])

    return _with_body(visit, do, LONGEST_REPORT)


def stages(visit: Visit) -> Response:
    """Add the stages of a fragment."""

    def do(caller: Caller, body: BinaryIO) -> Answer:
        fragment, before = body.read(), visit.query["before"]
        name = (caller.stage, str(caller.attempt), caller.request, *before, sha256(fragment).hexdigest())
        return visit.repeats.once(
            ("stages", *name), lambda: Answer(out=visit.host.add_stages(caller, fragment, before))
        )

    return _with_body(visit, do, wire.LONGEST_JSON)


def fetch(visit: Visit) -> Response:
    """Send an artifact."""
    with closing(_body(visit, wire.LONGEST_JSON)) as body:
        caller = visit.host.caller(_token(visit, body))
    artifact = visit.host.find(caller, _name(visit), visit.query.get("from"))
    return Content(visit.host.open(caller, artifact), artifact)


def _with_body(visit: Visit, do: Callable[[Caller, BinaryIO], Answer], limit: int | None) -> Response:
    def whole() -> Answer:
        with closing(_body(visit, limit)) as body:
            caller = visit.host.caller(_token(visit, body))
            return do(replace(caller, request=visit.query.get("request", "")), body)

    return told(whole)


def told(do: Callable[[], Answer]) -> Response:
    """What `do` answers, or why it does not."""
    try:
        said = do()
    except Refused as error:
        return told_no(error)
    except TransientError as error:
        said = answer.refused(error, _TRY_AGAIN)
    except GzlError as error:
        said = answer.refused(error, 2)
    return Response(said.encode(), media_type="text/plain")


def told_no(error: Refused) -> Response:
    """That a command was refused."""
    return Response(answer.refused(error, error.exit).encode(), media_type="text/plain")


def _body(visit: Visit, limit: int | None) -> BinaryIO:
    return wire.body_file(visit.request.receive, visit.query.get("encoding"), limit)


def _token(visit: Visit, body: BinaryIO) -> str:
    header = wire.bearer(visit.request)
    return header if header is not None else wire.first_word(body)


def _name(visit: Visit) -> str:
    name: str = visit.query["name"]
    if wrong := object_flaw(name):
        raise Refused(wrong, 403)
    return name


COMMAND_QUERY = _ENCODING
# The `gzl` in a stage says kind and mode of whatever it sends.
SERVICES: Mapping[str, Service] = {
    "store": Service("Keep what is sent as an artifact.", store, {"name": NAME, **STORE_QUERY, **_ENCODING}, ("name",)),
    "report": Service("Take a test report.", report, {"name": NAME, **STORE_QUERY, **_ENCODING}, ("name",)),
    "stages": Service(
        "Add the stages of a Gzlfile fragment.", stages, {"before": NAMES, **_REQUEST, **STORE_QUERY, **_ENCODING}
    ),
    "fetch": Service(
        "Send an artifact.", fetch, {"name": NAME, **FROM, **_ENCODING}, ("name",), "application/octet-stream"
    ),
}
