"""Every ref name that gzl uses, and the encoding that makes any stage or branch name a valid path component.

The encoding is percent-encoding (RFC 3986) of what `git check-ref-format` forbids, and of `%` itself.
"""

import re

NOTES = "refs/notes/gzl"
NOTES_LOCAL = "refs/notes/gzl-local"
SERVER = "refs/gzl/server"
"""A blob that says "this repository runs jobs": its text is the server's writer name."""

_ENCODED = re.compile(rb"%([0-9A-F]{2})")
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f~^:?*\[\\%]|^\.|\.\.|\.$|\.lock$|@\{|^@$|^-")


def encode(name: str) -> str:
    """`name` as one ref path component: no slash, nothing that git forbids; `decode` gives it back."""
    return _encode_part(name).replace("/", "%2F") if name else "%"


def encode_path(name: str) -> str:
    """`name` as ref path components, its slashes kept: a branch keeps its shape."""
    return "/".join(_encode_part(part) if part else "%" for part in name.split("/"))


def decode(component: str) -> str:
    """The name that `encode` or `encode_path` was given."""
    return "/".join("" if part == "%" else _decode_part(part) for part in component.split("/"))


def _encode_part(part: str) -> str:
    return _FORBIDDEN.sub(lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode()), part)


def _decode_part(part: str) -> str:
    plain = _ENCODED.sub(lambda match: bytes.fromhex(match[1].decode()), part.encode(errors="surrogateescape"))
    return plain.decode(errors="surrogateescape")


def ledger(writer: str) -> str:
    """The commit chain of `writer`'s records."""
    return f"refs/gzl/ledger/{encode(writer)}"


def logs(writer: str, month: str) -> str:
    """`writer`'s logs of a month, given as `yyyy-mm`."""
    return f"refs/gzl/logs/{encode(writer)}/{month}"


def live(job: str) -> str:
    """Keeps the commit of an unfinished job from gc."""
    return f"refs/gzl/live/{job}"


def last(stage: str, branch: str) -> str:
    """The commit that `stage` last ran on, on `branch` (a short branch name)."""
    return f"refs/gzl/last/{encode(stage)}/{encode_path(branch)}"


def passed(stage: str, branch: str) -> str:
    """The commit that `stage` last passed on, on `branch` (a short branch name)."""
    return f"refs/gzl/passed/{encode(stage)}/{encode_path(branch)}"


def on_branch(branch: str) -> tuple[str, str]:
    """Patterns, as `git for-each-ref` takes them, for the `last` and the `passed` refs of all stages on a branch."""
    name = encode_path(branch)
    return f"refs/gzl/last/*/{name}", f"refs/gzl/passed/*/{name}"


def remote(name: str, rest: str = "") -> str:
    """Where what was fetched from the remote `name` is kept; `rest` is what follows `refs/gzl/` or `notes/…`."""
    return f"refs/gzl/remotes/{encode(name)}/{rest}"


def short_branch(ref: str) -> str | None:
    """`topic/x` for `refs/heads/topic/x`; None for anything that is not a branch."""
    return ref.removeprefix("refs/heads/") if ref.startswith("refs/heads/") else None


def job_path(job: str) -> str:
    """A job's folder in a ledger or log tree: its ULID as 4/1/21, so trees stay small and new jobs lie together."""
    return f"{job[:4]}/{job[4]}/{job[5:]}"
