"""What an `artifactory+https:` URL says, and who asks."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from gzl.errors import UserError
from gzl.kit.text import escaped
from gzl.objects.base import without_password

FORM = "artifactory+https://host/repository/path"
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")


@dataclass(frozen=True, slots=True)
class Place:
    """Where objects are. `url` is for people; `files` is the folder of the objects, `listing` Artifactory's API over
    it, both without a slash at the end; `headers` say who asks, and are never shown."""

    url: str
    files: str
    listing: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


def parse(url: str, environ: Mapping[str, str]) -> Place:
    """Raises UserError with what is wrong and what would be right."""
    shown = escaped(without_password(url), 300)
    try:
        parts = urlsplit(url.removeprefix("artifactory+"))
        port = parts.port
    except ValueError as error:
        raise UserError(f"{shown}: {error}; the form is {FORM}") from None
    host = parts.netloc.rpartition("@")[2].partition(":")[0] if "[" not in parts.netloc else f"[{parts.hostname}]"
    path = parts.path.strip("/")
    if parts.scheme not in ("http", "https") or _HOST.fullmatch(host) is None or parts.query or parts.fragment:
        raise UserError(f"{shown}: not the URL of a repository; the form is {FORM}")
    if not path:
        raise UserError(f"{shown}: names no repository; the form is {FORM}")
    base = f"{parts.scheme}://{host}" + (f":{port}" if port is not None else "")
    # Artifactory's own path in front of the repository, where no proxy has taken it away.
    context, repository = (
        ("/artifactory", path.removeprefix("artifactory/")) if path.startswith("artifactory/") else ("", path)
    )
    return Place(
        shown,
        f"{base}{context}/{repository}",
        f"{base}{context}/api/storage/{repository}",
        _headers(shown, parts, environ),
    )


def _headers(shown: str, parts: SplitResult, environ: Mapping[str, str]) -> dict[str, str]:
    user, password = environ.get("GZL_ARTIFACTORY_USER"), environ.get("GZL_ARTIFACTORY_PASSWORD")
    if parts.username is not None:
        user, password = unquote(parts.username), unquote(parts.password or "")
    elif token := environ.get("GZL_ARTIFACTORY_TOKEN"):
        return {"Authorization": f"Bearer {_one_line(shown, token)}"}
    if (user is None) != (password is None):
        raise UserError(f"{shown}: GZL_ARTIFACTORY_USER and GZL_ARTIFACTORY_PASSWORD belong together; set both")
    if user is None:
        return {}
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


def _one_line(shown: str, token: str) -> str:
    if not token.isascii() or not token.isprintable():
        raise UserError(f"{shown}: GZL_ARTIFACTORY_TOKEN has characters that no token has; copy it again")
    return token
