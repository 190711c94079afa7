"""What gzl reads from a commit, in one run of git (3 ms; pygit2's import alone takes 85)."""

from dataclasses import dataclass

from gzl.git.repo import Repo

GZLFILE = "Gzlfile"


@dataclass(frozen=True, slots=True)
class Source:
    """A commit: its tree, its message, and its Gzlfile if it has one."""

    commit: str
    tree: str
    message: str
    gzlfile: bytes | None


def read(repo: Repo, oid: str) -> Source | None:
    """Read the commit that `oid` (a full object id) is, or is an annotated tag of. None if it is no commit here."""
    wanted = f"{oid}^{{commit}}\n{oid}:{GZLFILE}\n"
    printed = repo.git("cat-file", "--batch", stdin=wanted.encode())
    commit = printed.partition(b" ")[0].decode()
    body, rest = _entry(printed)
    if body is None:
        return None
    header, _, message = body.partition(b"\n\n")
    gzlfile, _ = _entry(rest)
    tree = header.split(b"\n", 1)[0].removeprefix(b"tree ").decode()
    return Source(commit, tree, message.decode(errors="replace"), gzlfile)


def _entry(printed: bytes) -> tuple[bytes | None, bytes]:
    """The first object of `git cat-file --batch` output (None if missing, or not a file), and what follows it."""
    head, _, rest = printed.partition(b"\n")
    fields = head.split(b" ")
    if fields[-1] in (b"missing", b"ambiguous") or len(fields) != 3:
        return None, rest
    size = int(fields[2])
    return (rest[:size] if fields[1] in (b"blob", b"commit") else None), rest[size + 1 :]
