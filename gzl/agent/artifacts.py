"""Puts away what stages hand over, and gives it to those that ask for it: files as they are, folders as archives.

An object that holds the value of a secret is refused: what is stored can be fetched by whoever has the repository, and
a masked binary is a broken one.
"""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryFile
from typing import BinaryIO, cast

from gzl.errors import UserError
from gzl.jobapi.host import Kind, Refused
from gzl.kit.mask import Finder, Masker
from gzl.kit.text import escaped
from gzl.model.record import Artifact
from gzl.objects import archive
from gzl.objects.base import ObjectDamaged, ObjectNotFound, ObjectStore
from gzl.objects.streams import CHUNK, stream

_MODE = 0o777  # the permission bits of a file that are kept: not setuid, not the sticky bit


class Artifacts:
    """Stores and fetches for one job. Threads may share it. `tmp` is a folder on the disk of gzl's own files."""

    def __init__(self, store: Callable[[], ObjectStore], masker: Callable[[], Masker], tmp: Path) -> None:
        self._store = store
        self._masker = masker
        self._tmp = tmp

    def keep_stream(self, name: str, body: BinaryIO, kind: Kind, mode: int) -> Artifact:
        """Store what `body` gives: a file's bytes, or for a tree a plain tar. Nothing is visible if it raises."""
        with _refusing(name):
            if kind == "file":
                blob = self._store().put(self._watched(body, name))
                return Artifact(name, kind, blob.digest, blob.size, mode & _MODE)
            return self._keep_tree(name, lambda out: archive.repack(self._watched(body, name), out, self._tmp))

    def keep_path(self, name: str, path: Path) -> Artifact:
        """Store a file or a folder."""
        with _refusing(name):
            found = path.stat()
            if stat.S_ISDIR(found.st_mode):
                return self._keep_tree(name, lambda out: archive.pack(path, out))
            if not stat.S_ISREG(found.st_mode):
                raise Refused(f"{escaped(str(path))}: neither a file nor a folder; store what is read from it instead")
            return self._keep_file(name, path, found.st_mode & _MODE)

    def open(self, artifact: Artifact, store: ObjectStore | None = None) -> BinaryIO:
        """Its content: a file's bytes, or for a tree a plain tar, which the caller closes."""
        with _refusing(artifact.name):
            source = (store or self._store()).get(artifact.digest)
            if artifact.kind == "file":
                return source
            plain = cast(BinaryIO, TemporaryFile(dir=self._folder()))  # noqa: SIM115  the caller closes it
            with source:
                archive.to_plain_tar(source, plain)
            plain.seek(0)
            return plain

    def fetch(self, artifact: Artifact, target: Path, store: ObjectStore | None = None) -> None:
        """Make it `target`: a file that is there is replaced, a folder merged into."""
        with _refusing(artifact.name):
            target.parent.mkdir(parents=True, exist_ok=True)
            if artifact.kind == "file":
                if target.is_dir():
                    raise Refused(
                        f"{escaped(str(target))}: is a folder, and {artifact.name} a file; --to names another"
                    )
                (store or self._store()).get_file(artifact.digest, target, artifact.mode)
                return
            with (store or self._store()).get(artifact.digest) as source:
                archive.unpack(source, target)

    def _keep_file(self, name: str, path: Path, mode: int) -> Artifact:
        if not self._masker().active:
            blob = self._store().put_file(path)
        else:
            with path.open("rb") as source:
                blob = self._store().put(self._watched(source, name))
        return Artifact(name, "file", blob.digest, blob.size, mode)

    def _keep_tree(self, name: str, pack: Callable[[BinaryIO], object]) -> Artifact:
        with NamedTemporaryFile(dir=self._folder(), prefix="tree-", delete=False) as out:
            path = Path(out.name)
            try:
                pack(cast(BinaryIO, out))
                out.flush()
                if archive.holds_secret(path, self._masker()):
                    raise _with_secret(name)
                blob = self._store().put_file(path, take=True)
            finally:
                path.unlink(missing_ok=True)
        return Artifact(name, "tree", blob.digest, blob.size)

    def _watched(self, source: BinaryIO, name: str) -> BinaryIO:
        """`source`, raising Refused where it holds the value of a secret."""
        return stream(self._pieces(source, name)) if self._masker().active else source

    def _pieces(self, source: BinaryIO, name: str) -> Iterator[bytes]:
        finder = Finder(self._masker())
        while piece := source.read(CHUNK):
            if finder.feed(piece):
                raise _with_secret(name)
            yield piece

    def _folder(self) -> Path:
        self._tmp.mkdir(parents=True, exist_ok=True)
        return self._tmp


def _with_secret(name: str) -> Refused:
    return Refused(
        f"{escaped(name)}: holds the value of a secret, and is not stored; take it out, or leave the file out"
    )


@contextmanager
def _refusing(name: str) -> Iterator[None]:
    """Tells whoever asks in a stage what a store, an archive or the file system has against it."""
    shown = escaped(name)
    try:
        yield
    except UserError as error:
        raise Refused(f"{shown}: {error}") from error
    except ObjectNotFound as error:
        raise Refused(
            f"{shown}: its content is no longer kept: {error}; `gzl gc` removed it, run its stage again", 404
        ) from error
    except ObjectDamaged as error:
        raise Refused(f"{shown}: {error}", 500, 3) from error
    except FileNotFoundError as error:
        raise Refused(f"{escaped(os.fsdecode(error.filename or name))}: no such file or folder", 404) from error
    except (NotADirectoryError, IsADirectoryError, FileExistsError, PermissionError) as error:
        raise Refused(f"{escaped(os.fsdecode(error.filename or name))}: {error.strerror}", 409) from error
