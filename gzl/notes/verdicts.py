"""Has this been answered already? The earlier verdict on the same pipeline for the same commit, or the same tree."""

from collections.abc import Iterable

from gzl.model.record import JobRecord
from gzl.records.index import Index


def find(index: Index, *, commit: str, tree: str, definition: str, trusted: frozenset[str] | None) -> JobRecord | None:
    """The latest verdict that a trusted writer's ledger holds for `commit`, else for another commit with `tree`.

    `definition` is the hash of what would run; `trusted` None means every writer. Jobs that were stopped or lost are no
    verdict. That trees count makes amended and rebased commits find their result.
    """
    return _first(index.claims(definition, commit=commit), trusted) or _first(
        index.claims(definition, tree=tree), trusted
    )


def _first(claims: Iterable[tuple[str, JobRecord]], trusted: frozenset[str] | None) -> JobRecord | None:
    for ledger, record in claims:
        if record.state.verdict and (trusted is None or ledger in trusted):
            return record
    return None
