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

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import BinaryIO

from starlette.requests import Request
from starlette.responses import Response

from gzl.errors import GzlError, TransientError
from gzl.jobapi import answer, commands, wire
from gzl.jobapi.answer import Answer
from gzl.jobapi.content import Content
from gzl.jobapi.host import Caller, Host, Kind, Refused
from gzl.jobapi.names import object_flaw
from gzl.jobapi.operations import LONGEST_REPORT, Lane
from gzl.jobapi.repeats import Repeats

_TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h
_LANES: Mapping[str, Lane] = {
    "await": "wait", "obj-store": "stream", "obj-get": "stream", "changed": "stream", "test-report": "stream",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Visit:
    """One request at the door."""

    host: Host
    request: Request
    repeats: Repeats[Answer]


def lane_of(body: bytes) -> Lane:
    """Which threads serve the command in a body."""
    words = body.split(b"\0", 5)
    return _LANES.get(words[4].decode(errors="replace"), "short") if len(words) > 4 else "short"


def command(visit: Visit, body: bytes) -> Response:
    """Carry out the command in a body, already decoded."""

    def do() -> Answer:
        said = answer.read(body)
        caller = replace(visit.host.caller(said.token), request=said.request)
        return commands.run(commands.Call(visit.host, caller, said))

    words = body.split(b"\0", 2)
    if len(words) < 3 or not words[1]:
        return _told(do)
    return _told(lambda: visit.repeats.once(("command", sha256(body).hexdigest()), do))


def store(visit: Visit) -> Response:
    """Keep what is sent as an artifact."""

    def do(caller: Caller, body: BinaryIO) -> Answer:
        query = visit.request.query_params
        kind: Kind = "tree" if query.get("kind") == "tree" else "file"
        mode = 0o755 if query.get("mode") == "755" else 0o644
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
        fragment, before = body.read(), visit.request.query_params.getlist("before")
        name = (caller.stage, str(caller.attempt), caller.request, *before, sha256(fragment).hexdigest())
        return visit.repeats.once(
            ("stages", *name), lambda: Answer(out=visit.host.add_stages(caller, fragment, before))
        )

    return _with_body(visit, do, wire.LONGEST_JSON)


def fetch(visit: Visit) -> Response:
    """Send an artifact."""
    with closing(_body(visit, wire.LONGEST_JSON)) as body:
        caller = visit.host.caller(_token(visit, body))
    artifact = visit.host.find(caller, _name(visit), visit.request.query_params.get("from"))
    return Content(visit.host.open(caller, artifact), artifact)


def encoding_of(request: Request) -> str | None:
    """How the body is encoded. Refused (400) if in no known way."""
    encoding = request.query_params.get("encoding")
    if encoding not in (None, "base64", "hex"):
        raise Refused("encoding is base64 or hex", 400)
    return encoding


def _with_body(visit: Visit, do: Callable[[Caller, BinaryIO], Answer], limit: int | None) -> Response:
    def whole() -> Answer:
        with closing(_body(visit, limit)) as body:
            caller = visit.host.caller(_token(visit, body))
            return do(replace(caller, request=visit.request.query_params.get("request", "")), body)

    return _told(whole)


def _told(do: Callable[[], Answer]) -> Response:
    try:
        said = do()
    except Refused as error:
        said = answer.refused(error, error.exit)
    except TransientError as error:
        said = answer.refused(error, _TRY_AGAIN)
    except GzlError as error:
        said = answer.refused(error, 2)
    return Response(said.encode(), media_type="text/plain")


def _body(visit: Visit, limit: int | None) -> BinaryIO:
    return wire.body_file(visit.request.receive, encoding_of(visit.request), limit)


def _token(visit: Visit, body: BinaryIO) -> str:
    header = wire.bearer(visit.request)
    return header if header is not None else wire.first_word(body)


def _name(visit: Visit) -> str:
    name = visit.request.query_params.get("name", "")
    if wrong := object_flaw(name):
        raise Refused(wrong)
    return name
