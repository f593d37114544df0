"""A cluster's certificates: who they let in, who they keep out, and who can read them."""

from __future__ import annotations

import asyncio
import datetime
import os
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from distributed import Client, Scheduler, Worker
from distributed.security import Security

from jupyter_offload.relay import names
from jupyter_offload.relay.certificates import (
    CLOCK_SKEW,
    ClusterCertificates,
    issue_job_certificate,
    make_cluster_certificates,
)

FILES = ("ca_file", "scheduler_file", "worker_file", "client_file")


@pytest.fixture
def certificates(tmp_path: Path) -> ClusterCertificates:
    return make_cluster_certificates(tmp_path / "cluster", "zmumu-1a2b3c")


def security(files: ClusterCertificates) -> Security:
    return Security(
        require_encryption=True,
        tls_ca_file=str(files.ca_file),
        tls_scheduler_cert=str(files.scheduler_file),
        tls_worker_cert=str(files.worker_file),
        tls_client_cert=str(files.client_file),
    )


def read(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


async def test_dask_computes_over_them(certificates: ClusterCertificates) -> None:
    sec = security(certificates)
    async with (
        Scheduler(security=sec, host="127.0.0.1", port=0, protocol="tls", dashboard=False) as scheduler,
        Worker(scheduler.address, security=sec, nthreads=1, host="127.0.0.1", dashboard=False) as worker,
        Client(scheduler.address, security=sec, asynchronous=True) as client,
    ):
        assert scheduler.address.startswith("tls://")
        assert worker.address.startswith("tls://")
        assert await client.submit(sum, [1, 2, 3]) == 6


async def test_foreign_and_missing_certificates_are_refused(certificates: ClusterCertificates, tmp_path: Path) -> None:
    foreign = make_cluster_certificates(tmp_path / "foreign", "zmumu-1a2b3c")
    sec = security(certificates)
    async with Scheduler(security=sec, host="127.0.0.1", port=0, protocol="tls", dashboard=False) as scheduler:
        port = scheduler.port

        async def first_bytes(cert: Path | None) -> bytes:
            # this side trusts the scheduler, so that only the scheduler can refuse
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.load_verify_locations(certificates.ca_file)
            if cert is not None:
                context.load_cert_chain(cert)
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
            try:
                return await asyncio.wait_for(reader.read(8), 10)
            finally:
                writer.close()

        assert len(await first_bytes(certificates.client_file)) == 8
        for cert in (foreign.client_file, None):
            with pytest.raises((ssl.SSLError, OSError)):
                await first_bytes(cert)


def _handshake(server_context: ssl.SSLContext, client_context: ssl.SSLContext, name: str) -> None:
    """Shake hands in memory; raises ssl.SSLError as either side refuses."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client_context.wrap_bio(to_client, to_server, server_hostname=name),
        server_context.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(6):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue


def _context(files: ClusterCertificates, cert: Path, purpose: ssl.Purpose, *, check_name: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(purpose, cafile=str(files.ca_file))
    context.check_hostname = check_name
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT  # what Python 3.13 does by default
    context.load_cert_chain(cert)
    return context


def test_strict_openssl_accepts_them_and_checks_the_role_name(certificates: ClusterCertificates) -> None:
    server = _context(certificates, certificates.scheduler_file, ssl.Purpose.CLIENT_AUTH, check_name=False)
    client = _context(certificates, certificates.client_file, ssl.Purpose.SERVER_AUTH, check_name=True)
    _handshake(server, client, "scheduler")
    with pytest.raises(ssl.SSLCertVerificationError, match="not valid for 'w-local'"):
        _handshake(server, client, "w-local")


def test_a_client_certificate_cannot_play_scheduler(certificates: ClusterCertificates) -> None:
    server = _context(certificates, certificates.client_file, ssl.Purpose.CLIENT_AUTH, check_name=False)
    client = _context(certificates, certificates.client_file, ssl.Purpose.SERVER_AUTH, check_name=False)
    with pytest.raises(ssl.SSLCertVerificationError, match="purpose"):
        _handshake(server, client, "client")


def test_names_and_purposes(certificates: ClusterCertificates) -> None:
    expected = {
        "scheduler_file": ("scheduler", {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}),
        "worker_file": ("w-local", {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}),
        "client_file": ("client", {ExtendedKeyUsageOID.CLIENT_AUTH}),
    }
    for attribute, (role, purposes) in expected.items():
        certificate = read(getattr(certificates, attribute))
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == [role]
        assert set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == purposes
    for attribute in FILES:
        certificate = read(getattr(certificates, attribute))
        name = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        assert "zmumu-1a2b3c" in str(name)
        assert 364 <= (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days <= 366


def test_only_the_owner_can_read_them_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        files = make_cluster_certificates(tmp_path / "cluster", "abcdef")
    finally:
        os.umask(before)
    folder = files.ca_file.parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {p.name: stat.S_IMODE(p.stat().st_mode) for p in folder.iterdir()} == dict.fromkeys(
        ("ca.pem", "ca-key.pem", "scheduler.pem", "worker.pem", "client.pem"), 0o600
    )
    assert b"PRIVATE KEY" not in files.ca_file.read_bytes()
    assert b"PRIVATE KEY" in (folder / "ca-key.pem").read_bytes()


def test_asking_again_gives_the_same_and_half_made_ones_are_replaced(tmp_path: Path) -> None:
    files = make_cluster_certificates(tmp_path, "abcdef")
    before = {a: getattr(files, a).read_bytes() for a in FILES}
    assert {a: getattr(make_cluster_certificates(tmp_path, "abcdef"), a).read_bytes() for a in FILES} == before
    files.ca_file.unlink()  # as if the keeper had died before the end
    make_cluster_certificates(tmp_path, "abcdef")
    ca = read(files.ca_file)
    for attribute in FILES[1:]:
        read(getattr(files, attribute)).verify_directly_issued_by(ca)


def test_a_link_planted_in_the_folder_gets_no_key(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    folder = tmp_path / "cluster"
    folder.mkdir(mode=0o700)
    (folder / "ca.pem").symlink_to(target)  # dangling, so that it does not count as a complete folder
    with pytest.raises(FileExistsError):
        make_cluster_certificates(folder, "abcdef")
    assert not target.exists()


# ---------------------------------------------------------------- of jobs
def test_a_job_has_a_certificate_of_its_own_name_and_time(certificates: ClusterCertificates) -> None:
    folder = certificates.ca_file.parent
    before = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    pem = issue_job_certificate(folder, "job7", datetime.timedelta(hours=5))
    assert b"PRIVATE KEY" in pem
    certificate = x509.load_pem_x509_certificate(pem)
    certificate.verify_directly_issued_by(read(certificates.ca_file))
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert found.get_values_for_type(x509.DNSName) == ["w-job7-*"]
    assert certificate.not_valid_before_utc <= before - CLOCK_SKEW + datetime.timedelta(seconds=5)
    end = before + datetime.timedelta(hours=5) + CLOCK_SKEW
    assert end <= certificate.not_valid_after_utc <= end + datetime.timedelta(seconds=60)
    other = issue_job_certificate(folder, "job8", datetime.timedelta(hours=5))
    assert other.partition(b"PRIVATE KEY")[2] != pem.partition(b"PRIVATE KEY")[2]


def test_a_job_cannot_be_another_job_or_role(certificates: ClusterCertificates) -> None:
    pem = issue_job_certificate(certificates.ca_file.parent, "a", datetime.timedelta(hours=1))
    found = x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    patterns = found.get_values_for_type(x509.DNSName)
    allowed = [n for n in ("w-a-1", "w-ab-1", "w-a", "w-local", "scheduler", "client") if names.any_allows(patterns, n)]
    assert allowed == ["w-a-1"]
    for job in ("", "a-b", "A", "ä", "a.b", "a*", "x" * 33, "a\n"):
        with pytest.raises(ValueError, match="lower-case letters and digits"):
            issue_job_certificate(certificates.ca_file.parent, job, datetime.timedelta(hours=1))


def test_no_job_outlives_the_authority_and_none_is_made_after_the_end(certificates: ClusterCertificates) -> None:
    pem = issue_job_certificate(certificates.ca_file.parent, "a", datetime.timedelta(days=3650))
    assert x509.load_pem_x509_certificate(pem).not_valid_after_utc == read(certificates.ca_file).not_valid_after_utc
    (certificates.ca_file.parent / "ca-key.pem").unlink()
    with pytest.raises(FileNotFoundError):
        issue_job_certificate(certificates.ca_file.parent, "a", datetime.timedelta(hours=1))


def test_a_jobs_certificate_serves_both_ends_of_tls(certificates: ClusterCertificates, tmp_path: Path) -> None:
    file = tmp_path / "job.pem"
    file.write_bytes(issue_job_certificate(certificates.ca_file.parent, "a", datetime.timedelta(hours=1)))
    job, scheduler = (file, certificates.scheduler_file)
    for server, client in ((job, scheduler), (scheduler, job)):
        _handshake(
            _context(certificates, server, ssl.Purpose.CLIENT_AUTH, check_name=False),
            _context(certificates, client, ssl.Purpose.SERVER_AUTH, check_name=False),
            "any",
        )
