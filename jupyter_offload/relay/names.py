"""Names on the relay: clusters by the hash of their CA, peers by what their certificate allows.

A peer is reached by a TLS server name that nobody resolves (``docs/reference/relay-protocol.md``):
``<peer>.<cluster>.<kind>.<domain>``, where ``cluster`` is the fingerprint of the cluster's CA. Nobody can take a name in a
cluster whose CA key he lacks, and the relay needs no list of names to know that.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

#: A DNS label (RFC 1035), in lower case.
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")
_FINGERPRINT = re.compile(r"[a-z2-7]{52}\Z")
_DIAL_BACK_ID = re.compile(r"[0-9a-f]{32}\Z")


class Kind(StrEnum):
    """What a connection to the relay is for: the label before the domain in its server name."""

    connect = "c"  # to a peer; the hello belongs to the TLS between the two ends and is forwarded
    session = "s"  # to a peer, as one path of a resumable session; the hello is dropped
    listen = "l"  # the control connection of a peer; mutual TLS ends at the relay
    accept = "a"  # a peer takes what the relay told it to open; the hello is dropped
    service = ""  # the relay itself: HTTPS


@dataclass(frozen=True)
class Target:
    """A server name, taken apart. ``peer`` is a peer's name or, for ``Kind.accept``, the one-time id."""

    kind: Kind
    peer: str = ""
    cluster: str = ""


def fingerprint(ca_der: bytes) -> str:
    """Return the name of the cluster with this CA certificate: base32 of its SHA-256, 52 characters.

    Hexadecimal would have 64, one more than a DNS label holds.
    """
    return base64.b32encode(hashlib.sha256(ca_der).digest()).decode().lower().rstrip("=")


def is_fingerprint(text: str) -> bool:
    """Whether ``text`` may be a fingerprint."""
    return _FINGERPRINT.match(text) is not None


def is_peer_name(text: str) -> bool:
    """Whether ``text`` may name a peer: one lower-case DNS label."""
    return _LABEL.match(text) is not None


def server_name(target: Target, domain: str) -> str:
    """Return the TLS server name that leads to ``target``."""
    labels = [label for label in (target.peer, target.cluster, str(target.kind), domain) if label]
    return ".".join(labels)


def parse_server_name(name: str, domain: str) -> Target:
    """Take a server name apart.

    Raises:
        ValueError: it leads nowhere on a relay of this domain.
    """
    name = name.lower()
    if name == domain:
        return Target(Kind.service)
    if not name.endswith("." + domain):
        raise ValueError(f"{name!r} is not below {domain!r}")
    labels = name[: -len(domain) - 1].split(".")
    kind = Kind(labels[-1])  # a ValueError of its own
    if kind in (Kind.connect, Kind.session) and len(labels) == 3:
        if is_peer_name(labels[0]) and is_fingerprint(labels[1]):
            return Target(kind, labels[0], labels[1])
    elif kind is Kind.listen and len(labels) == 2 and is_fingerprint(labels[0]):
        return Target(kind, cluster=labels[0])
    elif kind is Kind.accept and len(labels) == 2 and _DIAL_BACK_ID.match(labels[0]):
        return Target(kind, labels[0])
    raise ValueError(f"{name!r} is no server name of a relay")


def allows(pattern: str, name: str) -> bool:
    """Whether a pattern of a certificate covers a peer's name: exactly, or ``w-job7-*`` whatever follows the last dash."""
    if pattern.endswith("-*"):
        return name.startswith(pattern[:-1]) and len(name) > len(pattern) - 1
    return pattern == name


def any_allows(patterns: Iterable[str], name: str) -> bool:
    """Whether any pattern covers the name."""
    return any(allows(pattern, name) for pattern in patterns)


def patterns_of(certificate: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return the names and patterns in a certificate, as ``ssl.SSLSocket.getpeercert`` gives it."""
    names = (certificate or {}).get("subjectAltName", ())
    return tuple(value for kind, value in names if kind == "DNS")


def is_revoked(patterns: Iterable[str], revoked: Iterable[str]) -> bool:
    """Whether a certificate with these patterns is revoked: one of them is listed, or covered by what is."""
    listed = set(revoked)
    return any(
        p in listed or any_allows(listed, p.removesuffix("*") + "x" if p.endswith("-*") else p) for p in patterns
    )
