"""Every object store that there is, on its real server, at a place where nobody else stores."""

import os
import secrets
import socket
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import servers
from servers import Server

from gzl.objects import s3
from gzl.objects.base import REGISTRY, ObjectStore, key

TOKEN = "artifactory-token"
ENVIRON = {"AWS_ACCESS_KEY_ID": servers.KEY, "AWS_SECRET_ACCESS_KEY": servers.SECRET, "GZL_ARTIFACTORY_TOKEN": TOKEN}
ROWS = ["fs", "moto-path", "moto-virtual", "rclone", "nginx", "artifactory"]


@dataclass(frozen=True)
class Backend:
    """An empty store by its URL. `damage` changes an object on the server's side, `folder` is for what has to wait."""

    url: str
    environ: Mapping[str, str]
    folder: Path
    damage: Callable[[str, bytes], object]

    def open(self, **changes: str) -> ObjectStore:
        """The store itself, without wrappers; `changes` are to the environment."""
        scheme = self.url.partition(":")[0].partition("+")[0]
        module, _, opener = REGISTRY[scheme].partition(":")
        store: ObjectStore = getattr(import_module(module), opener)(self.url, self.folder, {**self.environ, **changes})
        return store


def third_rows() -> list[str]:
    """One row for each way in which the server of GZL_TEST_S3_URL is to be addressed."""
    url = os.environ.get("GZL_TEST_S3_URL")
    if not url:
        return []
    wanted = parse_qs(urlsplit(url).query).get("addressing", ["path", "virtual"])
    return [f"third-{addressing}" for addressing in wanted]


def made(request: pytest.FixtureRequest, row: str, tmp_path: Path) -> Backend:
    """The store of a row, in a place where nobody else stores."""
    name, _, addressing = row.partition("-")
    if name == "fs":
        root = tmp_path / "objects"
        return Backend(f"fs:{root}", {}, tmp_path, lambda digest, data: overwrite(root / key(digest), data))
    if name == "third":
        return third(addressing, tmp_path)
    server: Server = request.getfixturevalue(f"{name}_server")
    own = f"{secrets.token_hex(8)}/of a test"
    if name == "moto" and addressing == "virtual":
        server = Server(server.url.replace("127.0.0.1", "localhost"), server.files)
    if name in ("moto", "rclone"):
        url = f"s3://{servers.BUCKET}/{own}?endpoint={server.url}&region=eu-central-1&addressing={addressing or 'auto'}"
        return Backend(url, ENVIRON, tmp_path, lambda digest, data: overwrite_key(url, ENVIRON, digest, data))
    if name == "nginx":
        url = f"artifactory+{server.url}/{own.replace(' ', '%20')}"
        return Backend(url, {}, tmp_path, lambda digest, data: overwrite(server.files / own / key(digest), data))
    url = f"artifactory+{server.url}/artifactory/repository/{own.replace(' ', '-')}"
    return Backend(url, ENVIRON, tmp_path, lambda digest, data: overwrite_file(url, digest, data))


def third(addressing: str, tmp_path: Path) -> Backend:
    """A place in the bucket of GZL_TEST_S3_URL; its credentials are those that boto3 finds."""
    given = os.environ["GZL_TEST_S3_URL"]
    address, _, query = given.partition("?")
    settings = [setting for setting in query.split("&") if setting and not setting.startswith("addressing=")]
    url = f"{address.rstrip('/')}/{secrets.token_hex(8)}?{'&'.join([*settings, f'addressing={addressing}'])}"
    return Backend(url, os.environ, tmp_path, lambda digest, data: overwrite_key(url, os.environ, digest, data))


def overwrite(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def overwrite_key(url: str, environ: Mapping[str, str], digest: str, data: bytes) -> None:
    place, client = raw(url, environ)
    client.put_object(Bucket=place.bucket, Key=place.prefix + key(digest), Body=data)


def overwrite_file(url: str, digest: str, data: bytes) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    where = f"{url.removeprefix('artifactory+')}/{key(digest)}"
    urllib.request.urlopen(urllib.request.Request(where, data, headers, method="PUT")).close()


def raw(url: str, environ: Mapping[str, str]) -> tuple[Any, Any]:
    """What a URL says, and a client of boto3's for it."""
    place = s3.parse(url)
    return place, s3.client(place, environ)


def answer_local_names() -> None:
    """From now on `bucket.localhost` is loopback (RFC 6761), also where the C library does not know, and a bucket's
    host that is not in DNS is that of its endpoint."""
    resolve = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name is not None and name.endswith(".localhost"):
            return resolve("127.0.0.1", *args, **options)
        try:
            return resolve(host, *args, **options)
        except socket.gaierror:
            return resolve(name.partition(".")[2], *args, **options)

    socket.getaddrinfo = getaddrinfo
