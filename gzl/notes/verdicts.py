"""Has this been answered already? Earlier verdicts on the same pipeline for the same commit or tree, on a stage with
the same inputs, on a stage at an earlier commit."""

from collections.abc import Iterable
from functools import lru_cache

from gzl.git.repo import Repo
from gzl.kit.proc import CommandFailed
from gzl.model.record import JobRecord, StageResult
from gzl.model.result import State
from gzl.records.index import Index

_PASSES = 1000  # how many of a stage's latest passes are looked for among a commit's ancestors
_NEAR = 1000  # commits: nearly always a pass is among these, and listing them takes git 5 ms


def find(index: Index, *, commit: str, tree: str, definition: str, trusted: frozenset[str] | None) -> JobRecord | None:
    """The latest verdict that a trusted writer's ledger holds for `commit`, else for another commit with `tree`.

    `definition` is the hash of what would run; `trusted` None means every writer. Jobs that were stopped or lost are no
    verdict, nor are those that failed for what may be other reasons than the commit. That trees count makes amended and
    rebased commits find their result.
    """
    return _first(index.claims(definition, commit=commit), trusted) or _first(
        index.claims(definition, tree=tree), trusted
    )


def reusable(index: Index, key: str, trusted: frozenset[str] | None) -> tuple[JobRecord, StageResult] | None:
    """The latest pass of a stage with this key (hex) that a trusted writer's ledger holds: the job, and its stage."""
    for ledger, record in index.reusable(key):
        if _counts(ledger, trusted):
            same = (stage for stage in record.stages.values() if stage.key == key and stage.state is State.PASSED)
            return record, next(same)
    return None


def stage_verdict(
    index: Index, commit: str, stage: str, trusted: frozenset[str] | None
) -> tuple[JobRecord, StageResult] | None:
    """The latest job of a commit in which a trusted writer's ledger says that the stage passed or failed, for reasons
    that are the commit's; the job, and its stage."""
    for ledger, record in index.stage_claims(commit, stage):
        result = record.stages[stage]
        if _counts(ledger, trusted) and result.state.verdict and not _troubled(result):
            return record, result
    return None


def nearest_pass(repo: Repo, index: Index, *, stage: str, commit: str, trusted: frozenset[str] | None) -> str | None:
    """The nearest ancestor of `commit` (an object id; itself counts) on which the stage passed, by a trusted writer's
    ledger; None if it is none of those on which it passed lately. Nearest is what `git log` lists first."""
    passed = set(index.passes(stage, trusted, _PASSES))
    if not passed:
        return None
    try:
        for limit in (_NEAR, -1):
            listed = _ancestors(repo, commit, limit).decode().split()
            found = next((one for one in listed if one in passed), None)
            if found is not None or len(listed) < limit:
                return found
    except CommandFailed:
        pass  # the commit is not here: nothing is known of its ancestors
    return None


@lru_cache(maxsize=2)  # of 75,000 commits: 3 MB, and 0.1 to 0.5 s for git; all stages of a job ask for the same
def _ancestors(repo: Repo, commit: str, limit: int) -> bytes:
    return repo.git("rev-list", f"--max-count={limit}", "--end-of-options", commit, "--")


def _first(claims: Iterable[tuple[str, JobRecord]], trusted: frozenset[str] | None) -> JobRecord | None:
    for ledger, record in claims:
        if record.state.verdict and _counts(ledger, trusted) and not any(map(_troubled, record.stages.values())):
            return record
    return None


def _counts(ledger: str, trusted: frozenset[str] | None) -> bool:
    return trusted is None or ledger in trusted


def _troubled(stage: StageResult) -> bool:
    """Whether a stage did not pass for what says nothing about the commit: its program was not there (126, 127: POSIX,
    XCU 2.8.2) or killed (a shell's 128 and the signal's number, of which there are 64), or its host was lost."""
    status = stage.exit or 0
    return stage.state is State.LOST or (stage.state is State.FAILED and (status in (126, 127) or 128 < status <= 192))
