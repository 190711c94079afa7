"""Job ids: ULIDs (https://github.com/ulid/spec) in lower case, so that they sort by time and are safe in ref names."""

import os
import re
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
JOB_ID = re.compile(r"[0-7][0-9a-hjkmnp-tv-z]{25}\Z")
JOB_ID_PREFIX = re.compile(r"[0-7][0-9a-hjkmnp-tv-z]{3,25}\Z")


def new_job_id(now: float, random: bytes | None = None) -> str:
    """A new ULID for `now` (seconds since the epoch); `random` is 10 bytes, by default from the system."""
    number = int(now * 1000) << 80 | int.from_bytes(random if random is not None else os.urandom(10), "big")
    return _text(number)


def next_job_id(now: float, before: str) -> str:
    """A new ULID that sorts after `before`, also within its millisecond or if the clock was set back (the ULID
    specification's monotonicity); `before` may be empty."""
    made = new_job_id(now)
    if made > before:
        return made
    number = 0
    for character in before:
        number = number << 5 | _ALPHABET.index(character)
    return _text(number + 1)


def is_job_id(text: str) -> bool:
    """Whether `text` is a whole job id as gzl writes it."""
    return JOB_ID.match(text) is not None


def job_time(job: str) -> float:
    """When the job's id was made, in seconds since the epoch, with millisecond resolution."""
    number = 0
    for character in job[:10]:
        number = number << 5 | _ALPHABET.index(character)
    return number / 1000


def job_month(job: str) -> str:
    """The month (`yyyy-mm`, UTC) in which the job's id was made: its logs are under this name."""
    return time.strftime("%Y-%m", time.gmtime(job_time(job)))


def _text(number: int) -> str:
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))
