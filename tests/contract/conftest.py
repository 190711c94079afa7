"""Stores and their servers as fixtures: each store by itself, and behind all wrappers."""

import socket
from collections.abc import Iterator
from pathlib import Path

import artifactory
import pytest
import servers
import stores
from servers import Server
from stores import Backend

from gzl.kit.mask import Masker
from gzl.objects.base import ObjectStore
from gzl.objects.cached import Cached
from gzl.objects.masked import Masked
from gzl.objects.retrying import Retrying


@pytest.fixture(params=stores.ROWS + stores.third_rows())
def backend(request: pytest.FixtureRequest, tmp_path: Path, local_names: None) -> Backend:
    """Each store."""
    return stores.made(request, request.param, tmp_path)


@pytest.fixture(params=["moto-path", "moto-virtual", "rclone", *stores.third_rows()])
def bucket(request: pytest.FixtureRequest, tmp_path: Path, local_names: None) -> Backend:
    """Each store that speaks S3."""
    return stores.made(request, request.param, tmp_path)


@pytest.fixture(params=["bare", "wrapped"])
def store(request: pytest.FixtureRequest, backend: Backend, tmp_path: Path) -> ObjectStore:
    """Each store, by itself and behind all wrappers."""
    bare = backend.open()
    if request.param == "bare":
        return bare
    retrying = Retrying(bare, spool=tmp_path / "spool")
    return Masked(Cached(retrying, tmp_path / "cache", 1 << 30), Masker([b"a secret that is nowhere"]))


@pytest.fixture
def local_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """See `stores.answer_local_names`."""
    monkeypatch.setattr(socket, "getaddrinfo", socket.getaddrinfo)  # put back afterwards
    stores.answer_local_names()


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with servers.moto(tmp_path_factory.mktemp("moto")) as server:
        _, client = stores.raw(f"s3://{servers.BUCKET}?endpoint={server.url}&region=eu-central-1", stores.ENVIRON)
        client.create_bucket(Bucket=servers.BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        yield server


@pytest.fixture(scope="session")
def rclone_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with servers.rclone(tmp_path_factory.mktemp("rclone")) as server:
        yield server


@pytest.fixture(scope="session")
def nginx_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with servers.nginx(tmp_path_factory.mktemp("nginx")) as server:
        yield server


@pytest.fixture(scope="session")
def artifactory_server() -> Iterator[Server]:
    with artifactory.running(stores.TOKEN) as server:
        yield server
