"""The object store of a repository, by its settings: `gzl.store` names it, `gzl.storeCache` limits the local copies,
`gzl.storeShared` false says that nobody else uses it."""

from collections.abc import Mapping
from typing import Protocol

from gzl.errors import UserError
from gzl.model.layout import Layout
from gzl.objects.base import CACHE_BYTES, ObjectStore, open_store

KEY = "gzl.store"
CACHE_KEY = "gzl.storeCache"
SHARED_KEY = "gzl.storeShared"


class Configured(Protocol):
    """What `gzl.git.repo.Repo` has of use here."""

    @property
    def layout(self) -> Layout: ...

    def config(self, key: str) -> str | None: ...


def of(repo: Configured, environ: Mapping[str, str]) -> ObjectStore:
    """The store of artifacts and large logs: by default a folder of the repository's own. UserError for bad settings.

    Credentials are taken from `environ`.
    """
    url, folder = repo.config(KEY) or "", repo.layout.objects
    if not url:
        return open_store("", folder=folder, cache=None, environ=environ)
    cache_bytes = _cache_bytes(repo.config(CACHE_KEY))
    cache = folder / "cache" if cache_bytes else None
    return open_store(url, folder=folder, cache=cache, environ=environ, cache_bytes=cache_bytes)


def alone(repo: Configured) -> bool:
    """Whether nobody else uses the store, so that what this repository does not know is nobody's."""
    return embedded(repo) or (repo.config(SHARED_KEY) or "").lower() in ("false", "no", "off", "0")


def embedded(repo: Configured) -> bool:
    """Whether the store is the repository's own folder, which holds nothing of anybody else."""
    return not repo.config(KEY)


def _cache_bytes(said: str | None) -> int:
    if said is None:
        return CACHE_BYTES
    from gzl.gzlfile import values  # with all of the parser: only where this is set

    try:
        return 0 if said == "0" else values.size(said)
    except ValueError as error:
        raise UserError(f"git config {CACHE_KEY}: {said!r}: {error}; 0 keeps no copies") from error
