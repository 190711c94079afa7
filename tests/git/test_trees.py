"""Trees written without a working tree: the same as git would have made."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pygit2 import Repository
from store_world import git, isolate

from gzl.git import trees
from gzl.notes import fanout

NAMES = st.sampled_from(["a", "b", "a0", "ab"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


@pytest.fixture
def objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    isolate(monkeypatch, tmp_path)
    git(tmp_path, "init", "--quiet", "--bare", "repo")
    return trees.open(tmp_path / "repo")


def content(objects: Repository, tree: object) -> dict[str, bytes]:
    return {path: objects[oid].data for path, oid in trees.walk(objects, tree)}  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(PATHS, st.none() | st.binary(max_size=2), max_size=4), max_size=4))
def test_writing_is_as_in_a_dictionary(objects: Repository, changes: list[dict[str, bytes | None]]) -> None:
    tree, expected = None, dict[str, bytes]()
    for change in changes:
        if any(one != other and one.startswith(f"{other}/") for one in change for other in change):
            continue  # a path cannot be a file and a folder in one change
        tree = trees.write_files(objects, tree, change)
        for path, data in change.items():
            if data is None and path in expected:
                del expected[path]
            elif data is not None:
                expected = {
                    p: d for p, d in expected.items() if not p.startswith(f"{path}/") and not path.startswith(f"{p}/")
                }
                expected[path] = data
            elif data is None:
                expected = {p: d for p, d in expected.items() if not p.startswith(f"{path}/")}
        assert content(objects, tree) == expected
    git(Path(objects.path), "fsck", "--strict")


def test_notes_of_every_layout_are_read_and_moved_to_one(objects: Repository) -> None:
    ids = [f"{number:02x}" * 20 for number in range(8)]
    flat, fanned, deep = ids[0], ids[1], ids[2]
    both = ids[3]
    tree = trees.write_files(
        objects,
        None,
        {
            flat: b"flat\n",
            fanout.path(fanned): b"fanned\n",
            f"{deep[:2]}/{deep[2:4]}/{deep[4:]}": b"deep\n",
            both: b"b\na\n",
            fanout.path(both): b"a\nc\n",
            "README": b"no note\n",
        },
    )
    assert [fanout.read(objects, tree, one) for one in (flat, fanned, deep)] == [b"flat\n", b"fanned\n", b"deep\n"]
    new = fanout.write(objects, tree, {ids[4]: b"new\n", deep: b"deeper\n"})
    assert content(objects, new) == {
        fanout.path(flat): b"flat\n",
        fanout.path(fanned): b"fanned\n",
        fanout.path(deep): b"deeper\n",
        fanout.path(both): b"a\nb\nc\n",
        fanout.path(ids[4]): b"new\n",
        "README": b"no note\n",
    }
    assert fanout.misplaced(objects, new) == []
    assert len(fanout.misplaced(objects, tree)) == 3
