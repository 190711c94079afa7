"""What a failure of an S3 client means for gzl: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from boto3.exceptions import RetriesExceededError
from botocore import exceptions as failures

from gzl.errors import GzlError, TransientError, UserError
from gzl.kit.text import escaped
from gzl.objects.base import ObjectNotFound

_LATER = {
    "InternalError", "OperationAborted", "RequestTimeout", "ServiceUnavailable", "SlowDown", "Throttling",
    "RequestTimeTooSkewed", "IncompleteBody", "NoSuchUpload", "PreconditionFailed",
}  # fmt: skip
_CREDENTIALS = {
    "AccessDenied", "AccountProblem", "AllAccessDisabled", "ExpiredToken", "Forbidden", "InvalidAccessKeyId",
    "InvalidToken", "SignatureDoesNotMatch", "TokenRefreshRequired",
}  # fmt: skip
_REGION = {"AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect", "301", "307"}
_UNREACHED = (
    failures.ConnectionError, failures.HTTPClientError, failures.IncompleteReadError, RetriesExceededError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said: S3's error code (for HEAD, which has no body, the status), the HTTP status, the text."""

    code: str
    status: int
    text: str


def answer(error: failures.ClientError) -> Answer:
    said = error.response.get("Error", {})
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return Answer(str(said.get("Code", status)), status, escaped(str(said.get("Message", "")), 300))


def missing(error: failures.ClientError) -> bool:
    """Whether there is no such object, or no such bucket."""
    return answer(error).status == 404


def refused(error: failures.ClientError) -> bool:
    """Whether these credentials may not do that."""
    return answer(error).status in (401, 403)


def no_bucket(url: str, bucket: str) -> UserError:
    return UserError(f"{url}: there is no bucket '{bucket}'; make it, or correct the URL")


@contextmanager
def translated(url: str, bucket: str, digest: str | None = None) -> Iterator[None]:
    """Failures of boto3 in the block as gzl's; `digest` is the object that was asked for."""
    try:
        yield
    except failures.ClientError as error:
        raise _answered(answer(error), url, bucket, digest) from error
    except failures.SSLError as error:
        raise UserError(f"{url}: no secure connection: {error}; check the endpoint and its certificate") from error
    except _UNREACHED as error:
        raise TransientError(f"{url}: {error}; check the endpoint and the network") from error
    except (failures.NoCredentialsError, failures.PartialCredentialsError, failures.CredentialRetrievalError) as error:
        raise _credentials(url, str(error)) from error
    except failures.BotoCoreError as error:
        raise UserError(f"{url}: {error}; check the URL and the AWS configuration") from error


def _answered(said: Answer, url: str, bucket: str, digest: str | None) -> GzlError:
    where = f"{url}: {said.code}: {said.text}"
    if said.code == "NoSuchBucket":
        return no_bucket(url, bucket)
    if digest is not None and (said.status == 404 or said.code == "NoSuchKey"):
        return ObjectNotFound(f"{url}: has no object {digest}")
    if digest is not None and said.code in ("AccessDenied", "403"):
        # S3's answer for what is not there to those who may not list the bucket.
        return ObjectNotFound(f"{where}: has no object {digest}, or these credentials may not read it")
    if said.code in _CREDENTIALS or said.status in (401, 403):
        return _credentials(url, f"{said.code}: {said.text}")
    if said.code in _REGION:
        return UserError(f"{where}; set the bucket's region in the URL, as in ?region=eu-central-1")
    if said.code == "NotImplemented" or said.status == 501:
        return UserError(f"{where}; this server lacks a part of S3 that gzl needs: another server, or a newer one")
    if said.code in _LATER or said.status == 429 or said.status >= 500:
        return TransientError(f"{where}; try again later")
    return UserError(f"{where}; check the URL, its region and its addressing")


def _credentials(url: str, why: str) -> UserError:
    return UserError(
        f"{url}: {why}; check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or ~/.aws/credentials,"
        " and what they may do with this bucket"
    )
