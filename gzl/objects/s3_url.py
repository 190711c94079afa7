"""What an `s3:` URL says: `s3://bucket/prefix?endpoint=http://host:9000&region=eu-central-1&addressing=path`."""

import difflib
import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from gzl.errors import UserError
from gzl.kit.text import escaped

FORM = "s3://bucket/prefix?endpoint=https://host&region=NAME&addressing=path|virtual|auto"
_ADDRESSING = ("path", "virtual", "auto")
_SETTINGS = ("endpoint", "region", "addressing")
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html; older buckets have capitals and _
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
_REGION = re.compile(r"[A-Za-z0-9-]+")


@dataclass(frozen=True, slots=True)
class Place:
    """A bucket, and where it is. `prefix` is empty or ends with a slash; None: as boto3 finds it out."""

    url: str
    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None
    addressing: str = "auto"


def parse(url: str) -> Place:
    """Raises UserError with what is wrong and what would be right."""
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise UserError(
            f"s3://…@{parts.netloc.rpartition('@')[2]}: the URL is kept and shown, credentials do not belong there;"
            " set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write them into ~/.aws/credentials"
        )
    if _BUCKET.fullmatch(parts.netloc) is None or parts.fragment:
        raise _wrong(url, f"'{parts.netloc}' is no name of a bucket")
    settings = _settings(url, parts.query)
    endpoint, region = settings.get("endpoint"), settings.get("region")
    if endpoint is not None:
        _check_endpoint(url, endpoint)
    if region is not None and _REGION.fullmatch(region) is None:
        raise _wrong(url, f"region={region} is no name of a region")
    addressing = settings.get("addressing", "auto")
    if addressing not in _ADDRESSING:
        raise _wrong(url, f"addressing={addressing} is none of {', '.join(_ADDRESSING)}")
    prefix = unquote(parts.path).strip("/")
    return Place(url, parts.netloc, f"{prefix}/" if prefix else "", endpoint, region, addressing)


def _settings(url: str, query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError:
        raise _wrong(url, "what follows ? is no list of settings") from None
    for name, value in pairs:
        if name not in _SETTINGS:
            near = difflib.get_close_matches(name, _SETTINGS, 1)
            raise _wrong(url, f"there is no setting '{name}'" + (f"; did you mean {near[0]}?" if near else ""))
        if not value:
            raise _wrong(url, f"{name}= has no value")
    settings = dict(pairs)
    if len(settings) < len(pairs):
        raise _wrong(url, "a setting is there twice")
    return settings


def _check_endpoint(url: str, endpoint: str) -> None:
    try:
        parts = urlsplit(endpoint)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:  # a port that is no number
        usable = False
    if not usable or "@" in parts.netloc:
        raise _wrong(url, "endpoint= wants the server's own URL, as in endpoint=https://host:9000")


def _wrong(url: str, what: str) -> UserError:
    """Without the settings: an endpoint may have a password in it."""
    return UserError(f"{escaped(url.partition('?')[0], 300)}: {escaped(what, 300)}; the form is {FORM}")
