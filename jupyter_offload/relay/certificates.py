"""The certificate authority of one cluster, and a certificate for each role in it.

Every cluster has a CA of its own, so that holding one cluster's keys opens no other. Certificates name their role
(``scheduler``, ``w-local``, ``client``, and ``w-<job>-*`` for what one job starts elsewhere); the CN carries the cluster id,
for people who look at a connection.
"""

from __future__ import annotations

import datetime
import os
import re
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALIDITY = datetime.timedelta(days=365)
RELAY_VALIDITY = datetime.timedelta(days=3650)
#: Clocks of workers elsewhere may be behind ours.
CLOCK_SKEW = datetime.timedelta(hours=1)

#: Without a dash, since ``w-a-*`` would cover the workers of a job ``a-b`` too; together a DNS label of at most 63.
_JOB = re.compile(r"[a-z0-9]{1,32}\Z")

_AUTHORITY = "CA"
_CA_KEY = "ca-key.pem"
_CA = "ca.pem"
_SERVER, _CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
#: file, name in the certificate, what it may do. Scheduler and workers also dial each other.
_ROLES = (
    ("scheduler.pem", "scheduler", (_SERVER, _CLIENT)),
    ("worker.pem", "w-local", (_SERVER, _CLIENT)),
    ("client.pem", "client", (_CLIENT,)),
)


@dataclass(frozen=True)
class ClusterCertificates:
    """PEM files of one cluster, mode 0600; each holds a certificate and its key, ``ca_file`` the certificate alone."""

    ca_file: Path
    scheduler_file: Path
    worker_file: Path
    client_file: Path


@dataclass(frozen=True)
class _Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    cluster_id: str


def make_cluster_certificates(folder: Path, cluster_id: str) -> ClusterCertificates:
    """Write the CA and the certificates of a cluster into its private folder, or return those that are there.

    ``ca.pem`` is written last, so a folder that has it is complete and is left alone; what a keeper that died half-way left
    behind is replaced. The CA's key stays in ``ca-key.pem``, for certificates of jobs that are submitted later. EC P-256,
    valid for one year.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = ClusterCertificates(folder / _CA, *(folder / name for name, _, _ in _ROLES))
    if files.ca_file.exists():
        return files
    for name in (_CA_KEY, *(name for name, _, _ in _ROLES)):
        (folder / name).unlink(missing_ok=True)
    authority = _authority(cluster_id)
    _write(folder / _CA_KEY, _key_pem(authority.key))
    for name, role, purposes in _ROLES:
        _write(folder / name, _issue(authority, role, purposes))
    _write(files.ca_file, authority.certificate.public_bytes(serialization.Encoding.PEM))
    return files


def issue_job_certificate(folder: Path, job: str, valid_for: datetime.timedelta) -> bytes:
    """Return a new certificate with its key, as PEM, for what one job or pod of a cluster starts.

    Its DNS name is ``w-<job>-*``: at the relay it registers names that begin so, and is revoked by that name. Jobs of one name
    are one to the relay.

    Args:
        folder: of the cluster's certificates.
        job: at most 32 lower-case letters and digits, and unique in the cluster.
        valid_for: how long the job may wait and run. Clocks may differ by ``CLOCK_SKEW``, and the cluster's CA ends it all.

    Raises:
        ValueError: ``job`` is no such name.
        OSError: the keys are gone, since the cluster is over.
    """
    name = job_pattern(job)
    authority = _load_authority(folder)
    end = datetime.datetime.now(datetime.UTC) + valid_for + CLOCK_SKEW
    return _issue(authority, name, (_SERVER, _CLIENT), min(end, authority.certificate.not_valid_after_utc))


def job_pattern(job: str) -> str:
    """Return the name in the certificate of a job.

    Raises:
        ValueError: ``job`` is not made of at most 32 lower-case letters and digits.
    """
    if not _JOB.match(job):
        raise ValueError(f"{job!r} is no name of a job: use at most 32 lower-case letters and digits")
    return f"w-{job}-*"


def make_relay_certificate(folder: Path, domain: str) -> tuple[Path, Path]:
    """Write an authority and a certificate for a relay of our own into its private folder, or return those that are there.

    The authority's key is thrown away: nothing else is to be signed by it. Ten years, since a relay outlives its clusters.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    certificate_file, ca_file = folder / "relay.pem", folder / _CA
    if ca_file.exists():
        return ca_file, certificate_file
    certificate_file.unlink(missing_ok=True)
    end = datetime.datetime.now(datetime.UTC) + RELAY_VALIDITY
    authority = _authority(domain, end)
    _write(certificate_file, _issue(authority, domain, (_SERVER,), end))
    _write(ca_file, authority.certificate.public_bytes(serialization.Encoding.PEM))
    return ca_file, certificate_file


def _load_authority(folder: Path) -> _Authority:
    key = serialization.load_pem_private_key((folder / _CA_KEY).read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    certificate = x509.load_pem_x509_certificate((folder / _CA).read_bytes())
    name = str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
    return _Authority(certificate, key, name.removesuffix(f" {_AUTHORITY}"))


def _write(path: Path, content: bytes) -> None:
    """O_EXCL: whoever put something here first, through a link or a race, gets an error and not our key."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _name(cluster_id: str, role: str) -> x509.Name:
    # a CN holds 64 characters; ids have at most 40
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{cluster_id} {role}"[:64])])


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _builder(
    cluster_id: str, role: str, key: ec.EllipticCurvePrivateKey, end: datetime.datetime | None = None
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(cluster_id, role))
        .issuer_name(_name(cluster_id, _AUTHORITY))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(end or now + VALIDITY)
        # OpenSSL's strict checks, which Python 3.13 turned on, want both identifiers
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _authority(cluster_id: str, end: datetime.datetime | None = None) -> _Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(cluster_id, _AUTHORITY, key, end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(authority=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return _Authority(certificate, key, cluster_id)


def _issue(
    authority: _Authority, role: str, purposes: tuple[x509.ObjectIdentifier, ...], end: datetime.datetime | None = None
) -> bytes:
    """Return a new certificate of that role with its key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    certificate = (
        _builder(authority.cluster_id, role, key, end)
        .add_extension(issuer, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(role)]), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM) + _key_pem(key)
