"""The name under which this clone writes its results (git's configuration, `gzl.writer`)."""

import re
import secrets

from gzl.errors import UserError
from gzl.git.repo import Repo

KEY = "gzl.writer"


def own(repo: Repo) -> str:
    """This clone's writer name. UserError where `gzl init` has not given it one."""
    name = repo.config(KEY)
    if not name:
        raise UserError(f"{repo.worktree or repo.git_dir}: gzl is not set up here (no {KEY}); run `gzl init`")
    return name


def choose(repo: Repo, host: str) -> str:
    """This clone's writer name, made up from the name of the machine if it has none yet, and kept."""
    name = repo.config(KEY)
    if not name:
        name = made_up(host)
        repo.git("config", KEY, name)
    return name


def made_up(host: str) -> str:
    """A name that no other writer has, for a clone on the machine `host`."""
    label = re.sub(r"[^a-z0-9-]+", "-", host.partition(".")[0].lower()).strip("-") or "clone"
    return f"{label}-{secrets.token_hex(3)}"
