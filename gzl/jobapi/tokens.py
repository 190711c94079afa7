"""Tokens that say which attempt of which stage calls: `<stage>.<attempt>.<MAC>`, stage and MAC in hex: a stage's name
may have letters of any script, and a header of HTTP is ASCII.

The MAC is keyed BLAKE2b (RFC 7693) over job, stage and attempt. Its key lies in the job's folder, so that an agent that
takes a job over accepts the tokens that an earlier one gave out.
"""

import os
import re
from contextlib import suppress
from pathlib import Path

from gzl.jobapi.refused import Refused

# hashlib would load OpenSSL, 3.4 ms between a push and its first step; this is the module that its blake2b is from.
try:
    from _blake2 import blake2b
except ImportError:  # an interpreter built without it
    from hashlib import blake2b

_KEY_BYTES = 32
_TOKEN = re.compile(r"((?:[0-9a-f]{2})+)\.([0-9]{1,9})\.[0-9a-f]{48}")


class Tokens:
    """Gives out and reads the tokens of one job."""

    def __init__(self, job: str, key: bytes) -> None:
        self._job = job
        self._key = key

    def issue(self, stage: str, attempt: int) -> str:
        """The token of an attempt: visible ASCII without white space."""
        return f"{stage.encode(errors='surrogateescape').hex()}.{attempt}.{self._mac(stage, attempt)}"

    def read(self, token: str) -> tuple[str, int]:
        """Stage and attempt of a token that `issue` gave. Refused (401) for any other."""
        from hmac import compare_digest  # with hashlib; only an agent that is called needs it

        match = _TOKEN.fullmatch(token)
        if match is not None:
            named = bytes.fromhex(match[1]).decode(errors="surrogateescape"), int(match[2])
            # What is compared is the whole token, so that an attempt has one spelling only.
            if compare_digest(self.issue(*named), token):
                return named
        raise Refused("GZL_TOKEN is no token of this job: it is set for each stage, do not change or keep it", 401)

    def _mac(self, stage: str, attempt: int) -> str:
        said = f"{self._job}\0{stage}\0{attempt}".encode(errors="surrogateescape")
        return blake2b(said, digest_size=24, key=self._key).hexdigest()


def key(path: Path) -> bytes:
    """The key in the file `path`, made (mode 0600) if there is none yet."""
    with suppress(FileExistsError):
        # Linked into place when it is whole: an agent that dies on the way must not leave half a key to the next one.
        aside = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, os.urandom(_KEY_BYTES))
        finally:
            os.close(fd)
        try:
            os.link(aside, path)
        finally:
            aside.unlink()
    return path.read_bytes()
