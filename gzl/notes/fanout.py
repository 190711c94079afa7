"""The tree behind a notes ref: always 2/38 (2/62 with SHA-256), whatever layout a plain git left there.

git itself chooses a layout by the number of notes and changes it as it writes (notes.c), and accepts any mixture, but a
note that is there twice makes `git notes merge` abort. libgit2 never makes folders at all: at 100,000 notes a write
into its flat tree takes 150 times as long. So gzl reads every layout and writes only this one.
"""

import re
from collections.abc import Iterator, Mapping

from pygit2 import Blob, Oid, Repository
from pygit2.enums import FileMode

from gzl.git import trees
from gzl.notes.text import merged

_HEX = re.compile(r"[0-9a-f]+\Z")


def path(commit: str) -> str:
    """Where the note of a commit (in hex) is."""
    return f"{commit[:2]}/{commit[2:]}"


def commit_of(note_path: str) -> str | None:
    """The commit in hex that a file of the notes tree, in any layout, is the note of; None if it is no note."""
    name = note_path.replace("/", "")
    return name if len(name) in (40, 64) and _HEX.match(name) else None


def read(repo: Repository, tree: Oid | None, commit: str) -> bytes:
    """The text of a commit's note in a tree of any layout; empty if it has none."""
    texts = [trees.read_file(repo, tree, place) for place in _places(commit)]
    return next((text for text in texts if text is not None), b"")


def notes(repo: Repository, tree: Oid | None) -> Iterator[tuple[str, Oid]]:
    """Every note of a tree of any layout: (commit in hex, blob)."""
    for place, blob in trees.walk(repo, tree):
        commit = commit_of(place)
        if commit is not None:
            yield commit, blob


def write(repo: Repository, tree: Oid | None, texts: Mapping[str, bytes]) -> Oid:
    """`tree` with the notes of some commits replaced; an empty text removes one.

    What a plain git left in another layout is moved first, where it could hold one of these commits' notes.
    """
    base = normal(repo, tree, {commit[:2] for commit in texts})
    return trees.write_files(repo, base, {path(commit): text or None for commit, text in texts.items()})


def normal(repo: Repository, tree: Oid | None, folders: set[str] | None = None) -> Oid | None:
    """`tree` with every note at its 2/38 path; of a note that is there twice, the union of the lines.

    `folders` limits the search below the root to those (two hex digits each); notes elsewhere stay as they are.
    """
    found: dict[str, list[str]] = {}
    for place in _elsewhere(repo, tree, folders):
        found.setdefault(place.replace("/", ""), []).append(place)
    moved: dict[str, bytes | None] = {}
    for commit, places in found.items():
        texts = [trees.read_file(repo, tree, place) or b"" for place in [*places, path(commit)]]
        moved |= dict.fromkeys(places)
        moved[path(commit)] = union(*texts)
    return trees.write_files(repo, tree, moved) if moved else tree


def union(*texts: bytes) -> bytes:
    """One text of several versions of a note: a single one stays as it is, to the byte."""
    different = {text for text in texts if text}
    return different.pop() if len(different) == 1 else merged(*different)


def misplaced(repo: Repository, tree: Oid | None) -> list[str]:
    """The paths of notes that are not where gzl puts them."""
    return list(_elsewhere(repo, tree, None))


def text_of(repo: Repository, blob: Oid) -> bytes:
    """The bytes of a note's blob."""
    found = repo[blob]
    assert isinstance(found, Blob)
    return found.data


def _places(commit: str) -> list[str]:
    two, four, six = commit[:2], commit[2:4], commit[4:6]
    return [path(commit), commit, f"{two}/{four}/{commit[4:]}", f"{two}/{four}/{six}/{commit[6:]}"]


def _elsewhere(repo: Repository, tree: Oid | None, folders: set[str] | None) -> Iterator[str]:
    if tree is None:
        return
    # Nearly always there is neither, and not parsing two trees of some hundred entries saves a third of a write.
    if trees.may_hold(repo, tree, FileMode.BLOB):
        yield from (name for name, (_, below) in trees.entries(repo, tree).items() if not below and commit_of(name))
    for name in sorted(folders if folders is not None else trees.entries(repo, tree)):
        folder = trees.folder(repo, tree, name)
        if len(name) == 2 and folder is not None and trees.may_hold(repo, folder, FileMode.TREE):
            yield from (place for place in _deeper(repo, folder, name) if commit_of(place))


def _deeper(repo: Repository, folder: Oid, name: str) -> Iterator[str]:
    for below, (oid, is_folder) in trees.entries(repo, folder).items():
        if is_folder:
            yield from (place for place, _ in trees.walk(repo, oid, f"{name}/{below}/"))
