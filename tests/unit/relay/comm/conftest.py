from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from jupyter_offload.keeper.certificates import ClusterCertificates, make_cluster_certificates
from jupyter_offload.relay.comm.settings import Settings


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
