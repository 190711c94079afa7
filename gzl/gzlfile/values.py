"""The kinds of value that options take: each reads a text and gives what it means, or raises ValueError.

The error's text completes the sentence "`timeout=soon`: …".
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from gzl.gzlfile.globs import flaw

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", re.ASCII)
_SIZE = re.compile(r"(\d+)([KMGT])?i?B?", re.ASCII)
_CPU = re.compile(r"(\d+)(?:\.(\d{1,3}))?(m)?", re.ASCII)
_WORD = re.compile(r"[\w.+-]+")
_SECRET = re.compile(r"[A-Za-z_][\w-]*", re.ASCII)
_KEYED = re.compile(r"key=\S+")

SHELLS = frozenset({"sh", "bash", "dash", "ksh", "zsh", "ash", "busybox"})
"""Shells that read the POSIX language, by the last part of their path."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What an option's value may be: `about` for people, `read` for machines."""

    about: str
    read: Callable[[str], object]


def flag(text: str) -> bool:
    """`yes` or `no`."""
    if text not in ("yes", "no"):
        raise ValueError("it is yes or no")
    return text == "yes"


def seconds(text: str) -> int:
    """A duration: hours, minutes, seconds, in this order, such as `1h30m`, `10m`, `90s`; at least a second."""
    match = _DURATION.fullmatch(text)
    if not text or match is None or len(text) > 20:
        raise ValueError("a duration is written like 90s, 10m or 1h30m")
    hours, minutes, secs = (int(part or 0) for part in match.groups())
    total = hours * 3600 + minutes * 60 + secs
    if total == 0:
        raise ValueError("a duration is at least 1s; leave the option out for no limit")
    return total


def count(text: str) -> int:
    """A whole number from 0 to 9999."""
    if not re.fullmatch(r"\d{1,4}", text, re.ASCII):
        raise ValueError("it is a whole number such as 4")
    return int(text)


def count_or_auto(text: str) -> int | None:
    """A whole number from 1, or None for `auto`."""
    if text == "auto":
        return None
    if not re.fullmatch(r"\d{1,4}", text, re.ASCII) or int(text) == 0:
        raise ValueError("it is a whole number from 1, or auto")
    return int(text)


def size(text: str) -> int:
    """Bytes: a whole number with K, M, G or T, in powers of 1024; `Gi` and `GiB` mean the same."""
    match = _SIZE.fullmatch(text)
    if match is None or len(text) > 20 or int(match[1]) == 0:
        raise ValueError("a size is written like 512M or 2G")
    return int(match[1]) << {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}[match[2] or ""]


def millicpus(text: str) -> int:
    """Processors in thousandths: `2`, `0.5`, or Kubernetes' `500m`."""
    match = _CPU.fullmatch(text)
    if match is None or (match[2] and match[3]) or len(text) > 12:
        raise ValueError("processors are written like 2, 0.5 or 500m")
    number = int(match[1]) if match[3] else int(match[1]) * 1000 + int((match[2] or "0").ljust(3, "0"))
    if number == 0:
        raise ValueError("it must be more than 0")
    return number


def globs(text: str) -> tuple[str, ...]:
    """Patterns with white space between; see gzl.gzlfile.globs."""
    patterns = _some(text, "a pattern such as src/**")
    for pattern in patterns:
        if wrong := flaw(pattern):
            raise ValueError(f"in the pattern {pattern!r} {wrong}")
        if pattern.startswith("/") or ".." in pattern.split("/"):
            raise ValueError(f"the pattern {pattern!r} leads out of the repository; patterns begin at its root")
    return patterns


def secrets(text: str) -> tuple[str, ...]:
    """Names of secrets with white space between."""
    return _each(text, _SECRET, "a secret's name has letters, digits, _ and -")


def labels(text: str) -> tuple[str, ...]:
    """Words that an agent's machine must be labelled with: `gpu`, `os=linux`."""
    return _each(text, re.compile(r"[\w.+-]+(=[\w.+-]+)?"), "a label is a word such as gpu, or key=value")


def word(text: str) -> str:
    """Anything without white space."""
    if not text or text.split() != [text]:
        raise ValueError("it is one word")
    return text


def sentence(text: str) -> str:
    """Any text that is not empty: a command."""
    if not text.strip():
        raise ValueError("it is empty")
    return text


def shell(text: str) -> str:
    """A shell of SHELLS, by name or by path."""
    if text.rpartition("/")[2] not in SHELLS or text.split() != [text]:
        raise ValueError(f"it is a POSIX shell, one of {', '.join(sorted(SHELLS))}")
    return text


def runner(text: str) -> tuple[str, str | None]:
    """A provider and, after a colon, which one of its kind: `local`, `docker`, `ssh:build1`."""
    name, colon, which = text.partition(":")
    if not _WORD.fullmatch(name) or (colon and not re.fullmatch(r"[\w.@+-]+", which)):
        raise ValueError("a runner is written like local, docker or ssh:build1")
    return name, which or None


def image(text: str) -> str:
    """A container image's name."""
    if not re.fullmatch(r"[A-Za-z0-9][\w./:@-]*", text, re.ASCII):
        raise ValueError("an image is written like python:3.12 or registry.example/team/image:tag")
    return text


def services(text: str) -> tuple[tuple[str, str], ...]:
    """`IMAGE [as NAME]` with commas between; the name is by default the last part of the image's."""
    found = []
    for part in text.split(","):
        words = part.split()
        if len(words) not in (1, 3) or (len(words) == 3 and words[1] != "as"):
            raise ValueError('services are written like "postgres:16 as db, redis:7"')
        default = re.split("[:@]", image(words[0]).rpartition("/")[2])[0]
        found.append((words[0], words[2] if len(words) == 3 else default))
    if len({name for _, name in found}) != len(found):
        raise ValueError("two services have one name; tell them apart with `as`")
    return tuple(found)


def cache(text: str) -> tuple[str, ...]:
    """`PATH… key=GLOB…`: what is kept, and the files whose content it depends on."""
    words = text.split()
    keys = [w for w in words if w.startswith("key=")]
    if len(keys) == len(words) or any(not _KEYED.fullmatch(key) for key in keys):
        raise ValueError('a cache is written like "node_modules key=package-lock.json"')
    globs(" ".join(w.removeprefix("key=") for w in words))
    return tuple(words)


def _some(text: str, what: str) -> tuple[str, ...]:
    words = tuple(text.split())
    if not words:
        raise ValueError(f"it is empty; name {what}")
    return words


def _each(text: str, form: re.Pattern[str], wrong: str) -> tuple[str, ...]:
    words = _some(text, "at least one")
    for item in words:
        if not form.fullmatch(item):
            raise ValueError(f"{item!r} is no name: {wrong}")
    return words
