"""A comment on a job: what a person, or one of its stages, has to say about it. In the ledger of the writer that it was
made in, at `<job's folder>/comments/<id>`, so that two never meet in one file; with the job or long before or after it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gzl.errors import UserError
from gzl.model.refs import job_path

LIMIT = 64 << 10  # bytes of text


@dataclass(frozen=True, slots=True)
class Comment:
    """What somebody said of a job. `author` is what the author says of themself, or what the transport says."""

    id: str
    """A ULID of its own."""
    job: str
    author: str
    time: float
    """Seconds since the epoch."""
    text: str
    """Anything; not empty, up to 64 KiB of UTF-8."""
    stage: str | None = None
    """The stage of the job that made it."""


def path(comment: Comment) -> str:
    """Where it is in a ledger's tree."""
    return f"{job_path(comment.job)}/comments/{comment.id}"


def checked(text: str) -> str:
    """The text of a comment, without line ends at its end. UserError if there is nothing left of it, or too much."""
    kept = text.rstrip("\r\n")
    if not kept.strip():
        raise UserError("a comment needs a text: `gzl comment JOB TEXT`, or the text on standard input")
    size = len(kept.encode(errors="surrogateescape"))
    if size > LIMIT:
        raise UserError(
            f"a comment has up to {LIMIT >> 10} KiB, this one {size >> 10}; keep it in a file, and say where"
        )
    return kept


def to_data(comment: Comment) -> dict[str, Any]:
    """The comment as JSON values, in a fixed order."""
    return {
        "id": comment.id,
        "job": comment.job,
        "author": comment.author,
        "time": round(comment.time, 3),
        "text": comment.text,
        "stage": comment.stage,
    }


def from_data(raw: Mapping[str, Any]) -> Comment:
    """The comment that `to_data` gave as JSON values. Raises what their types raise if they are none."""
    return Comment(raw["id"], raw["job"], raw["author"], raw["time"], raw["text"], raw.get("stage"))


def to_json(comment: Comment) -> bytes:
    """As a ledger keeps it: compact UTF-8 and a newline; the same comment always gives the same bytes."""
    text = json.dumps(to_data(comment), ensure_ascii=False, separators=(",", ":"))
    # Bytes that were no UTF-8 are lone surrogates; inside a string backslashreplace writes JSON's escape for them.
    return text.encode(errors="backslashreplace") + b"\n"


def from_json(data: bytes | str, where: str) -> Comment:
    """The comment in `data`; UserError naming `where` if it is none."""
    try:
        return from_data(json.loads(data))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{where}: not a comment of gzl's ({error!r})") from error
