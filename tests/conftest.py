"""Fixtures that several folders of tests use."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import sshd as sshd_server
from sshd import Sshd
from world import World, environment


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A folder for a server and its clones; managers that are still at work there afterwards are killed."""
    made = World(tmp_path, environment(tmp_path / "home"))
    yield made
    for place in made.places:
        if place.path.exists() and (pid := place.manager_pid()) is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """A real sshd on loopback."""
    with sshd_server.running(tmp_path_factory.mktemp("sshd")) as server:
        yield server


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a test that was skipped, for want of a service say, is a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
