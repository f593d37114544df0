from __future__ import annotations

import datetime
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from relay_ends import Relay, start
from tornado.iostream import IOStream

from jupyter_offload.relay.certificates import (
    ClusterCertificates,
    issue_job_certificate,
    make_cluster_certificates,
    make_relay_certificate,
)
from jupyter_offload.relay.hub.limits import HubLimits
from jupyter_offload.relay.hub.registry import ClusterLimits

StartRelay = Callable[..., Awaitable[Relay]]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> ClusterCertificates:
    return make_cluster_certificates(tmp_path_factory.mktemp("cluster"), "mine")


@pytest.fixture(scope="session")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> ClusterCertificates:
    return make_cluster_certificates(tmp_path_factory.mktemp("foreign"), "other")


@pytest.fixture(scope="session")
def relay_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The relay's authority, and its certificate with key."""
    return make_relay_certificate(tmp_path_factory.mktemp("relay"), "relay.test")


@pytest.fixture(scope="session")
def worker(certificates: ClusterCertificates, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of ``w-one-*``."""
    return job(certificates, tmp_path_factory.mktemp("job"), "one")


@pytest.fixture(scope="session")
def other_worker(certificates: ClusterCertificates, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of ``w-two-*``."""
    return job(certificates, tmp_path_factory.mktemp("job"), "two")


def job(files: ClusterCertificates, folder: Path, name: str) -> Path:
    file = folder / f"{name}.pem"
    file.write_bytes(issue_job_certificate(files.ca_file.parent, name, datetime.timedelta(hours=1)))
    return file


@pytest.fixture
async def start_relay(certificates: ClusterCertificates, relay_files: tuple[Path, Path]) -> AsyncIterator[StartRelay]:
    """Start a relay; ``cluster`` has the limits of the cluster, everything else is a limit of the hub."""
    started: list[Relay] = []

    async def begin(
        *,
        cluster: ClusterLimits = ClusterLimits(),  # noqa: B008
        on_service: Callable[[IOStream, tuple[str, int]], None] = lambda stream, _: stream.close(),
        **limits: Any,
    ) -> Relay:
        relay = await start(certificates, relay_files, HubLimits(**limits), cluster, on_service)
        started.append(relay)
        return relay

    yield begin
    for relay in started:
        await relay.close()


@pytest.fixture
async def relay(start_relay: StartRelay) -> Relay:
    return await start_relay()
