"""The jobs of which retention has removed artifacts or large logs: why something that a record names is not there.

`gzl gc` notes a job here before it removes the first of its objects, so a crash in between leaves nothing unexplained.
"""

from collections.abc import Iterable

from gzl.kit.fs import read_or_none, write_atomic
from gzl.model.layout import Layout


def read(layout: Layout) -> set[str]:
    """The ids of all such jobs."""
    return set((read_or_none(layout.retired) or b"").decode(errors="replace").split())


def add(layout: Layout, jobs: Iterable[str]) -> None:
    """Add jobs. Only the holder of `gc_lock` may call it."""
    before = read(layout)
    after = before | set(jobs)
    if after != before:
        write_atomic(layout.retired, "".join(f"{job}\n" for job in sorted(after)).encode())
