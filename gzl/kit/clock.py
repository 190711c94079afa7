"""Time is passed in: production code takes a `Clock`, tests give it a fake one."""

import time
from typing import Protocol


class Clock(Protocol):
    """The time now, in seconds since the epoch."""

    def __call__(self) -> float: ...


system_clock: Clock = time.time
