"""The part of JSON Schema (2020-12) that the API's document uses: one value both describes a request and checks it."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

_NUMBER = re.compile(r"-?[0-9]{1,400}(\.[0-9]{1,400})?([eE][+-]?[0-9]{1,4})?")  # RFC 8259
_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


def record(required: Mapping[str, Schema], optional: Mapping[str, Schema] = {}) -> Schema:
    """An object with these members and no others."""
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }


def flaw(schema: Schema, value: object, where: str) -> str | None:
    """What in `value` does not fit, named by its path that begins with `where`; None if all does."""
    kind = schema["type"]
    # In JSON Schema a truth value is no number, and 1.0 is an integer.
    right = isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))
    if not right and not (kind == "integer" and isinstance(value, float) and value.is_integer()):
        return f"{where} is not of the type {kind}"
    if isinstance(value, str):
        return _text_flaw(schema, value, where)
    if isinstance(value, dict):
        return _object_flaw(schema, value, where)
    if isinstance(value, list):
        if len(value) > schema.get("maxItems", len(value)):
            return f"{where} has more than {schema['maxItems']} items"
        return _first(flaw(schema["items"], item, f"{where}[{number}]") for number, item in enumerate(value))
    assert isinstance(value, (int, float))
    if not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        return f"{where} is not from {schema.get('minimum', 'any')} to {schema.get('maximum', 'any')}"
    return None


def read_text(schema: Schema, text: str) -> object:
    """The value that a parameter's text stands for; the text itself where it stands for none, which `flaw` will say."""
    kind = schema["type"]
    if kind == "boolean" and text in ("true", "false"):
        return text == "true"
    if kind == "integer" and re.fullmatch(r"-?[0-9]{1,18}", text):
        return int(text)
    if kind == "number" and _NUMBER.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text


def _text_flaw(schema: Schema, value: str, where: str) -> str | None:
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
        most = schema.get("maxLength", "any number of")
        return f"{where} has {len(value)} characters, not {schema.get('minLength', 0)} to {most}"
    if "pattern" in schema and not re.fullmatch(schema["pattern"], value):
        return f"{where} does not match {schema['pattern']}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{where} is none of {', '.join(schema['enum'])}"
    return None


def _object_flaw(schema: Schema, value: dict[str, object], where: str) -> str | None:
    known: Mapping[str, Schema] = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            return f"{where}.{name} is missing"
    if not schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", len(value)):
        return f"{where} has {len(value)} members, too few or too many"
    for name, member in value.items():
        inner = known.get(name, schema.get("additionalProperties", False))
        if not inner:
            return f"{where}.{name[:80]} is not known"
        found = flaw(schema["propertyNames"], name, f"a name in {where}") if "propertyNames" in schema else None
        if found := found or flaw(inner, member, f"{where}.{name[:80]}"):
            return found
    return None


def _first(flaws: Iterator[str | None]) -> str | None:
    return next((found for found in flaws if found), None)
