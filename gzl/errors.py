"""The three kinds of failure; `cli.boundary` turns each into its message and exit status.

Anything else that is raised is a bug: its traceback goes to a file, one line to the screen, exit 3.
"""


class GzlError(Exception):
    """A failure that gzl knows; the text is for a person: the place, and the next thing to do."""


class UserError(GzlError):
    """Bad input or a refused request: shown as it is, exit 2."""


class TransientError(GzlError):
    """It may work later; retried by the caller that owns the budget, exit 75 when that is spent."""


class StaleLease(TransientError):
    """Another agent has taken the job over: whatever the holder of the older token still wants to say is refused."""
