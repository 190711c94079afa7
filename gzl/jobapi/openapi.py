"""The OpenAPI document (3.1) of the API, made from the table of operations that also makes its routes."""

from collections.abc import Mapping
from typing import Any

from gzl import __version__
from gzl.jobapi import door
from gzl.jobapi.door import Service
from gzl.jobapi.operations import KEY, OPERATIONS, Operation
from gzl.jobapi.schema import Schema, record

_REFUSALS = {
    400: "The request is not well-formed.",
    401: "There is no token, or one that is none of this job's.",
    403: "It is not the caller's to do, or a name that none may have.",
    404: "There is none of that name.",
    409: "It fits its description, but does not go together with what is.",
    410: "The attempt that the token is for has ended or was taken over.",
    413: "The body is too large.",
    415: "The body has another media type.",
    421: "The Host header names no loopback address.",
    422: "It does not fit its description.",
    500: "A bug in gzl; its agent's log has more.",
    503: "It may work later.",
}
_PROBLEM = {
    "type": "object",
    "description": "RFC 9457",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What was refused, and what to do."},
    },
    "required": ["type", "title", "status", "detail"],
}


def document() -> Mapping[str, Any]:
    """The document, as JSON values."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    commands = Service("Carry out a command of the `gzl` in a stage.", door.fetch, door.COMMAND_QUERY)
    for name, service in {"command": commands, **door.SERVICES}.items():
        paths[f"/v1/door/{name}"] = {"post": _door(name, service)}
    paths["/v1/openapi.json"] = {"get": _itself()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "gzl Job API",
            "version": __version__,
            "description": "What a running stage can ask of gzl. A new version of the API has another path than /v1.",
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": {"Problem": _PROBLEM},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "GZL_TOKEN of the stage's environment."}
            },
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    status, success = operation.success
    parameters = [
        _parameter(part, "path", {"type": "string", "minLength": 1}, True)
        for part in ("name", "stage")
        if f"{{{part}}}" in operation.path
    ]
    parameters += [_parameter(n, "query", s, n in operation.required) for n, s in operation.query.items()]
    if operation.repeatable:
        parameters.append(_parameter("Idempotency-Key", "header", KEY, False))
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": parameters,
        "responses": {str(status): _success(success), **_refusals()},
    }
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": operation.body}}}
    elif operation.media:
        described["requestBody"] = {
            "required": False,
            "content": {media: {"schema": schema} for media, schema in operation.media.items()},
        }
    return described


def _door(name: str, service: Service) -> dict[str, Any]:
    return {
        "operationId": f"door{name.capitalize()}",
        "summary": f"{service.summary} For the `gzl` in a stage alone; it changes with it.",
        # The token is in the body where there is no header.
        "security": [{}, {"token": []}],
        "parameters": [_parameter(n, "query", s, n in service.required) for n, s in service.query.items()],
        "requestBody": {"required": False, "content": {"application/octet-stream": {"schema": {}}}},
        "responses": {"200": {"description": "The answer.", "content": {service.media: {"schema": {}}}}, **_refusals()},
    }


def _itself() -> dict[str, Any]:
    schema = record({"openapi": {"type": "string"}, "info": {"type": "object"}, "paths": {"type": "object"}})
    return {
        "operationId": "getDocument",
        "summary": "This document.",
        "security": [],
        "responses": {"200": _success({**schema, "additionalProperties": True}), **_refusals()},
    }


def _parameter(name: str, where: str, schema: Schema, required: bool) -> dict[str, Any]:
    text = {k: v for k, v in schema.items() if k == "description"}
    rest = {k: v for k, v in schema.items() if k != "description"}
    return {"name": name, "in": where, "required": required, **text, "schema": rest}


def _success(success: Schema | str | None) -> dict[str, Any]:
    if success is None:
        return {"description": "Done."}
    media, schema = (success, {}) if isinstance(success, str) else ("application/json", success)
    content: dict[str, Any] = {media: {"schema": schema}}
    if media == "application/octet-stream":
        content["application/x-tar"] = {"schema": {}}
    return {"description": "Done.", "content": content}


def _refusals() -> dict[str, Any]:
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {str(status): {"description": text, "content": problem} for status, text in _REFUSALS.items()}
