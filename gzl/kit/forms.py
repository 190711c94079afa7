"""The forms in which a secret comes out of programs: as it is, line by line, and in the encodings that tools print.

`mask.Masker` looks for what is listed here. A form shorter than `SHORTEST` is none: it would be found everywhere.
"""

import re
from binascii import b2a_base64
from collections.abc import Iterator

SHORTEST = 6  # bytes
_WIDTHS = (64, 76)  # where PEM (RFC 7468) and MIME with base64(1) break lines


def forms(value: bytes) -> set[bytes]:
    """Every text that gives the value away: the value, each of its lines, and both in base64, as part of a URL, in
    JSON and in the shell's quotes."""
    if len(value) < SHORTEST:
        return set()
    pieces = {value, *(line.strip() for line in value.splitlines())}
    long_enough = [piece for piece in pieces if len(piece) >= SHORTEST]
    found = {form for piece in long_enough for form in (piece, *_base64(piece), *_url(piece), *_quoted(piece))}
    return {form for form in found if len(form) >= SHORTEST}


def _base64(value: bytes) -> Iterator[bytes]:
    for whole in (value, value + b"\n"):  # `echo "$SECRET" | base64` encodes a newline too
        text = b2a_base64(whole, newline=False)
        yield from _alphabets(text)
        yield from _alphabets(text.rstrip(b"="))
        if whole is value:
            for width in _WIDTHS:
                for at in range(0, len(text), width) if len(text) > width else ():
                    yield from _alphabets(text[at : at + width])
    for before in range(3):
        yield from _alphabets(_inner(value, before))


def _inner(value: bytes, before: int) -> bytes:
    """What base64 of a larger text is sure to hold, if the value stands there behind `before` bytes (modulo 3): the
    characters whose six bits are all of the value (RFC 4648, section 4)."""
    bits = 8 * (before + len(value))
    return b2a_base64(bytes(before) + value)[-(-8 * before // 6) : bits // 6]


def _alphabets(text: bytes) -> tuple[bytes, bytes]:
    """Base64 with the standard alphabet and with that for URLs (RFC 4648, section 5)."""
    return text, text.translate(bytes.maketrans(b"+/", b"-_"))


def _url(value: bytes) -> Iterator[bytes]:
    """Percent-encoding with what various libraries leave as it is: nothing; slashes; encodeURIComponent's marks."""
    from urllib.parse import quote_from_bytes  # 6 ms: only who has secrets pays for it

    for safe in ("", "/", "!~*'()"):
        text = quote_from_bytes(value, safe=safe).encode()
        for upper in (text, text.replace(b"%20", b"+")):
            yield upper
            yield re.sub(rb"%[0-9A-F]{2}", lambda match: match[0].lower(), upper)


def _quoted(value: bytes) -> Iterator[bytes]:
    """JSON strings and shell words, without the quotes around them."""
    import json

    text = value.decode(errors="surrogateescape")
    for ascii_only in (True, False):
        inner = json.dumps(text, ensure_ascii=ascii_only)[1:-1].encode(errors="surrogateescape")
        yield inner
        yield inner.replace(b"/", rb"\/")
    yield value.replace(b"'", b"'\"'\"'")  # shlex.quote
    yield value.replace(b"'", rb"'\''")  # `set -x` of bash
    yield re.sub(rb"[\"$`\\]", rb"\\\g<0>", value)  # in double quotes
    yield re.sub(rb"[^\w@%+=:,./\x80-\xff\n-]", rb"\\\g<0>", value)  # printf %q
