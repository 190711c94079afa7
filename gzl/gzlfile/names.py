"""What names may look like: of stages, of a matrix's values, of other repositories.

A stage's name becomes a part of ref names, file names and commands, and stands in `gzl logs HEAD/test`: so it has no
`/`, which would make `HEAD/test` ambiguous, and nothing that the Gzlfile's own grammar uses.
"""

import re
import unicodedata
from functools import lru_cache

RESERVED = frozenset({"on", "env", "gzl"})
LONGEST = 100
"""Characters of a name; git's refs and most file systems end at 255 bytes, and a name is percent-encoded there."""

_BRANCH_FLAW = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|^[/.-]|/\.|[/.]$|\.lock(?:/|$)")


def stage_flaw(name: str) -> tuple[int, str] | None:
    """Where in a stage's name the first flaw is, and what it is; None for a good name."""
    for offset, character in enumerate(name):
        if not _is_word(character) and (offset == 0 or character not in "-."):
            at = " at its beginning" if character in "-." else ""
            return offset, f"a stage's name cannot have {character!r}{at}"
    if len(name) > LONGEST:
        return LONGEST, f"a stage's name has at most {LONGEST} characters"
    return (0, f"{name!r} is a reserved word") if name in RESERVED else None


def matrix_flaw(value: str) -> str | None:
    """What is wrong with one value of a matrix, or None."""
    for character in value:
        if not _is_word(character) and character not in "-.+":
            return f"{value!r}: a value of a matrix cannot have {character!r}"
    return f"a value of a matrix has at most {LONGEST} characters" if len(value) > LONGEST else None


@lru_cache(maxsize=4096)  # a graph names few stages many times
def reference_flaw(name: str) -> str | None:
    """What is wrong with a word that names a stage, be it one of a matrix (`test@a,3.11`); None for a good one."""
    family, at, combination = name.partition("@")
    flaw = stage_flaw(family) if family else (0, "a stage's name is missing here")
    if flaw:
        return flaw[1]
    if at:
        return next((f for value in combination.split(",") if (f := matrix_flaw(value))), None)
    return None


def repo_flaw(name: str) -> str | None:
    """What is wrong with the name of another repository, or None."""
    parts = name.split("/")
    if all(part and part not in (".", "..") and all(_is_word(c) or c in "-." for c in part) for part in parts):
        return None
    return f"{name!r} is no name of a repository, such as lib or team/lib"


def branch_flaw(name: str) -> str | None:
    """What is wrong with a branch's name (git-check-ref-format(1)), or None."""
    return f"{name!r} is no name of a branch" if not name or _BRANCH_FLAW.search(name) else None


def _is_word(character: str) -> bool:
    """Letters, digits and marks of any script, and `_`."""
    return character == "_" or unicodedata.category(character)[0] in "LNM"
