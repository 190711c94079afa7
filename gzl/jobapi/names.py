"""What names and values from a stage may look like. Each function gives what is wrong, or None."""

import re
import unicodedata

from gzl.kit.text import escaped

LONGEST_NAME = 255
"""Bytes of an artifact's name."""
LONGEST_VALUE = 64 * 1024
"""Bytes of an output's value, and of a comment."""

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}\Z")


def object_flaw(name: str) -> str | None:
    """For an artifact's name: a relative path of printable characters that stays where it is put."""
    shown = f"{escaped(name, 80)!r} is no name for an artifact"
    if not name:
        return f"{shown}: it is empty"
    if not name.isprintable():  # control characters, line ends, bidirectional marks, bytes that are no UTF-8
        return f"{shown}: it has characters that cannot be printed; --as gives another name"
    if "\ufffd" in name:  # what a percent-encoded byte that is no UTF-8 becomes on its way through HTTP
        return f"{shown}: it is not UTF-8; --as gives another name"
    if len(name.encode()) > LONGEST_NAME:
        return f"{shown}: it is longer than {LONGEST_NAME} bytes; --as gives another name"
    # A file system or an archiver may normalise: `‥` (U+2025) is `..` in NFKC, `／` (U+FF0F) is `/`.
    for form in (name, unicodedata.normalize("NFKC", name)):
        if "\\" in form:
            return f"{shown}: it has a backslash; --as gives another name"
        if any(part in ("", ".", "..") for part in form.split("/")):
            return f"{shown}: it must be a relative path without `.`, `..` and empty parts; --as gives another name"
    return None


def key_flaw(key: str) -> str | None:
    """For an output's key: it becomes a part of a variable's name."""
    if _KEY.match(key):
        return None
    return f"{escaped(key, 80)!r} is no name for an output: letters, digits and _, at most 100, not a digit first"


def value_flaw(value: str) -> str | None:
    """For an output's value or a comment: what an environment variable can hold."""
    try:
        size = len(value.encode(errors="surrogateescape"))
    except UnicodeEncodeError:
        return "a surrogate without its other half is no text"
    if "\0" in value:
        return "a value cannot hold a NUL character; store it as a file: gzl obj-store"
    if size > LONGEST_VALUE:
        return f"it has {size} bytes of at most {LONGEST_VALUE}; store it as a file: gzl obj-store"
    return None
