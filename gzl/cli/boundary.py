"""The one place where exceptions become messages and exit statuses; nothing below it prints or exits."""

import os
import sys
from collections.abc import Callable

from gzl.errors import GzlError, TransientError

PASSED, NOT_PASSED, USER_ERROR, BUG, TRY_AGAIN, INTERRUPTED = 0, 1, 2, 3, 75, 130


def guarded(action: Callable[[], int]) -> int:
    """The exit status of `action`, or of the exception that ended it, after saying on stderr what was wrong."""
    try:
        return action()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output left (`gzl list | head`): not an error, and nobody to tell. What is still
        # buffered goes nowhere, or the interpreter would complain at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return PASSED
    except TransientError as error:
        say(str(error))
        return TRY_AGAIN
    except GzlError as error:
        say(str(error))
        return USER_ERROR
    except Exception as error:  # noqa: BLE001  the boundary: whatever is left is a bug, and is reported as one
        return bug(error)


def say(message: str) -> None:
    """A message for a person, on stderr."""
    print(f"gzl: {message}", file=sys.stderr)


def bug(error: Exception) -> int:
    """Keep the traceback in a file, say where, and give exit status 3."""
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="gzl-bug-", suffix=".txt", delete=False) as file:
        file.write(f"{sys.argv!r}\n")
        traceback.print_exception(error, file=file)
    say(f"a bug in gzl: {type(error).__name__}: {error}; please report it with {file.name}")
    return BUG
