"""The environment of a stage: what the agent was started with, less what ties it to a git repository or a terminal,
plus the Gzlfile's `env:` and what gzl tells about the job. docs/gzlfile.md documents every name."""

import re
from collections.abc import Mapping
from pathlib import Path

from gzl.kit.proc import scrubbed
from gzl.model.pipeline import Stage
from gzl.model.record import JobRecord

# Of the connection or terminal that happened to start the manager; a stage has neither.
_OF_THE_SESSION = {
    "SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY", "SSH_ORIGINAL_COMMAND", "OLDPWD", "PWD", "SHLVL", "_", "TERM", "COLUMNS",
    "LINES", "PS1", "GZL_CRASH_AT",
}  # fmt: skip
_VARIABLE = re.compile(r"\\\$|\$(?:\{(\w+)\}|(\w+))", re.ASCII)


def job_env(base: Mapping[str, str], declared: Mapping[str, str], job: JobRecord) -> dict[str, str]:
    """What all stages of a job have in common."""
    env = {name: value for name, value in scrubbed(base).items() if name not in _OF_THE_SESSION}
    for name, value in declared.items():
        env[name] = expand(value, env)
    return env | {
        "CI": "true",
        "GZL_JOB": job.id,
        "GZL_COMMIT": job.commit,
        "GZL_REF": job.ref,
        "GZL_BRANCH": job.ref.removeprefix("refs/heads/") if job.ref.startswith("refs/heads/") else "",
        "GZL_TAG": job.ref.removeprefix("refs/tags/") if job.ref.startswith("refs/tags/") else "",
        "GZL_EVENT": job.event,
    }


def stage_env(
    common: Mapping[str, str], stage: Stage, *, attempt: Path, workspace: Path, last: tuple[str, str]
) -> dict[str, str]:
    """The environment of one attempt; `last` are the commits that the stage last ran and last passed on, or empty."""
    return {
        **common,
        "GZL_STAGE": stage.name,
        "GZL_ATTEMPT": str(attempt),
        "GZL_WORKSPACE": str(workspace),
        "GZL_LAST_RUN": last[0],
        "GZL_LAST_PASS": last[1],
        **{f"GZL_MATRIX_{key.upper()}": value for key, value in stage.matrix.items()},
    }


def expand(value: str, env: Mapping[str, str]) -> str:
    r"""`value` with `$NAME` and `${NAME}` replaced from `env` (nothing for an unknown name); `\$` is a dollar sign."""
    return _VARIABLE.sub(lambda m: "$" if m[0] == r"\$" else env.get(m[1] or m[2], ""), value)
