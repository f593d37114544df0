"""Who this process is towards the relay, and whom it trusts there."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Any

import dask.config
from distributed.security import Security

from ..names import fingerprint, patterns_of
from .settings import BadSettings


@dataclass(frozen=True)
class Identity:
    """Files with the certificate that a peer shows to the relay, and its key."""

    cert_file: str
    key_file: str


class RelaySecurity(Security):  # type: ignore[misc]
    """A ``Security`` whose listeners also know the certificate to show to the relay.

    A plain ``Security`` does where Dask's configuration has ``distributed.comm.tls.<role>.cert`` and ``key``.
    """

    def get_listen_args(self, role: str) -> dict[str, Any]:
        """Return what a listener gets, with the files of this role's certificate."""
        arguments: dict[str, Any] = super().get_listen_args(role)
        cert, key = getattr(self, f"tls_{role}_cert"), getattr(self, f"tls_{role}_key")
        if cert and key:
            arguments["relay_identity"] = Identity(cert, key)
        return arguments


def configured_identity(peer: str) -> Identity:
    """Return the certificate that Dask's configuration gives to a peer of this name.

    Raises:
        BadSettings: there is none.
    """
    role = "worker" if peer.startswith("w-") else "scheduler"
    cert, key = (dask.config.get(f"distributed.comm.tls.{role}.{what}", None) for what in ("cert", "key"))
    if not cert or not key:
        raise BadSettings(
            f"Listening on relay://{peer} needs the files of a certificate. Set distributed.comm.tls.{role}.cert and"
            f" .key in Dask's configuration, or use RelaySecurity."
        )
    return Identity(cert, key)


def relay_context(identity: Identity | None, ca_file: str | None) -> ssl.SSLContext:
    """Return the context for a connection whose TLS ends at the relay.

    Its names are checked by ``check_relay``: the server name routes and is not what the relay's certificate names.

    Raises:
        BadSettings: a file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise BadSettings(
            f"relay.ca-file {ca_file!r} cannot be used: {error}. Name a PEM file of authorities."
        ) from error
    context.check_hostname = False
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if identity is not None:
        try:
            context.load_cert_chain(identity.cert_file, identity.key_file)
        except (OSError, ssl.SSLError) as error:
            raise BadSettings(f"The certificate {identity.cert_file!r} cannot be used: {error}.") from error
    return context


def check_relay(certificate: dict[str, Any] | None, domain: str) -> None:
    """Refuse a relay whose certificate, although trusted, is not that of the domain.

    Raises:
        ssl.CertificateError: it names somebody else.
    """
    names = patterns_of(certificate)
    parent = domain.partition(".")[2]
    if domain not in names and not (parent and f"*.{parent}" in names):
        raise ssl.CertificateError(f"the relay's certificate is for {', '.join(names) or 'nobody'}, not for {domain}")


def cluster_of(context: ssl.SSLContext | None) -> str:
    """Return the fingerprint of the cluster that a TLS context of Dask belongs to.

    Raises:
        BadSettings: it has no context, or not exactly one authority.
    """
    if not isinstance(context, ssl.SSLContext):
        raise BadSettings(
            "relay:// needs TLS. Give a Security with tls_ca_file, certificates and require_encryption=True"
        )
    authorities = context.get_ca_certs(binary_form=True)
    if len(authorities) != 1:
        raise BadSettings(
            f"relay:// names a cluster by the one authority of its certificates; tls_ca_file has {len(authorities)}."
            " (A self-signed certificate, as of Security.temporary(), is no authority.)"
        )
    return fingerprint(authorities[0])
