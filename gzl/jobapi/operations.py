"""The API's operations over HTTP: one table, from which the routes and the OpenAPI document are both made."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gzl.jobapi import wire
from gzl.jobapi.content import Content
from gzl.jobapi.host import Caller, Host, Refused
from gzl.jobapi.names import LONGEST_VALUE, object_flaw, value_flaw
from gzl.jobapi.schema import Schema, flaw, read_text, record
from gzl.kit.text import escaped

LONGEST_REPORT = 256 << 20  # bytes
LONGEST_WAIT = 60  # seconds


class Malformed(Refused):
    """The request does not fit the API's description (422). What fits, and the host refuses nevertheless, is a conflict
    with what is there (409)."""

    def __init__(self, message: str) -> None:
        super().__init__(message, 422)


KEY: Schema = {
    "type": "string",
    "pattern": "^[!-~]{1,255}$",
    "description": "A name for the call: said again, it is answered as it was, and not carried out again.",
}

Lane = Literal["short", "stream", "wait"]
"""Which threads serve an operation, so that those that wait, or whose client is slow, take none from the others."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request of a caller whose token was found good."""

    host: Host
    caller: Caller
    request: Request
    operation: "Operation"

    @property
    def query(self) -> dict[str, Any]:
        """The query's parameters, as the operation describes them. Refused (422) if they are not."""
        return read_query(self.operation.query, self.operation.required, self.request)

    def key(self) -> str:
        """The Idempotency-Key, or nothing. Refused (422) if it does not fit its description."""
        key = self.request.headers.get("idempotency-key")
        if key is not None and (wrong := flaw(KEY, key, "Idempotency-Key")):
            raise Malformed(wrong)
        return key or ""

    def json(self) -> dict[str, Any]:
        """The body, as the operation describes it. Refused (400, 415, 422) if it is not."""
        if not hasattr(self.request.state, "json"):
            self.request.state.json = self._json()
        value: dict[str, Any] = self.request.state.json
        return value

    def _json(self) -> object:
        kind = self.request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise Refused(f"the body's media type is {kind or 'not given'}; it must be application/json", 415)
        value = wire.json_of(self.request.state.body)
        assert self.operation.body is not None
        if wrong := flaw(self.operation.body, value, "body"):
            raise Malformed(wrong)
        return value

    def body(self, limit: int | None) -> BinaryIO:
        announced = self.request.headers.get("content-length", "")
        if limit is not None and announced.isdecimal() and int(announced) > limit:
            raise wire.too_large(limit)
        return wire.body_file(self.request.receive, None, limit)

    def name(self) -> str:
        """The artifact's or report's name in the path."""
        name: str = self.request.path_params["name"]
        if wrong := object_flaw(name):
            raise Refused(wrong, 403)
        return name


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path: how it is described, and what does it."""

    method: str
    path: str
    name: str
    summary: str
    do: Callable[[Call], Response]
    success: tuple[int, Schema | str | None]
    """Status and schema, or media type, of an answer that says yes; None where it has no body."""
    query: Mapping[str, Schema] = field(default_factory=dict)
    required: Sequence[str] = ()
    """The parameters that must be there."""
    body: Schema | None = None
    media: Mapping[str, Schema] = field(default_factory=dict)
    """The media type of a body that is not JSON, and what is known of it."""
    lane: Lane = "short"
    repeatable: bool = False
    """Whether an Idempotency-Key makes it safe to say again; other operations are that by themselves."""

    @property
    def route(self) -> str:
        """The path in starlette's words: an artifact's name may have slashes."""
        return self.path.replace("{name}", "{name:path}")


def read_query(query: Mapping[str, Schema], required: Sequence[str], request: Request) -> dict[str, Any]:
    """The parameters of a query by name, each of the type that its schema has; arrays are repeated parameters. Refused
    (422) if they are not so."""
    values: dict[str, Any] = {}
    for name in request.query_params:
        if name not in query:
            raise Malformed(f"{escaped(name, 80)!r} is no parameter here; there is {', '.join(query) or 'none'}")
    for name, schema in query.items():
        texts = request.query_params.getlist(name)
        if schema["type"] == "array":
            values[name] = texts
        elif len(texts) > 1:
            raise Malformed(f"the parameter {name} is given {len(texts)} times")
        elif texts:
            values[name] = read_text(schema, texts[0])
        elif name in required:
            raise Malformed(f"the parameter {name} is missing")
        if name in values and (wrong := flaw(schema, values[name], f"the parameter {name}")):
            raise Malformed(wrong)
    return values


def _attempt(call: Call) -> Response:
    caller = call.caller
    return JSONResponse({"job": caller.job, "stage": caller.stage, "attempt": caller.attempt, "shared": caller.shared})


def _heartbeat(call: Call) -> Response:
    call.host.heartbeat(call.caller)
    return Response(status_code=204)


def _out(call: Call) -> Response:
    values: dict[str, str] = call.json()["values"]
    for key, value in values.items():
        if wrong := value_flaw(value):
            raise Malformed(f"{key}: {wrong}")
    call.host.out(call.caller, values)
    return Response(status_code=204)


def _outcome(call: Call) -> Response:
    stage: str = call.request.path_params["stage"]
    query = call.query
    if query.get("wait", 0) > 0:
        outcome = call.host.wait(call.caller, stage, query.get("key"), query["wait"])
    else:
        outcome = call.host.outcome(call.caller, stage)
    return JSONResponse({"stage": outcome.stage, "state": outcome.state, "outputs": dict(outcome.outputs)})


def _add_stages(call: Call) -> Response:
    body = call.json()
    added = call.host.add_stages(call.caller, _encoded(body["fragment"]), body.get("before", []))
    return JSONResponse({"stages": added}, 201)


def _last_run(call: Call) -> Response:
    commit = call.host.last_run(call.caller, call.query.get("stage"), call.query.get("passed", False))
    return JSONResponse({"commit": commit})


def _changed(call: Call) -> Response:
    return JSONResponse({"paths": call.host.changed(call.caller, call.query.get("since"), call.query["glob"])})


def _comment(call: Call) -> Response:
    text = call.json()["text"].strip()
    if wrong := value_flaw(text) or (None if text else "the text is empty"):
        raise Malformed(wrong)
    call.host.comment(call.caller, text)
    return Response(status_code=204)


def _progress(call: Call) -> Response:
    body = call.json()
    text = body.get("text", "")
    if wrong := value_flaw(text):
        raise Malformed(wrong)
    total = body.get("total")
    call.host.progress(call.caller, int(body["done"]), None if total is None else int(total), text)
    return Response(status_code=204)


def _report(call: Call) -> Response:
    name = call.name()
    with call.body(LONGEST_REPORT) as body:
        totals = call.host.report(call.caller, name, body)
    return JSONResponse({field: getattr(totals, field) for field in _TOTALS["properties"]})


def _store(call: Call) -> Response:
    name, query = call.name(), call.query
    with call.body(None) as body:
        mode = int(query.get("mode", "644"), 8)
        stored = call.host.store_stream(call.caller, name, body, query.get("kind", "file"), mode)
    return JSONResponse({"name": stored.name, "digest": stored.digest, "size": stored.size}, 201)


def _fetch(call: Call) -> Response:
    artifact = call.host.find(call.caller, call.name(), call.query.get("from"))
    return Content(call.host.open(call.caller, artifact), artifact)


def _find(call: Call) -> Response:
    found = call.host.find(call.caller, call.name(), call.query.get("from"))
    said = {field: getattr(found, field) for field in _ARTIFACT["properties"]}
    return JSONResponse(said | {"mode": f"{found.mode & 0o777:o}"})


def _encoded(text: str) -> bytes:
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError as error:
        raise Malformed("fragment: a surrogate without its other half is no text") from error


NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 255}
_VALUE: Schema = {"type": "string", "maxLength": LONGEST_VALUE, "pattern": "^[^\\u0000]*$"}
_COUNT: Schema = {"type": "integer", "minimum": 0, "maximum": 10**15}
NAMES: Schema = {"type": "array", "items": NAME, "maxItems": 100}
_OUTCOME = record(
    {"stage": NAME, "state": NAME, "outputs": {"type": "object", "additionalProperties": {"type": "string"}}}
)
_STORED = record({"name": NAME, "digest": NAME, "size": _COUNT})
_MODE: Schema = {"type": "string", "pattern": "^[0-7]{3}$"}
_KIND: Schema = {"type": "string", "enum": ["file", "tree"]}
_ARTIFACT = record(
    {"name": NAME, "kind": _KIND, "digest": NAME, "size": _COUNT, "mode": _MODE, "job": NAME, "stage": NAME}
)
_SECONDS: Schema = {"type": "number", "minimum": 0}
_TOTALS = record({"tests": _COUNT, "failures": _COUNT, "errors": _COUNT, "skipped": _COUNT, "seconds": _SECONDS})
_COMMIT: Schema = {**record({}), "properties": {"commit": {"type": ["string", "null"]}}, "required": ["commit"]}
_OUTPUTS = record(
    {
        "values": {
            "type": "object",
            "minProperties": 1,
            "maxProperties": 1000,
            "propertyNames": {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]{0,99}$"},
            "additionalProperties": _VALUE,
        }
    }
)
_FRAGMENT: Schema = {"type": "string", "maxLength": wire.LONGEST_JSON}
FROM = {"from": {**NAME, "description": "A stage, a job, a commit or a repository; by default this job."}}
STORE_QUERY: Mapping[str, Schema] = {
    "kind": {**_KIND, "default": "file", "description": "The body is a file's bytes, or a tar of a folder's content."},
    "mode": {**_MODE, "default": "644", "description": "A file's permission bits, in octal."},
}

OPERATIONS: Sequence[Operation] = (
    Operation(
        "GET", "/v1/attempt", "getAttempt", "Who the token stands for.", _attempt,
        (200, record({"job": NAME, "stage": NAME, "attempt": _COUNT, "shared": {"type": "boolean"}})),
    ),
    Operation(
        "POST", "/v1/heartbeat", "heartbeat", "Say that the stage lives, so that `idle=` does not end it.", _heartbeat,
        (204, None),
    ),
    Operation(
        "POST", "/v1/outputs", "setOutputs", "Hand values to later stages.", _out, (204, None), body=_OUTPUTS,
    ),
    Operation(
        "GET", "/v1/stages/{stage}", "getStage",
        "Where a stage of the job stands; with `wait`, once it has ended (or given the output `key`).", _outcome,
        (200, _OUTCOME), lane="wait",
        query={
            "key": {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]{0,99}$"},
            "wait": {"type": "number", "minimum": 0, "maximum": LONGEST_WAIT, "description": "At most these seconds."},
        },
    ),
    Operation(
        "POST", "/v1/stages", "addStages", "Add the stages of a Gzlfile fragment to the job.", _add_stages,
        (201, record({"stages": {"type": "array", "items": NAME}})), repeatable=True,
        body=record({"fragment": _FRAGMENT}, {"before": NAMES}),
    ),
    Operation(
        "GET", "/v1/last-run", "getLastRun", "The commit that a stage last ran, or passed, on.", _last_run,
        (200, _COMMIT),
        query={"stage": {**NAME, "description": "By default the caller's."}, "passed": {"type": "boolean"}},
    ),
    Operation(
        "GET", "/v1/changed", "getChanged", "The paths that changed since a stage last passed.", _changed,
        (200, record({"paths": {"type": "array", "items": {"type": "string"}}})), lane="stream",
        query={"since": {**NAME, "description": "A stage, by default the caller's."}, "glob": NAMES},
    ),
    Operation(
        "POST", "/v1/comments", "addComment", "Add a comment to the job.", _comment, (204, None), repeatable=True,
        body=record({"text": {**_VALUE, "minLength": 1, "pattern": "^[^\\u0000]*[^\\u0000\\s][^\\u0000]*$"}}),
    ),
    Operation(
        "POST", "/v1/progress", "setProgress", "Say how far the stage is.", _progress, (204, None),
        body=record({"done": _COUNT}, {"total": _COUNT, "text": _VALUE}),
    ),
    *(
        Operation(
            method, "/v1/reports/{name}", f"{name}Report", "Take a test report in JUnit's XML.", _report,
            (200, _TOTALS), media={"application/xml": {}}, lane="stream",
        )
        for method, name in (("PUT", "put"), ("POST", "post"))
    ),
    Operation(
        "GET", "/v1/artifacts/{name}", "getArtifact", "What an artifact is.", _find, (200, _ARTIFACT), query=FROM,
    ),
    Operation(
        "GET", "/v1/objects/{name}", "getObject", "An artifact's content: a file's bytes, or a tar of a folder's.",
        _fetch, (200, "application/octet-stream"), query=FROM, lane="stream",
    ),
    *(
        Operation(
            method, "/v1/objects/{name}", f"{name}Object", "Keep a file, or a folder as a tar, as an artifact.", _store,
            (201, _STORED), query=STORE_QUERY, media={"application/octet-stream": {}}, lane="stream",
        )
        for method, name in (("PUT", "put"), ("POST", "post"))
    ),
)  # fmt: skip
