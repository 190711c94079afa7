"""The environment of a stage: what the agent was started with, less what ties it to a git repository or a terminal,
plus the Gzlfile's `env:` and what gzl tells about the job. docs/gzlfile.md documents every name."""

import re
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path

from gzl.kit.proc import scrubbed
from gzl.model.pipeline import Stage
from gzl.model.record import JobRecord
from gzl.planning.plan import Plan

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


def inputs(stage: str, plan: Plan, job: JobRecord) -> dict[str, str]:
    """`GZL_IN_<STAGE>_<KEY>` for each output of the stages that `stage` depends on."""
    return {
        variable(name, key): value for name in _givers(stage, plan) for key, value in job.stages[name].outputs.items()
    }


def variable(stage: str, key: str) -> str:
    """The environment variable of an output: upper case, and `_` for whatever is no ASCII letter or digit."""
    return "GZL_IN_" + re.sub(r"[^A-Z0-9]+", "_", f"{stage}_{key}".upper())


def _givers(stage: str, plan: Plan) -> Iterator[str]:
    """The stages that it depends on; one without a body only groups others, and hands on what they give."""
    todo, seen = [stage], {stage}
    while todo:
        for name in chain.from_iterable(need.stages for need in plan.needs[todo.pop()]):
            if name not in seen:
                seen.add(name)
                yield name
                if not plan.stages[name].steps:
                    todo.append(name)


def expand(value: str, env: Mapping[str, str]) -> str:
    r"""`value` with `$NAME` and `${NAME}` replaced from `env` (nothing for an unknown name); `\$` is a dollar sign."""
    return _VARIABLE.sub(lambda m: "$" if m[0] == r"\$" else env.get(m[1] or m[2], ""), value)
