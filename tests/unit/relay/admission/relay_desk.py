"""A whole relay in this process, clusters to admit at it, and clients of it."""

from __future__ import annotations

import asyncio
import datetime
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from jupyter_offload.relay import proof
from jupyter_offload.relay.certificates import make_relay_certificate
from jupyter_offload.relay.client import RelayClient, sign_with
from jupyter_offload.relay.hub.mistakes import read_config
from jupyter_offload.relay.hub.service import Service
from jupyter_offload.relay.names import Kind, Target, fingerprint, server_name

DOMAIN = "relay.test"
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def make_key(kind: str = "ec") -> Key:
    if kind == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True)
class Cluster:
    """A cluster's CA, as its keeper has it."""

    ca_pem: str
    key: Key

    @cached_property
    def name(self) -> str:
        return fingerprint(ssl.PEM_cert_to_DER_cert(self.ca_pem))

    @cached_property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def sign(self) -> proof.Sign:
        return sign_with(self.key_pem)

    def issue(self, name: str, folder: Path) -> Path:
        """Return a PEM file with a certificate of this name and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        authority = x509.load_pem_x509_certificate(self.ca_pem.encode())
        leaf = (
            _builder(name, authority.subject, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .sign(self.key, None if isinstance(self.key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
        )
        file = folder / f"{name}.pem"
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file.write_bytes(leaf.public_bytes(serialization.Encoding.PEM) + pem)
        return file


def _builder(
    name: str, issuer: x509.Name | None, key: Key, end: datetime.timedelta = datetime.timedelta(days=1)
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer or subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=2))
        .not_valid_after(now + end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def make_cluster(kind: str = "ec", *, ca: bool = True, end: datetime.timedelta = datetime.timedelta(days=1)) -> Cluster:
    key = make_key(kind)
    made = (
        _builder("CA", None, key, end)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=0 if ca else None), critical=True)
        .sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    )
    return Cluster(made.public_bytes(serialization.Encoding.PEM).decode(), key)


@dataclass
class Relay:
    """A running relay."""

    service: Service
    folder: Path
    ca_file: Path
    socket: Path

    @property
    def address(self) -> str:
        host, port = self.service.addresses[0]
        return f"{host}:{port}"

    @property
    def metrics(self) -> str:
        return f"http://127.0.0.1:{self.service.metrics_port}/metrics"

    def here(self, token: str | None = None) -> RelayClient:
        """A client at the unix socket."""
        return RelayClient(str(self.socket), DOMAIN, token=(lambda: token) if token else None)

    def there(self, token: str | None = None) -> RelayClient:
        """A client by TLS."""
        return RelayClient(
            self.address, DOMAIN, ca_file=self.ca_file, token=(lambda: token) if token is not None else None
        )

    def lease_files(self) -> list[Path]:
        return sorted((self.folder / "state" / "leases").glob("*.json"))


def document(folder: Path, socket: Path, **changes: Any) -> dict[str, Any]:
    """What a configuration file says."""
    _, certificate = make_relay_certificate(folder / "tls", DOMAIN)
    said: dict[str, Any] = {
        "domain": DOMAIN,
        "certificate_file": str(certificate),
        "state_dir": str(folder / "state"),
        "listen": {"host": "127.0.0.1", "port": 0},
        "unix_socket": {"path": str(socket)},
        "metrics": {"address": "127.0.0.1:0"},
        "identities": [{"type": "unix"}],
        "shortest_lease_s": 1,
        "drain_s": 0,
    }
    return said | changes


@asynccontextmanager
async def running(folder: Path, socket: Path, **changes: Any) -> AsyncIterator[Relay]:
    file = folder / "relay.yaml"
    file.write_text(yaml.safe_dump(document(folder, socket, **changes)))
    service = Service(file, read_config(file), "1.2.3")
    try:
        await service.start()
        yield Relay(service, folder, folder / "tls" / "ca.pem", socket)
    finally:
        await service.close()


@dataclass
class Peer:
    """A peer that is registered; ``reader`` ends when the relay cuts it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


async def register(relay: Relay, cluster: Cluster, name: str, folder: Path) -> Peer:
    """Register a peer by hand."""
    context = ssl.create_default_context(cafile=relay.ca_file)
    context.load_cert_chain(cluster.issue(name, folder))
    context.check_hostname = False  # the name that routes is not the one in the certificate
    host, port = relay.service.addresses[0]
    reader, writer = await asyncio.open_connection(
        host, port, ssl=context, server_hostname=server_name(Target(Kind.listen, cluster=cluster.name), DOMAIN)
    )
    said = {"op": "register", "protocol": 1, "name": name, "instance": "0" * 32}
    writer.write(json.dumps(said).encode() + b"\n")
    answer = json.loads(await reader.readline())
    assert answer["op"] == "registered", answer
    return Peer(reader, writer)


async def until(what: Callable[[], Any], wrong: str = "it did not happen") -> Any:
    """Return the first true value."""
    async with asyncio.timeout(30):
        while not (value := what()):
            await asyncio.sleep(0.01)
    return value
