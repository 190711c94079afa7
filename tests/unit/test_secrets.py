"""Secrets: how they are kept, and who is given them."""

import os
import stat
from pathlib import Path

import pytest

from gzl.errors import UserError
from gzl.model.layout import Layout
from gzl.records import secrets
from gzl.records.secrets import Secret, allowed

MAIN, TOPIC = "refs/heads/main", "refs/heads/topic"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "gzl")


def _put(layout: Layout, name: str, value: bytes = b"a long value", *branches: str) -> Secret:
    secret = Secret(name, value, branches, 1_700_000_000.5)
    secrets.put(layout, secret)
    return secret


def test_files_are_the_owner_s_alone(layout: Layout) -> None:
    layout.secrets.mkdir(parents=True, mode=0o755)
    _put(layout, "token")
    assert stat.S_IMODE(layout.secrets.stat().st_mode) == 0o700
    assert stat.S_IMODE((layout.secrets / "token").stat().st_mode) == 0o600
    assert os.listdir(layout.secrets) == ["token"]


@pytest.mark.parametrize("value", [b"plain value", b"two\nlines\n", b"\xff\xfe no text \x80", 'größe " \\ $x'.encode()])
def test_what_is_set_is_what_is_got(layout: Layout, value: bytes) -> None:
    secret = _put(layout, "token", value, "main", "release/*")
    assert secrets.get(layout, "token") == secret
    assert value.decode(errors="replace") not in repr(secret)


def test_changed_listed_and_removed(layout: Layout) -> None:
    assert secrets.names(layout) == []
    assert secrets.get(layout, "token") is None
    _put(layout, "token", b"the old value", "main")
    _put(layout, "token", b"the new value")
    _put(layout, "deploy-key")
    (layout.secrets / ".token.123.0").touch()
    assert secrets.names(layout) == ["deploy-key", "token"]
    assert allowed(layout, ["token"], ref=TOPIC, event="push").values == {"token": b"the new value"}
    assert secrets.remove(layout, "token")
    assert not secrets.remove(layout, "token")
    assert not secrets.remove(layout, "../secrets/deploy-key")
    assert secrets.get(layout, "../secrets/deploy-key") is None


@pytest.mark.parametrize(
    ("name", "value", "branches", "wrong"),
    [
        ("a b", b"a long value", (), "no name"),
        ("../x", b"a long value", (), "no name"),
        ("1st", b"a long value", (), "no name"),
        ("GZL_TOKEN", b"a long value", (), "gzl's own"),
        ("gzl-token", b"a long value", (), "gzl's own"),
        ("token", b"", (), "empty"),
        ("token", b"     \n\n", (), "empty"),
        ("token", b"with \0 in it", (), "NUL byte"),
        ("token", b"x" * 65537, (), "65537 bytes"),
        ("token", b"a long value", ("[",), "not closed"),
        ("token", b"a long value", ("",), "empty"),
    ],
)
def test_what_no_stage_could_have(
    layout: Layout, name: str, value: bytes, branches: tuple[str, ...], wrong: str
) -> None:
    with pytest.raises(UserError, match=wrong):
        _put(layout, name, value, *branches)
    assert secrets.names(layout) == []


def test_two_names_for_one_variable(layout: Layout) -> None:
    _put(layout, "deploy-key")
    with pytest.raises(UserError, match=r"\$deploy_key in a stage, as deploy-key is"):
        _put(layout, "deploy_key")


def test_given_under_names_that_a_shell_can_read(layout: Layout) -> None:
    _put(layout, "deploy-key", b"key value")
    _put(layout, "TOKEN", b"token value")
    given = allowed(layout, ["deploy-key", "TOKEN"], ref=MAIN, event="push")
    assert given.values == {"deploy_key": b"key value", "TOKEN": b"token value"}
    assert given.refusal is None
    assert "value" not in repr(given)


def test_only_on_the_branches_that_it_is_for(layout: Layout) -> None:
    _put(layout, "token", b"a long value", "main", "release/*")
    for ref in (MAIN, "refs/heads/release/1"):
        assert allowed(layout, ["token"], ref=ref, event="push").values
    for ref in (
        TOPIC,
        "refs/heads/release/1/x",
        "refs/tags/main",
        "HEAD",
        "refs/for/main",
        "refs/heads/refs/heads/main",
    ):
        given = allowed(layout, ["token"], ref=ref, event="push")
        assert given.values == {}
        assert given.refusal is not None
        assert "only on branches main release/*; `gzl secret set token --branch" in given.refusal


def test_never_for_pull_requests(layout: Layout) -> None:
    _put(layout, "token")
    given = allowed(layout, ["token"], ref=MAIN, event="pull-request")
    assert given.values == {}
    assert "not given to pull requests" in (given.refusal or "")
    assert allowed(layout, [], ref=MAIN, event="pull-request").refusal is None


def test_all_or_none(layout: Layout) -> None:
    _put(layout, "token")
    given = allowed(layout, ["token", "missing"], ref=MAIN, event="push")
    assert given.values == {}
    assert "`gzl secret set missing` sets it" in (given.refusal or "")


def test_a_file_that_others_can_read_is_refused(layout: Layout) -> None:
    _put(layout, "token")
    (layout.secrets / "token").chmod(0o640)
    with pytest.raises(UserError, match=r"others may read it \(mode 640\); `chmod 600"):
        secrets.get(layout, "token")
    assert "chmod 600" in (allowed(layout, ["token"], ref=MAIN, event="push").refusal or "")
    _put(layout, "token")
    assert secrets.get(layout, "token") is not None, "a new value is a new file"


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'{"value": 1}', b'{"value": "secret value", "branches": []}'])
def test_a_damaged_file_is_not_quoted(layout: Layout, data: bytes) -> None:
    _put(layout, "token")
    (layout.secrets / "token").write_bytes(data)
    with pytest.raises(UserError, match="is damaged") as caught:
        secrets.get(layout, "token")
    assert "secret value" not in str(caught.value)


def test_a_link_in_its_place_is_not_followed(layout: Layout, tmp_path: Path) -> None:
    _put(layout, "token")
    (layout.secrets / "token").rename(tmp_path / "elsewhere")
    (layout.secrets / "token").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="must be a file of this user"):
        secrets.get(layout, "token")
