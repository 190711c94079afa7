"""Masking, byte by byte: whatever a secret looks like, and wherever a stream is cut."""

import base64
import json
import shlex
import urllib.parse
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gzl.kit.forms import SHORTEST, forms
from gzl.kit.mask import MASK, Finder, Masker

SECRET = b'pa$s w\xc3\xb6rd/"it\'s"+&=?%~\\'
PEM = b"-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQ\n  indented line\r\nshort\n-----END KEY-----\n"

# Few letters, so that forms overlap, repeat and begin within one another.
_values = st.lists(st.binary(min_size=6, max_size=9).map(lambda b: bytes(b"ab\n\xe9"[x % 4] for x in b)), max_size=3)
_data = st.lists(st.sampled_from([b"a", b"b", b"aab", b"\n", b"\xe9", b"YWFi", b"abab"]), max_size=30).map(b"".join)


def _cut(masker: Masker, data: bytes, *places: int) -> bytes:
    stream = masker.stream()
    edges = (0, *sorted(places), len(data))
    return b"".join([stream.feed(data[a:b]) for a, b in pairwise(edges)]) + stream.finish()


@given(_values, _data, st.data())
def test_cuts_change_nothing_and_no_form_is_left(values: list[bytes], data: bytes, draw: st.DataObject) -> None:
    for value in values:
        place = draw.draw(st.integers(0, len(data)))
        data = data[:place] + value[: draw.draw(st.integers(0, len(value)))] + value + data[place:]
    masker = Masker(values)
    whole = masker.mask(data)
    for place in range(len(data) + 1):
        assert _cut(masker, data, place) == whole
    assert _cut(masker, data, *range(1, len(data))) == whole, "byte by byte"
    assert not any(form in whole for value in values for form in forms(value))
    assert whole == _slowly(values, data)


def _slowly(values: list[bytes], data: bytes) -> bytes:
    """The same by definition: each run of bytes that overlapping forms cover becomes one mask."""
    found = {form for value in values for form in forms(value)}
    spans = sorted((at, at + len(f)) for f in found for at in range(len(data)) if data.startswith(f, at))
    out, done = b"", 0
    for start, end in spans:
        if start >= done:
            out += data[done:start] + MASK
        done = max(done, end)
    return out + data[done:]


@given(st.binary(min_size=SHORTEST, max_size=40), st.binary(max_size=8), st.binary(max_size=8))
def test_base64_at_any_place_of_a_larger_text(value: bytes, before: bytes, after: bytes) -> None:
    masker = Masker([value])
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode(before + value + after)
        masked = masker.mask(text)
        assert MASK in masked
        # At most the characters that mix with a neighbour's bits are left of the value's.
        assert len(text) - len(masked.replace(MASK, b"")) >= len(value) * 8 // 6 - 2


@pytest.mark.parametrize("value", [SECRET, b"correct horse", b"hunter2", b"\xff\xfe\xd8\xd8\xdf\x00\x80", PEM])
def test_encoded_whole(value: bytes) -> None:
    text = value.decode(errors="surrogateescape")
    encodings = [
        value,
        base64.b64encode(value),
        base64.urlsafe_b64encode(value),
        base64.b64encode(value).rstrip(b"="),
        base64.b64encode(value + b"\n"),
        urllib.parse.quote(value, safe="").encode(),
        urllib.parse.quote(value).encode(),
        urllib.parse.quote_plus(value).encode(),
        urllib.parse.quote(value, safe="!~*'()").encode(),
        json.dumps(text)[1:-1].encode(),
        json.dumps(text, ensure_ascii=False)[1:-1].encode(errors="surrogateescape"),
        shlex.quote(text).strip("'").encode(errors="surrogateescape"),
    ]
    masker = Masker([value])
    for encoded in encodings:
        assert masker.mask(b"<" + encoded + b">") == b"<***>", encoded


def test_percent_encoding_in_lower_case() -> None:
    assert Masker([b"a/b:c?d=e"]).mask(b"x=a%2fb%3ac%3fd%3de;") == b"x=***;"
    assert Masker([b"a/b:c?d=e"]).mask(b"x=a%2Fb%3Ac%3Fd%3De;") == b"x=***;"


def test_the_shell_s_ways_to_write_it() -> None:
    masker = Masker([b"it's $5 `x`"])
    for written in (b"'it'\\''s $5 `x`'", b'"it\'s \\$5 \\`x\\`"', rb"it\'s\ \$5\ \`x\`"):
        assert MASK in masker.mask(written)
        assert b"$5" not in masker.mask(written)


def test_each_line_of_several() -> None:
    masker = Masker([PEM])
    assert masker.mask(b"> MIIEvQIBADANBgkqhkiG9w0BAQ <") == b"> *** <"
    assert masker.mask(b"indented line") == MASK
    assert masker.mask(b"short\n") == b"short\n", "of less than six bytes, alone"
    assert masker.mask(PEM) == MASK, "but not where the whole is printed"
    assert masker.mask(PEM.replace(b"\n", b"\r\n")).count(MASK) == 4


def test_base64_in_lines() -> None:
    value = bytes(range(256))
    masker = Masker([value])
    for width in (64, 76):
        text = base64.b64encode(value)
        rows = [text[at : at + width] for at in range(0, len(text), width)]
        masked = masker.mask(b"\n".join(rows))
        assert not any(row in masked for row in rows if len(row) >= SHORTEST)


def test_overlapping_and_adjacent() -> None:
    masker = Masker([b"abcdef", b"defghi", b"abcdefghij"])
    assert masker.mask(b"-abcdefghi-") == b"-***-"
    assert masker.mask(b"-abcdefghij-") == b"-***-"
    assert masker.mask(b"abcdefabcdef") == b"******"
    assert masker.mask(b"abcdeabcdef") == b"abcde***"


def test_short_values_and_none_at_all() -> None:
    assert not Masker([]).active
    assert not Masker([b"12345", b""]).active
    assert Masker([b"12345"]).mask(b"12345") == b"12345"
    assert Masker([b"12345"]).text("12345") == "12345"
    assert Masker([b"123456"]).text("a 123456 \udcff") == "a *** \udcff"


def test_a_live_log_does_not_lag() -> None:
    stream = Masker([b"hunter2hunter"]).stream()
    assert stream.feed(b"building hunt") == b"building "
    assert stream.feed(b"ing\n") == b"hunting\n"
    assert stream.feed(b"hunter2hunter") == MASK
    assert stream.feed(b"!\nx") == b"!\nx"
    assert stream.finish() == b""


def test_holds_back_less_than_a_form() -> None:
    value = b"x" * 40
    masker = Masker([value])
    longest = max(map(len, forms(value)))
    stream, given, fed = masker.stream(), 0, 0
    for _ in range(500):
        fed += 3
        given += stream.feed(b"x.y").count(b"y")
        assert fed // 3 - given <= longest


def test_finder_sees_what_a_cut_goes_through() -> None:
    masker = Masker([SECRET])
    data = b"some bytes " + base64.b64encode(SECRET) + b" more"
    for place in range(len(data)):
        finder = Finder(masker)
        assert finder.feed(data[:place]) | finder.feed(data[place:])
    assert not Finder(masker).feed(b"nothing here " * 100)
    assert not Finder(Masker([])).feed(SECRET)
