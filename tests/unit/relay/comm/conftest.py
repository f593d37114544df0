from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path

import dask.config
import pytest

from jupyter_offload.relay.certificates import (
    ClusterCertificates,
    issue_job_certificate,
    make_cluster_certificates,
    make_relay_certificate,
)
from jupyter_offload.relay.comm import RelaySecurity, listener, revocations
from jupyter_offload.relay.comm.settings import Settings
from jupyter_offload.relay.hub.hub import Hub
from jupyter_offload.relay.hub.limits import HubLimits
from jupyter_offload.relay.hub.registry import ClusterLimits, Registry
from jupyter_offload.relay.hub.tls import RelayCertificate
from jupyter_offload.relay.names import fingerprint


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> ClusterCertificates:
    return make_cluster_certificates(tmp_path_factory.mktemp("cluster"), "c1")


def context(files: ClusterCertificates, role: Path, *, server: bool) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_verify_locations(files.ca_file)
    made.load_cert_chain(role)
    return made


@pytest.fixture
def server_context(certificates: ClusterCertificates) -> ssl.SSLContext:
    return context(certificates, certificates.scheduler_file, server=True)


@pytest.fixture
def client_context(certificates: ClusterCertificates) -> ssl.SSLContext:
    return context(certificates, certificates.worker_file, server=False)


@pytest.fixture
def settings() -> Settings:
    return Settings(
        addresses=(("relay.test", 443),), domain="relay.test", ca_file=None, name=None, resume_s=10, window_bytes=1 << 20,
        memory_bytes=64 << 20,
    )  # fmt: skip


class Relays:
    """Hubs in this process, and what Dask needs to find them."""

    def __init__(self, certificates: ClusterCertificates, folder: Path) -> None:
        self.certificates = certificates
        self.folder = folder
        self.cluster = fingerprint(ssl.PEM_cert_to_DER_cert(certificates.ca_file.read_text()))
        self.authority, self.chain = make_relay_certificate(folder, "relay.test")
        self.hubs: list[Hub] = []

    async def start(self, host: str = "127.0.0.1", port: int = 0, *, limits: HubLimits = HubLimits()) -> Hub:  # noqa: B008
        registry = Registry()
        registry.admit(self.cluster, self.certificates.ca_file.read_text(), "unix:me", ClusterLimits())
        hub = Hub("relay.test", RelayCertificate(self.chain), registry, limits, lambda *_: None)
        await hub.start(host, port, reuse_port=True)
        self.hubs.append(hub)
        return hub

    def configure(self, *addresses: tuple[str, int]) -> None:
        found = addresses or tuple(hub.addresses[0] for hub in self.hubs)
        dask.config.set({
            "relay.addresses": [f"{host}:{port}" for host, port in found], "relay.domain": "relay.test",
            "relay.ca-file": str(self.authority),
        })  # fmt: skip

    async def close(self) -> None:
        for hub in self.hubs:
            await hub.close()


@pytest.fixture
async def relays(certificates: ClusterCertificates, tmp_path: Path) -> AsyncIterator[Relays]:
    with dask.config.set({"relay.addresses": [], "relay.domain": None, "relay.ca-file": None}):
        made = Relays(certificates, tmp_path)
        yield made
        await made.close()


@pytest.fixture
def security(certificates: ClusterCertificates, tmp_path: Path) -> Callable[..., RelaySecurity]:
    """Return a ``Security`` as the scheduler, or as the worker of a job."""

    def make(job: str | None = None) -> RelaySecurity:
        file = certificates.scheduler_file
        if job is not None:
            file = tmp_path / f"{job}.pem"
            file.write_bytes(issue_job_certificate(certificates.ca_file.parent, job, timedelta(hours=1)))
        roles = {f"tls_{role}_{what}": str(file) for role in ("scheduler", "worker") for what in ("cert", "key")}
        client = {f"tls_client_{what}": str(certificates.client_file) for what in ("cert", "key")}
        return RelaySecurity(tls_ca_file=str(certificates.ca_file), require_encryption=True, **roles, **client)

    return make


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "WORKER_PATIENCE_S", 3.0)


@pytest.fixture(autouse=True)
def _forget_revocations() -> Iterator[None]:
    """They are by cluster, and all tests have one."""
    yield
    revocations._clusters.clear()
