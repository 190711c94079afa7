"""What a stage like `lib//package` runs: `python -m gzl.cli.foreign <git folder> <reference>`.

It has the other repository's stage run there, or takes what ran (`gzl run --join`), shows that job's output, and hands
on what the stage told, with `commit` and `job`, which say what was taken. Exit status: that stage's.
"""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gzl.cli.boundary import INTERRUPTED, NOT_PASSED, PASSED, TRY_AGAIN, guarded, say
from gzl.cli.join import JOINED
from gzl.cli.remote import parse_ssh
from gzl.errors import TransientError, UserError
from gzl.git import neighbours
from gzl.git.foreign import parse_reference
from gzl.git.neighbours import Neighbour, Tip
from gzl.git.repo import Repo
from gzl.model.pipeline import StageRef


def main() -> int:
    """Wait for, or start, the stage; its exit status."""
    repo, ref = Repo(Path(sys.argv[1]), Path(sys.argv[1]), None), parse_reference(sys.argv[2])
    there = neighbours.find(repo, str(ref.repo))
    at = neighbours.tip(there.repo, ref, os.environ.get("GZL_BRANCH", "")) if there.repo is not None else None
    joined = _waiting(repo)
    if there.repo is not None and at is not None:
        argv, environ = _local(there.repo, ref, at, joined)
    else:
        argv, environ = _ssh(repo, there, ref, joined)
    done = subprocess.run(argv, env=environ, stdout=subprocess.PIPE, check=False)
    if done.returncode not in (PASSED, NOT_PASSED):
        return _trouble(done.returncode, ref, there)
    record = json.loads(done.stdout)
    _hand_on(ref, record)
    return done.returncode


def _waiting(repo: Repo) -> str:
    """What waits for what comes now: this stage, and all that waits for its job. See `JobLayout.joined`."""
    job = os.environ["GZL_JOB"]
    behind = [path.read_text() for path in sorted(repo.layout.job(job).joined.glob("[!.]*"))]
    return "".join([*behind, f"{job} {os.environ['GZL_STAGE']}\n"])


def _local(there: Repo, ref: StageRef, at: Tip, joined: str) -> tuple[list[str], dict[str, str]]:
    say(f"{ref}: {ref.stage} at {at} in {there.worktree or there.git_dir}")
    commit = f"refs/heads/{at.branch}" if at.branch else "HEAD"
    # -P: the current folder is a checkout, and one that has a folder `gzl` must not take gzl's place.
    argv = [sys.executable, "-P", "-m", "gzl", "-C", str(there.worktree or there.git_dir)]
    argv += ["run", "--join", "--json", "--commit", commit, "--stage", ref.stage]
    # That job has an API, a commit, a branch of its own.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GZL_")}
    return argv, {**environ, JOINED: joined}


def _ssh(repo: Repo, there: Neighbour, ref: StageRef, joined: str) -> tuple[list[str], dict[str, str]]:
    host, path, port = parse_ssh(there.url, there.name)
    say(f"{ref}: {ref.stage} in {path} on {host}")
    argv = [*shlex.split(os.environ.get("GIT_SSH_COMMAND") or repo.config("core.sshCommand") or "ssh")]
    argv += ["-p", port] if port else []
    command = ["env", f"{JOINED}={joined}", "gzl", "-C", path, "run", "--join", "--json", "--stage", ref.stage]
    if ref.branch is not None:
        command += ["--commit", f"refs/heads/{ref.branch}"]
    elif branch := os.environ.get("GZL_BRANCH"):
        command += ["--commit", f"refs/heads/{branch}", "--or-head"]
    return [*argv, "-o", "BatchMode=yes", "--", host, shlex.join(command)], dict(os.environ)


def _trouble(status: int, ref: StageRef, there: Neighbour) -> int:
    """What went wrong was said by whom it befell."""
    if status == TRY_AGAIN:
        raise TransientError(f"{ref}: no verdict for now; run this job again")
    if status in (INTERRUPTED, -2, -15):
        return INTERRUPTED
    if status == 255 and there.repo is None:  # ssh(1), EXIT STATUS
        raise UserError(f"{ref}: {there.url} cannot be reached over SSH without asking; ssh has said why")
    raise UserError(f"{ref}: gzl ended there with status {status}")


def _hand_on(ref: StageRef, record: Mapping[str, Any]) -> None:
    stages = [stage for name, stage in record["stages"].items() if ref.stage in (name, name.partition("@")[0])]
    told = {key: value for stage in stages for key, value in stage["outputs"].items()}
    told |= {"commit": record["commit"], "job": record["id"]}
    subprocess.run(["gzl", "out", *(f"{key}={value}" for key, value in told.items())], check=True)


if __name__ == "__main__":
    sys.exit(guarded(main))
