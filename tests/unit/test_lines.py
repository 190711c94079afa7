"""Lines out of pieces, wherever those are cut."""

import re

from hypothesis import given
from hypothesis import strategies as st

from gzl.cli.lines import LONGEST, Lines, Wanted
from gzl.logs.times import Piece


def printed(pieces: list[Piece], wanted: Wanted, prefix: str = "") -> bytes:
    lines = Lines(wanted, prefix, lambda: 99.0)
    return b"".join([*(line for piece in pieces for line in lines.feed(piece)), *lines.finish()])


@given(st.lists(st.binary(max_size=8)), st.sampled_from(["", "a", "^b*$", "\n"]))
def test_it_does_not_matter_where_the_pieces_end(pieces: list[bytes], grep: str) -> None:
    whole = b"".join(pieces)
    found = printed([Piece(piece, 1.0) for piece in pieces], Wanted(re.compile(grep)))
    assert found == printed([Piece(whole, 1.0)], Wanted(re.compile(grep)))
    if not grep:
        assert found == whole + (b"" if whole.endswith(b"\n") or not whole else b"\n")


def test_a_long_line_is_cut_at_the_same_places_however_it_comes() -> None:
    whole = b"x" * (3 * LONGEST) + b"\nend\n"
    for size in (LONGEST, 65536, LONGEST + 1, len(whole)):
        pieces = [Piece(whole[start : start + size], 1.0) for start in range(0, len(whole), size)]
        assert printed(pieces, Wanted()) == (b"x" * LONGEST + b"\n") * 3 + b"end\n", size


def test_a_line_was_there_when_its_end_was() -> None:
    pieces = [Piece(b"one\ntw", 1.0), Piece(b"o\nthree\n", 2.0), Piece(b"four", None)]
    assert printed(pieces, Wanted(since=2.0)) == b"two\nthree\nfour\n"
    assert printed(pieces, Wanted(since=2.1), "s | ") == b"s | four\n"


def test_bytes_that_are_no_text_are_searched_and_printed_as_they_are() -> None:
    assert (
        printed([Piece(b"\xff caf\xc3\xa9\r\nno\n", 1.0)], Wanted(re.compile("CAF.$", re.I))) == b"\xff caf\xc3\xa9\r\n"
    )
