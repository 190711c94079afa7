"""Which artifact does a stage mean by a name? One of its own job, or, with `--from`, of a stage, of another job, of a
commit's latest one, or of another repository."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from gzl.errors import UserError
from gzl.git import neighbours
from gzl.git.repo import Repo
from gzl.gzlfile.names import repo_flaw
from gzl.jobapi.host import Refused
from gzl.kit.text import escaped
from gzl.model.ids import JOB_ID_PREFIX
from gzl.model.record import Artifact, JobRecord
from gzl.notes import trust
from gzl.notes.index import open_index
from gzl.planning.plan import Plan, families_of
from gzl.records import unfinished

_LATEST = 100  # jobs of a branch in which an artifact is looked for


@dataclass(frozen=True, slots=True)
class Found:
    """An artifact, whose it is, and the repository that has it; None: the job's own."""

    artifact: Artifact
    job: str
    stage: str
    repo: Repo | None = None


def own(name: str, record: JobRecord, plan: Plan, asker: str) -> Found:
    """The artifact in the job itself: of what the asking stage waits for, else of whatever that waits for, else of any
    stage. Refused if there is none, or several that may be meant."""
    direct = [needed for need in plan.needs[asker] for needed in need.stages]
    for stages in (direct, _behind(plan, direct), record.stages):
        if (found := _one(name, record, stages)) is not None:
            return found
    stored = sorted({artifact.name for stage in record.stages.values() for artifact in stage.artifacts})
    there = ", ".join(map(escaped, stored[:8])) + (", …" if len(stored) > 8 else "") or "nothing"
    raise Refused(f"no stage of this job has stored {escaped(name)!r}; so far there is {there}", 404)


def elsewhere(name: str, source: str, record: JobRecord, plan: Plan, repo: Repo) -> Found:
    """The artifact that `--from SOURCE` names. Refused if there is none."""
    families = families_of(plan.stages)
    if source in families and not any("//" in member for member in families[source]):
        found = _one(name, record, families[source])
        if found is None:
            raise _none(name, f"stage {source} of this job has not stored it")
        return found
    taken = [
        stage for stage in plan.stages if "//" in stage and source in (stage, stage.partition("//")[0], _repo(stage))
    ]
    if taken:
        return _of_neighbours(name, taken, record, repo)
    found = _of_job(name, source, repo) or _of_commit(name, source, repo) or _of_repository(name, source, repo)
    if found is None:
        raise _none(name, f"--from {escaped(source)}: no stage, job, commit or repository of this name has stored it")
    return found


def _behind(plan: Plan, stages: Iterable[str]) -> Iterable[str]:
    todo, found = list(stages), dict[str, None]()
    while todo:
        fresh = [name for need in plan.needs[todo.pop()] for name in need.stages if name not in found]
        found.update(dict.fromkeys(fresh))
        todo += fresh
    return found


def _one(name: str, record: JobRecord, stages: Iterable[str], repo: Repo | None = None) -> Found | None:
    """The artifact among what `stages` have stored; Refused if different ones are called so."""
    found = [
        Found(artifact, record.id, stage, repo)
        for stage in dict.fromkeys(stages)
        for artifact in record.stages[stage].artifacts
        if artifact.name == name
    ]
    if len({(one.artifact.digest, one.artifact.kind) for one in found}) > 1:
        names = " and ".join(one.stage for one in found)
        raise Refused(f"{escaped(name)!r} was stored by {names}; say whose: --from {found[0].stage}", 409)
    return found[0] if found else None


def _repo(stage: str) -> str:
    return stage.partition("//")[0].partition("@")[0]


def _of_neighbours(name: str, taken: list[str], record: JobRecord, repo: Repo) -> Found:
    """In the jobs of other repositories that dependencies of this job took."""
    for stage in taken:
        job = record.stages[stage].outputs.get("job")
        if job is None:
            raise Refused(f"{stage} has not passed yet; depend on it, or `gzl await {stage}`", 409)
        there = _here(repo, _repo(stage), name)
        wanted = stage.partition("//")[2]
        for other in _jobs(there, prefix=job):
            members = [one for one in other.stages if wanted in (one, one.partition("@")[0])]
            if (found := _one(name, other, members, there) or _one(name, other, other.stages, there)) is not None:
                return found
    raise _none(name, f"the job that {' and '.join(taken)} took has not stored it")


def _of_job(name: str, source: str, repo: Repo) -> Found | None:
    if not JOB_ID_PREFIX.match(source.lower()):
        return None
    jobs = _jobs(repo, prefix=source.lower())
    if len(jobs) > 1:
        shown = ", ".join(job.id for job in jobs[:3])
        raise Refused(f"--from {source}: could be any of {shown}; type more of it", 409)
    return _one(name, jobs[0], jobs[0].stages) if jobs else None


def _of_commit(name: str, source: str, repo: Repo) -> Found | None:
    commit = repo.resolve(source)
    jobs = _jobs(repo, commit=commit) if commit is not None else []
    return next((found for job in jobs if (found := _one(name, job, job.stages)) is not None), None)


def _of_repository(name: str, source: str, repo: Repo) -> Found | None:
    """In the latest job of the other repository's default branch that has it."""
    if repo_flaw(source):
        return None
    there = _here(repo, source, name)
    head = there.symbolic("HEAD")
    jobs = _jobs(there, ref=head)
    return next((found for job in jobs if (found := _one(name, job, job.stages, there)) is not None), None)


def _here(repo: Repo, source: str, name: str) -> Repo:
    try:
        there = neighbours.find(repo, source)
    except UserError as error:
        raise _none(name, f"--from {escaped(source)}: no stage, job or commit of this name, and {error}") from error
    if there.repo is None:
        raise Refused(
            f"--from {source}: that repository is on another machine ({there.url}); its artifacts are not reached from"
            " here, hand on what is small as an output: gzl out"
        )
    return there.repo


def _jobs(
    repo: Repo, *, commit: str | None = None, ref: str | None = None, prefix: str | None = None
) -> list[JobRecord]:
    """The latest jobs that count here, newest first: those that run, and those that a trusted writer's ledger has."""
    wanted = {"commit": commit, "ref": ref}
    found = {
        record.id: record
        for record in unfinished.unfinished(repo.layout)
        if record.id.startswith(prefix or "")
        and all(value in (None, getattr(record, key)) for key, value in wanted.items())
    }
    trusted = trust.trusted(repo)
    with open_index(repo) as index:
        for ledger, record in islice(index.told(commit=commit, ref=ref, prefix=prefix), _LATEST):
            if trusted is None or ledger in trusted:
                found.setdefault(record.id, record)
    return sorted(found.values(), key=lambda record: record.id, reverse=True)


def _none(name: str, why: str) -> Refused:
    return Refused(f"{escaped(name)!r}: {why}; `gzl show` lists what a job has stored", 404)
