"""Names, tokens, schemas, the words of the `gzl` in a stage, and what is said twice."""

import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from api_host import HOSTILE
from hypothesis import given
from hypothesis import strategies as st

from gzl.jobapi import answer
from gzl.jobapi.answer import Answer
from gzl.jobapi.host import Artifact, Refused
from gzl.jobapi.names import key_flaw, object_flaw, value_flaw
from gzl.jobapi.repeats import Repeats
from gzl.jobapi.schema import flaw, read_text, record
from gzl.jobapi.tokens import Tokens, key


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_refused_by_name(name: str) -> None:
    said = object_flaw(name)
    assert said is not None
    assert said.isprintable()
    assert "is no name for an artifact" in said


@pytest.mark.parametrize(
    "name", ["a", "a/b.c", "my prog", "-x", "..a", "a..", "日本語/ä", "x" * 255, "a:b@1,2+3", "'\"$(x)"]
)
def test_plain_names_are_taken(name: str) -> None:
    assert object_flaw(name) is None


@given(st.text())
def test_a_name_that_is_taken_stays_where_it_is_put(name: str) -> None:
    if object_flaw(name) is None:
        assert os.path.normpath(os.path.join("/base", name)).startswith("/base/")


def test_keys_and_values() -> None:
    assert [key_flaw(key) for key in ("a", "_", "URL_2")] == [None] * 3
    for bad in ("", "2a", "a-b", "a.b", "ä", "a" * 101, "a\n"):
        assert key_flaw(bad)
    assert value_flaw("x" * 65536) is None
    assert value_flaw(os.fsdecode(b"\xff")) is None
    for bad in ("x" * 65537, "ä" * 32769, "a\0b", "\ud800"):
        assert value_flaw(bad)


def test_a_token_is_of_one_attempt() -> None:
    tokens = Tokens("job", b"k" * 32)
    for stage, attempt in [("build", 1), ("test@a,3.11", 12), ("a.b", 3), ("ä/%2F", 0)]:
        token = tokens.issue(stage, attempt)
        assert token.isascii()
        assert token.isprintable()
        assert " " not in token
        assert tokens.read(token) == (stage, attempt)


def test_forged_tokens_are_refused() -> None:
    good = Tokens("job", b"k" * 32).issue("build", 1)
    stage, number, mac = good.split(".")
    assert (stage, number) == ("6275696c64", "1")
    forged = [
        "", ".", "..", f"{stage}.1", f"{stage}.1.", f"{stage}.1.{mac[:-1]}", f"{stage}.1.{mac}0", f"{stage}.2.{mac}",
        f"{stage}00.1.{mac}", f"{stage}.01.{mac}", f"{stage}.+1.{mac}", f"{stage}.1_0.{mac}", f"{stage}.１.{mac}",
        f".1.{mac}", f" {good}", f"{good}\n", good.upper(),
        f"{stage}.1.{'0' * len(mac)}", f"{stage}.{'9' * 5000}.{mac}",
        f"\udcff.1.{mac}", f"é.1.{mac}", f"build.1.{mac}", f"{stage}0.1.{mac}",
        Tokens("job", b"K" * 32).issue("build", 1), Tokens("other", b"k" * 32).issue("build", 1),
        Tokens("job\0build", b"k" * 32).issue("1", 1),
    ]  # fmt: skip
    for token in forged:
        with pytest.raises(Refused) as caught:
            Tokens("job", b"k" * 32).read(token)
        assert caught.value.status == 401


def test_the_key_is_made_once_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "api.key"
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: key(path), range(16)))
    assert len(keys) == 1
    assert len(keys.pop()) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_schemas_say_where_the_flaw_is() -> None:
    schema = record(
        {"name": {"type": "string", "pattern": "^a+$", "maxLength": 3}}, {"n": {"type": "integer", "minimum": 0}}
    )
    assert flaw(schema, {"name": "aa", "n": 1}, "body") is None
    assert flaw(schema, {"name": "aa", "n": 1.0}, "body") is None
    for value, said in [
        ([], "body is not of the type object"),
        ({}, "body.name is missing"),
        ({"name": 1}, "body.name is not of the type string"),
        ({"name": "b"}, "body.name does not match"),
        ({"name": "a\n"}, "body.name does not match"),
        ({"name": "aaaa"}, "body.name has 4 characters"),
        ({"name": "a", "n": True}, "body.n is not of the type integer"),
        ({"name": "a", "n": 1.5}, "body.n is not of the type integer"),
        ({"name": "a", "n": -1}, "body.n is not from 0"),
        ({"name": "a", "m": 1}, "body.m is not known"),
    ]:
        assert (flaw(schema, value, "body") or "").startswith(said), value


def test_parameters_are_read_by_their_schema() -> None:
    number = {"type": "number"}
    assert [read_text(number, text) for text in ("1", "-2.5", "1e3")] == [1, -2.5, 1000]
    assert [read_text(number, text) for text in ("nan", "inf", "1e999", "1_0", " 1", "")] == [
        "nan", "inf", "1e999", "1_0", " 1", "",
    ]  # fmt: skip
    assert read_text({"type": "boolean"}, "true") is True
    assert read_text({"type": "boolean"}, "1") == "1"
    assert read_text({"type": "integer"}, "１") == "１"


def test_words_and_answers() -> None:
    said = answer.read(b"token\0id\0state\0/a b\n\0out\0k=\xff\0")
    assert (said.token, said.request, said.state, said.directory) == ("token", "id", "state", "/a b\n")
    assert list(said.words) == ["out", os.fsdecode(b"k=\xff")]
    for bad in (b"", b"\0", b"a\0b\0c\0", b"a\0b\0c\0d\0e"):
        with pytest.raises(Refused):
            answer.read(bad)
    told = Answer(3, out=["a\n\nb", os.fsdecode(b"\xff")], err=["no"], todo=[answer.again("7")])
    assert told.encode() == b"3\n1a\n1\n1b\n1\xff\n2no\nW7\n.\n"
    artifact = Artifact("n", "file", "sha256:0", 12, 0o4755, "j", "s")
    assert answer.fetch(artifact, "/v1/x?name=n", "a b") == "Dfile 755 12 /v1/x?name=n a b"
    with pytest.raises(Refused, match="line end"):
        answer.send("/v1/x", "a\nb")


def test_what_is_said_twice_is_done_once() -> None:
    repeats: Repeats[int] = Repeats(kept=2)
    done: list[int] = []
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> int:
        begun.set()
        go_on.wait()
        done.append(1)
        return len(done)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(repeats.once, ("a",), slow)
        begun.wait()
        second = pool.submit(repeats.once, ("a",), slow)
        go_on.set()
        assert (first.result(), second.result(), done) == (1, 1, [1])
    with pytest.raises(ZeroDivisionError):
        repeats.once(("b",), lambda: 1 // 0)
    assert repeats.once(("b",), lambda: 5) == 5
    repeats.once(("c",), lambda: 6)
    assert repeats.once(("a",), lambda: 7) == 7  # the oldest was forgotten
