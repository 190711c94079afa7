"""The two listings that file servers have: Artifactory's storage API and nginx's autoindex, both JSON. What they say is
not trusted: names that are no object's are passed over."""

from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from gzl.objects.base import Stored, digest_of


def storage_api(answer: Any) -> Iterator[Stored]:
    """Of `GET /api/storage/<repository>/<path>?list&deep=1`; its names begin with a slash, below that path."""
    for found in _dicts(answer.get("files") if isinstance(answer, dict) else None):
        digest = digest_of(str(found.get("uri", "")).removeprefix("/"))
        if digest is not None:
            modified = datetime.fromisoformat(str(found.get("lastModified")))
            yield Stored(digest, int(found.get("size", -1)), modified.timestamp())


def folders(answer: Any) -> list[str]:
    """The folders of objects in a listing of `autoindex_format json`."""
    names = (str(found.get("name")) for found in _dicts(answer) if found.get("type") == "directory")
    return [name for name in names if digest_of(f"sha256/{name}/{'0' * 62}") is not None]


def objects(folder: str, answer: Any) -> Iterator[Stored]:
    """The objects in the listing of one folder."""
    for found in _dicts(answer):
        digest = digest_of(f"sha256/{folder}/{found.get('name')}")
        if digest is not None and found.get("type") == "file":
            modified = parsedate_to_datetime(str(found.get("mtime")))
            yield Stored(digest, int(found.get("size", -1)), modified.replace(tzinfo=UTC).timestamp())


def _dicts(answer: Any) -> list[dict[str, Any]]:
    return [found for found in answer if isinstance(found, dict)] if isinstance(answer, list) else []
