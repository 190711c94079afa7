"""Headers of members: written in gzl's one form, and read with a look at them before tarfile acts on them.

Most of the time that tarfile takes for small files goes into their headers. So the usual one, of a file whose name is
short, is made by filling in a form, and what is read is compared with that form first; all others are tarfile's work.
"""

import tarfile
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Self

from gzl.errors import UserError
from gzl.kit.text import escaped

BLOCK = 512  # bytes: tar's unit
_NAME = 100  # bytes of the longest name that a header has room for
# Of what stands before a member and says more of it: twice the longest path. tarfile takes it into memory whole, and
# looks through it in quadratic time (CVE-2024-6232).
_LONGEST_EXTENSION = 8192
_EXTENSIONS = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME,
               tarfile.GNUTYPE_LONGLINK)  # fmt: skip


class Kind(StrEnum):
    """What a member may be."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "link"
    """A symbolic one."""
    SAME = "same"
    """A hard link: the same file as an earlier member."""


@dataclass(frozen=True, slots=True)
class Member:
    """A member whose name was checked. `target` is where a link leads, as written, or an earlier member's name."""

    name: str
    kind: Kind
    size: int = 0
    executable: bool = False
    modified: int = 0
    """Seconds since the epoch; 0 if the archive does not say."""
    target: str = ""


_MODE = {Kind.FOLDER: 0o755, Kind.LINK: 0o777}
_TYPE = {Kind.FILE: tarfile.REGTYPE, Kind.FOLDER: tarfile.DIRTYPE, Kind.LINK: tarfile.SYMTYPE}


def header(member: Member) -> bytes:
    """The member's header, with what GNU tar puts before it where a name is long."""
    name = member.name.encode(errors="surrogateescape")
    if member.kind is Kind.FILE and len(name) <= _NAME and (member.size | member.modified) < 8**11:
        return _filled(name, member.size, member.modified, member.executable)
    return _tarinfo(member).tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


class Header(tarfile.TarInfo):
    """A header that was read."""

    __slots__ = ()

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str | None, errors: str) -> Self:
        """As tarfile's; UserError for one that would make it do too much."""
        found = cls._usual(bytes(buf))
        if found is not None:
            return found
        found = super().frombuf(buf, encoding or "utf-8", errors)
        if found.size < 0 or (found.type in _EXTENSIONS and found.size > _LONGEST_EXTENSION):
            raise UserError(f"archive: {escaped(found.name, 200)!r}: a header of {found.size} bytes is refused")
        return found

    @classmethod
    def _usual(cls, block: bytes) -> Self | None:
        """The header that is written by `_filled`, checksum and all; None if it is another one."""
        size, modified = block[124:135], block[136:147]
        if not (size.isdigit() and modified.isdigit() and block[156:157] == tarfile.REGTYPE):
            return None
        name, executable = block[:_NAME].rstrip(b"\0"), block[104:107] == b"755"
        try:
            found = cls(name.decode(errors="surrogateescape"))
            found.size, found.mtime = int(size, 8), int(modified, 8)
        except ValueError:
            return None
        found.mode = 0o755 if executable else 0o644
        return found if block == _filled(name, found.size, found.mtime, executable) else None


def _filled(name: bytes, size: int, modified: int, executable: bool) -> bytes:
    """The header of a file. Its fields (tar(5)): name 0, mode and owners 100, size 124, time 136, checksum 148."""
    form, total = _form(executable)
    length, time = b"%011o" % size, b"%011o" % modified
    checksum = b"%06o\0" % (total + sum(name) + sum(length) + sum(time))
    return b"".join((name.ljust(_NAME, b"\0"), form[100:124], length, b"\0", time, b"\0", checksum, form[155:]))


@cache
def _form(executable: bool) -> tuple[bytes, int]:
    """The header of a file without name, size and time, as tarfile makes it, and what its bytes add to the checksum."""
    made = _tarinfo(Member("", Kind.FILE, executable=executable)).tobuf(tarfile.GNU_FORMAT)
    return made, int(made[148:154], 8) - 2 * sum(b"0" * 11)


def _tarinfo(member: Member) -> tarfile.TarInfo:
    made = tarfile.TarInfo(member.name)
    made.type = _TYPE[member.kind]
    made.mode = _MODE.get(member.kind, 0o755 if member.executable else 0o644)
    made.size = member.size
    made.mtime = member.modified
    made.linkname = member.target
    return made
