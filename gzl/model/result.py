"""The closed set of states of jobs, stages and attempts."""

from enum import StrEnum


class State(StrEnum):
    """Where a job, a stage or an attempt stands; the values are what output and records say."""

    WAITING = "waiting"
    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    STOPPED = "stopped"
    TIMED_OUT = "timed-out"
    LOST = "lost"

    @property
    def final(self) -> bool:
        """Whether nothing can follow."""
        return self not in (State.WAITING, State.RUNNING)

    @property
    def verdict(self) -> bool:
        """Whether it says something about the commit: a stopped or lost job is no verdict and simply runs again."""
        return self in (State.PASSED, State.FAILED, State.TIMED_OUT)
