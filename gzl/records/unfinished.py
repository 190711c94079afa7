"""Jobs that are not recorded yet: a folder each. Made here in one rename, read here by whoever wants to know how a job
stands, removed here once the ledger has it."""

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from gzl.errors import UserError
from gzl.kit.fs import read_or_none
from gzl.kit.proc import start_time
from gzl.model.comment import Comment, from_data
from gzl.model.ids import is_job_id
from gzl.model.journal import Entry, entries, replay
from gzl.model.layout import Layout
from gzl.model.pipeline import Stage
from gzl.model.record import JobRecord
from gzl.model.request import JobRequest, from_bytes, to_bytes, with_all_added


def create(layout: Layout, request: JobRequest) -> None:
    """Make the job's folder, whole or not at all; nothing happens if the job is there already."""
    final = layout.job(request.record.id).root
    aside = layout.jobs / f".new-{request.record.id}-{os.getpid()}"
    aside.mkdir(parents=True)
    (aside / "request.json").write_bytes(to_bytes(request))
    try:
        aside.rename(final)
    except OSError:
        shutil.rmtree(aside)
        if not final.is_dir():
            raise


def remove(layout: Layout, job: str) -> None:
    """Remove the job's folder; it is out of sight before the first of its files goes."""
    aside = layout.jobs / f".old-{job}"
    with suppress(FileNotFoundError):
        layout.job(job).root.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def set_aside(layout: Layout, job: str) -> None:
    """Keep with the events that could not be handled what is no job, so that nobody tries it again."""
    target = aside(layout, job)
    target.parent.mkdir(exist_ok=True)
    layout.job(job).root.rename(target)


def aside(layout: Layout, job: str) -> Path:
    """Where `set_aside` puts the job's folder."""
    return layout.spool / "bad" / f"job-{job}"


def sweep(layout: Layout) -> None:
    """Remove what processes that were killed in `create` or `remove` left."""
    for path in layout.jobs.glob(".*-*"):
        kind, _, rest = path.name.partition("-")
        maker = rest.rpartition("-")[2]
        if kind != ".new" or not maker.isdecimal() or start_time(int(maker)) is None:
            shutil.rmtree(path, ignore_errors=True)


def jobs(layout: Layout) -> list[str]:
    """The ids of the jobs that are not recorded yet, oldest first."""
    try:
        return sorted(name for name in os.listdir(layout.jobs) if is_job_id(name))
    except FileNotFoundError:
        return []


def request(layout: Layout, job: str) -> JobRequest:
    """What the job was made to run. UserError if there is no such unfinished job, or its file is damaged."""
    path = layout.job(job).request
    data = read_or_none(path)
    if data is None:
        raise UserError(f"{job}: no unfinished job of this id; `gzl list` shows the jobs")
    return from_bytes(data, str(path))


def journal(layout: Layout, job: str) -> list[Entry]:
    """What happened to the job so far."""
    return list(entries(read_or_none(layout.job(job).journal) or b""))


def stages(layout: Layout, job: str) -> dict[str, Stage]:
    """The job's stages, those that were added while it ran too."""
    return with_all_added(request(layout, job).stages, journal(layout, job))


def read(layout: Layout, job: str) -> JobRecord:
    """The job as it stands now."""
    return replay(request(layout, job).record, journal(layout, job))


def comments(layout: Layout, job: str) -> list[Comment]:
    """What the stages of the job have said of it so far."""
    return [from_data(entry.data) for entry in journal(layout, job) if entry.what == "comment" and entry.data]


def unfinished(layout: Layout) -> Iterator[JobRecord]:
    """All jobs that are not recorded yet, oldest first; a job that is recorded meanwhile is left out."""
    for job in jobs(layout):
        if layout.job(job).request.exists():
            with suppress(UserError):
                yield read(layout, job)
