"""Members of an archive: what their names and links may be, and reading them from a tar that nobody has checked.

An archive is hostile until shown otherwise. What is accepted is less than `tarfile.data_filter` lets through, and none
of it depends on what a path resolves to on this machine, which is where that filter was led astray (CVE-2025-4517,
CVE-2025-4330, CVE-2025-4138: a path too long for realpath). Names are relative, without `..`, each once. Where a link
leads is followed among the archive's own members, after all of them were read.
"""

import re
import tarfile
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from gzl.errors import UserError
from gzl.kit.text import escaped
from gzl.objects.headers import Header, Kind, Member

CHUNK = 1 << 20  # bytes
MAX_BYTES = 256 << 30  # of an archive when it is unpacked, its headers counted
_PLAIN = re.compile(r"(?:[^/.\x00-\x1f\x7f][^/\x00-\x1f\x7f]*(?:/(?!\Z)|\Z))+")  # nothing to be checked further
_MOST_LINKS = 40  # followed for one path, as in Linux (path_resolution(7))


def checked_name(name: str, what: str = "the archive") -> str:
    """`name` without `.` and empty parts; empty for the root itself. UserError if it leads elsewhere."""
    if _PLAIN.fullmatch(name):
        return name
    shown = f"{what}: {escaped(name, 200)!r}"
    if name.startswith("/"):
        raise UserError(f"{shown}: an absolute name is refused; make the archive from inside of the folder")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise UserError(f"{shown}: a name with `..` is refused; make the archive from inside of the folder")
    if any(character < " " or character == "\x7f" for character in name):
        raise UserError(f"{shown}: a name with control characters is refused; rename it")
    return "/".join(parts)


class Names:
    """The members met so far: each name once, and nothing inside of what is no folder."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.kinds: dict[str, Kind] = {}
        self.links: dict[str, str] = {}

    def add(self, member: Member) -> None:
        """Take note of a member. UserError if an earlier one is in its way."""
        known = self.kinds.get(member.name)
        if known is not None and not (known is member.kind is Kind.FOLDER):
            raise UserError(f"{self._shown(member.name)}: is there twice ({known}, {member.kind}); it is refused")
        self._add_parents(member.name)
        self.kinds[member.name] = member.kind
        if member.kind is Kind.LINK:
            self.links[member.name] = member.target
        if member.kind is Kind.SAME and self.kinds.get(member.target) not in (Kind.FILE, Kind.SAME):
            target = escaped(member.target, 200)
            raise UserError(f"{self._shown(member.name)}: a hard link to {target!r}, which is no file before it")

    def check_links(self) -> None:
        """UserError for a link that leads out, by whatever way."""
        for name, target in self.links.items():
            if not leads_inside(name, target, self.links):
                raise UserError(
                    f"{self._shown(name)}: a link to {escaped(target, 200)!r}, which is outside; it is refused: "
                    "put a copy in its place"
                )

    def _add_parents(self, name: str) -> None:
        parent = name.rpartition("/")[0]
        while parent:
            known = self.kinds.get(parent)
            if known is Kind.FOLDER:
                return
            if known is not None:
                raise UserError(f"{self._shown(name)}: is inside of a {known}, {escaped(parent, 200)!r}; it is refused")
            self.kinds[parent] = Kind.FOLDER
            parent = parent.rpartition("/")[0]

    def _shown(self, name: str) -> str:
        return f"{self.what}: {escaped(name, 200)!r}"


def leads_inside(name: str, target: str, links: Mapping[str, str]) -> bool:
    """Whether the link `name` to `target` stays inside at each part of its way, given all links that there are."""
    at = name.split("/")[:-1]
    todo = target.split("/")[::-1]
    if target.startswith("/") or not target:
        return False
    followed = 0
    while todo:
        part = todo.pop()
        if part in ("", "."):
            continue
        if part == "..":
            if not at:
                return False
            at.pop()
            continue
        further = links.get("/".join((*at, part)))
        if further is None:
            at.append(part)
            continue
        followed += 1
        if followed > _MOST_LINKS or further.startswith("/"):
            return False
        todo += further.split("/")[::-1]
    return True


class Source:
    """A decompressed stream for tarfile: only read forwards, and only up to a limit."""

    def __init__(self, stream: BinaryIO, what: str, max_bytes: int) -> None:
        self._stream = stream
        self._what = what
        self._max = max_bytes
        self._at = 0
        self._claimed = 0

    def read(self, size: int) -> bytes:
        """`size` bytes; fewer where the stream ends."""
        data = self._stream.read(size)
        self._at += len(data)
        if self._at > self._max:
            raise self._too_large()
        return data

    def expect(self, member: Member) -> None:
        """Refuse a member that would be too much: a sparse file is longer than what the archive has of it."""
        self._claimed += member.size
        if self._claimed > self._max:
            raise self._too_large()

    def tell(self) -> int:
        return self._at

    def seek(self, place: int) -> None:
        if place < self._at:
            raise UserError(f"{self._what}: is damaged: a member of a negative size")
        while self._at < place and self.read(min(CHUNK, place - self._at)):
            pass

    def _too_large(self) -> UserError:
        return UserError(f"{self._what}: holds more than {self._max} bytes when it is unpacked; it is refused")


def read(source: Source, what: str, *, hard_links: bool) -> Iterator[tuple[Member, tarfile.TarFile, tarfile.TarInfo]]:
    """The members, checked, with what `content` needs, whose data must be read before the next one is asked for. The
    root itself is left out. UserError for a member that is refused, and where the archive is cut off."""
    with tarfile.open(fileobj=source, mode="r:", tarinfo=Header, encoding="utf-8") as tar:  # type: ignore[call-overload]
        while (header := tar.next()) is not None:
            tar.members.clear()  # otherwise it keeps all of them
            member = _member(header, what, hard_links=hard_links)
            if member is not None:
                source.expect(member)
                yield member, tar, header
        if source.tell() <= tar.offset:
            raise UserError(f"{what}: is cut off: the mark of its end is missing")


def content(source: Source, tar: tarfile.TarFile, header: tarfile.TarInfo) -> Iterator[bytes]:
    """The bytes of a file, in pieces. Raises EOFError where the archive ends before."""
    if header.issparse():
        file = tar.extractfile(header)
        while file is not None and (piece := file.read(CHUNK)):
            yield piece
        return
    left = header.size
    while left:
        piece = source.read(min(left, CHUNK))
        if not piece:
            raise EOFError(header.name)
        left -= len(piece)
        yield piece


def _member(header: tarfile.TarInfo, what: str, *, hard_links: bool) -> Member | None:
    name = checked_name(header.name, what)
    if header.isdir():
        return Member(name, Kind.FOLDER) if name else None
    if not name:
        raise UserError(f"{what}: {escaped(header.name, 200)!r}: is no folder, and stands for the root; it is refused")
    if header.isreg():
        return Member(name, Kind.FILE, header.size, bool(header.mode & 0o100), max(0, int(header.mtime)))
    if header.issym():
        return Member(name, Kind.LINK, target=header.linkname)
    if header.islnk() and hard_links:
        return Member(
            name, Kind.SAME, target=checked_name(header.linkname, f"{what}: {escaped(name, 200)!r}, a hard link")
        )
    kind = "a hard link" if header.islnk() else "a device, a FIFO"
    raise UserError(
        f"{what}: {escaped(name, 200)!r}: is neither file, folder nor symbolic link ({kind}); it is refused"
    )
