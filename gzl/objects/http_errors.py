"""What a failure of a file server means for gzl."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from gzl.errors import GzlError, TransientError, UserError
from gzl.kit.text import escaped

_LATER = {408, 425, 429, 507}  # 507: its disk is full (RFC 4918)
_ADVICE = {
    401: "set GZL_ARTIFACTORY_TOKEN, or GZL_ARTIFACTORY_USER and GZL_ARTIFACTORY_PASSWORD",
    403: "these credentials may not do that: check what they are allowed",
    404: "make the repository, or correct the URL",
    405: "it must take PUT, GET, HEAD and DELETE there; for nginx: dav_methods PUT DELETE",
    409: "it must make folders as they are needed; for nginx: create_full_put_path on",
    413: "it takes no files of this size; for nginx: client_max_body_size 0",
}


@contextmanager
def reaching(url: str) -> Iterator[None]:
    """Failures to reach the server in the block as gzl's."""
    try:
        yield
    except (httpx.TransportError, httpx.StreamError) as error:
        if isinstance(error, httpx.UnsupportedProtocol):
            raise UserError(f"{url}: {error}; correct the URL") from error
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise UserError(f"{url}: {error}; check its certificate, or correct the URL") from error
        why = str(error) or type(error).__name__
        raise TransientError(f"{url}: {why}; check the URL and the network") from error
    except (httpx.InvalidURL, httpx.TooManyRedirects, httpx.DecodingError) as error:
        raise UserError(f"{url}: {error}; correct the URL") from error


def refusal(url: str, answer: httpx.Response) -> GzlError:
    """The error for an answer that is none of success. Its body must have been read."""
    status = answer.status_code
    said = f"{url}: {answer.request.method} is answered {status} {escaped(answer.reason_phrase, 100)}"
    if status in _LATER or (status >= 500 and status != httpx.codes.NOT_IMPLEMENTED):
        return TransientError(f"{said}; try again later")
    advice = _ADVICE.get(status, f"check the URL: {escaped(answer.text[:200])}")
    return UserError(f"{said}; {advice}")
