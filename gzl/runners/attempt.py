"""The attempt directory: one protocol for every provider. It is the workload's truth, whoever watches it.

    script   what runs: POSIX sh made from the stage's steps, or the body itself where it starts with #!
    env      the stage's environment, in sh's own words, mode 0600
    log      stdout and stderr, written by the shell itself
    steps    "<number> <log offset> <uptime>" for each step that was begun, where there are several
    pid      the supervising shell's, made with O_EXCL: who makes it, the shell or an agent that gives the attempt up,
             decides whether the workload runs
    rc       "<exit status> <log bytes>\\n", written last, once

and, where the runner is `local`:

    cgroup   the path of the attempt's control group, if it has one
    usage    what its processes had used at some instants; see `usage`

No `rc`, no verdict. The supervisor outlives a SIGTERM to its group, because `rc` is still to be written; it runs the
script in a subshell, so that `exec`, `exit`, a syntax error or a trap in the script cannot take its place. Nothing on
the way to a no-op's end starts a process: the length of the log is the position of its file description in /proc, and
is counted with wc only where there is no /proc.
"""

import re
import shlex
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path, PurePath

from gzl.kit.fs import read_regular
from gzl.model.pipeline import Stage

SUPERVISOR = r"""set -C
{ echo "$$" >"$0/pid"; } 2>/dev/null || exit 0
set +C
trap : HUP INT TERM
( trap - HUP INT TERM
  _gzl_a=$0; cd "$1" || exit 1; shift
  if [ $# = 0 ]; then exec "$_gzl_a/script"; fi
  if [ "$*" = sh ]; then set --; . "$_gzl_a/script"; else exec "$@" "$_gzl_a/script"; fi )
r=$?
{ read -r _ n </proc/self/fdinfo/1; } 2>/dev/null || n=$(($(wc -c <"$0/log")))
echo "$r $n" >"$0/rc"
"""
"""Run as `sh -c SUPERVISOR <attempt directory> <workspace> [<shell> …]`, its output going to `log`."""

ENTER = """{ echo 0 >"$1/cgroup.procs"; } 2>/dev/null; shift
"""
"""Before SUPERVISOR, its arguments preceded by the path of a control group: the shell moves itself there first."""

_PRELUDE = r"""set -e
_gzl_step() {
    [ "$2" = 0 ] || exit "$2"
    { read -r _ _gzl_n </proc/self/fdinfo/1 && read -r _gzl_t _ </proc/uptime; } 2>/dev/null || { _gzl_n=-; _gzl_t=-; }
    echo "$1 $_gzl_n $_gzl_t" >>"$GZL_ATTEMPT/steps"
}
"""

# The workload can write these files too: what is not as the shell writes it is not there.
_RC = re.compile(rb"(\d{1,3}) (\d{1,18})\n")
_STEP = re.compile(rb"(\d{1,6}) (\d{1,18}|-) (\d{1,12}\.\d{1,6}|-)")


def script(stage: Stage) -> str:
    """The text of `script` for a stage.

    `set -e` is in force, and besides a step whose own status is not 0 ends the stage: `false && true` is a step that
    failed, though `set -e` does not say so (POSIX, XCU 2.14, set).
    """
    if stage.interpreter is not None:
        return stage.steps[0].text + "\n"
    if len(stage.steps) == 1:
        return f"set -e\n{stage.steps[0].text}\n"
    parts = [_PRELUDE]
    for number, step in enumerate(stage.steps, 1):
        parts.append(f"_gzl_step {number} {'$?' if number > 1 else 0}\n{step.text}\n")
    return "".join(parts)


def shell(stage: Stage) -> tuple[str, ...]:
    """The command that reads the stage's script; empty where the script names its own interpreter."""
    if stage.interpreter is not None:
        return ()
    words = shlex.split(stage.shell)
    return (*words, "sh") if PurePath(words[-1]).name == "busybox" else tuple(words)


def env_text(env: Mapping[str, str]) -> str:
    """The text of `env`: reading it with `.` gives a shell the stage's environment."""
    return "".join(_export(name, value) for name, value in env.items() if name.isidentifier())


@lru_cache(maxsize=1024)
def _export(name: str, value: str) -> str:
    """A line of `env`. Most of them are the same for all stages of a job."""
    return f"export {name}={shlex.quote(value)}\n"


def read_rc(directory: Path) -> tuple[int, int] | None:
    """Exit status and log length of an attempt that ended; None as long as it has not, or if it never will.

    UserError if the workload put something else in the file's place.
    """
    # A line without its end is still being written.
    match = _RC.fullmatch(read_regular(directory / "rc", 64) or b"")
    return (int(match[1]), int(match[2])) if match else None


def read_steps(directory: Path) -> list[tuple[int, int | None, float | None]]:
    """Number, log offset in bytes and uptime in seconds of each step that was begun. UserError as above."""
    lines = (read_regular(directory / "steps", 1 << 20) or b"").splitlines()
    found = (match.groups() for match in map(_STEP.fullmatch, lines) if match)
    return [
        (int(number), None if offset == b"-" else int(offset), None if uptime == b"-" else float(uptime))
        for number, offset, uptime in found
    ]
