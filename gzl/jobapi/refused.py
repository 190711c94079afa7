"""The answer no, apart from `host`: an agent whose stages never call imports this and no more."""

from gzl.errors import GzlError


class Refused(GzlError):
    """The answer is no. `status` is the HTTP status, `exit` the exit status of the `gzl` in the stage.

    Statuses that mean something to callers: 401 no such token, 403 not yours or not allowed, 404 there is none, 409 not
    now or not together with what is, 410 the attempt has ended or was taken over, 413 too large, 422 makes no sense.
    The message says what was refused and what to do.
    """

    def __init__(self, message: str, status: int = 422, exit: int = 2) -> None:
        super().__init__(message)
        self.status = status
        self.exit = exit
