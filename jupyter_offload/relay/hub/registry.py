"""Which clusters are admitted, and everything that hangs on each: its peers, who waits for them, and who is joined."""

from __future__ import annotations

import json
import ssl
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..names import fingerprint, is_revoked
from .counters import Counters, Sample, Tally, tally_samples
from .events import Events

#: The longest line to a peer (protocol).
LINE_BYTES_TO_PEER = 65536
_REVOKED_BYTES = LINE_BYTES_TO_PEER - 1024


@dataclass(frozen=True)
class ClusterLimits:
    """Bounds of one cluster.

    ``peers`` and ``connections`` bound what all clusters of its identity have together. ``connections`` are joined with a
    peer, ``pending`` wait until a peer dials back; how many wait for one peer is bounded by itself, so that a peer that
    never dials back takes no other's place.
    """

    peers: int = 2000
    connections: int = 8000
    pending: int = 512
    pending_per_peer: int = 256


@dataclass(frozen=True)
class ClusterState:
    """What is known about a cluster now. ``bytes`` were forwarded since it was admitted, both ways."""

    identity: str
    peers: tuple[str, ...]
    connections: int
    bytes: int


class RegisteredPeer(Protocol):
    """A registered control connection."""

    name: str
    instance: str
    patterns: tuple[str, ...]

    def tell(self, message: dict[str, Any]) -> None:
        """Send a message; one that cannot be sent ends the connection."""
        ...

    def send(self, line: bytes) -> None:
        """Send a message that is a line already."""
        ...

    def cut(self, why: str) -> None:
        """Close it now and forget the registration."""
        ...


class WaitingConnection(Protocol):
    """A connector whose peer has not dialled back yet."""

    @property
    def patterns(self) -> tuple[str, ...]:
        """What the certificate of the peer it waits for allows; empty while there is no such peer."""
        ...

    def cut(self) -> None:
        """Refuse it now."""
        ...


class JoinedConnection(Protocol):
    """A splice."""

    kind: str
    peer: str
    patterns: Sequence[str]

    @property
    def bytes_to_peer(self) -> int:
        """Bytes so far."""
        ...

    @property
    def bytes_from_peer(self) -> int:
        """Bytes so far."""
        ...

    def close(self) -> None:
        """Close both ends."""
        ...


class Account:
    """All admitted clusters of one identity."""

    def __init__(self) -> None:
        self.clusters: set[Cluster] = set()

    @property
    def peers(self) -> int:
        """Registered peers of all of them."""
        return sum(len(cluster.peers) for cluster in self.clusters)

    @property
    def connections(self) -> int:
        """Connections of all of them, joined or waiting."""
        return sum(len(cluster.splices) + cluster.pending_number for cluster in self.clusters)


class Cluster:
    """One admitted cluster.

    ``account`` is its identity's. ``lost`` says when the registration of a peer that is not there was lost (loop time). Of
    those who are ``pending``, ``held_number`` wait for the peer itself. ``connectors`` counts, by source, who is pending or
    joined.
    """

    def __init__(self, name: str, ca_der: bytes, identity: str, limits: ClusterLimits, account: Account) -> None:
        self.fingerprint = name
        self.ca_der = ca_der
        self.identity = identity
        self.limits = limits
        self.account = account
        self.revoked: tuple[str, ...] = ()
        self.peers: dict[str, RegisteredPeer] = {}
        self.lost: dict[str, float] = {}
        self.pending: dict[str, dict[WaitingConnection, None]] = {}
        self.pending_number = 0
        self.held_number = 0
        self.connectors: Counter[str] = Counter()
        self.splices: set[JoinedConnection] = set()
        self.tally = Tally()
        self.context: ssl.SSLContext | None = None

    def wait(self, peer: str, one: WaitingConnection) -> None:
        """Add one who waits for a peer."""
        self.pending.setdefault(peer, {})[one] = None
        self.pending_number += 1

    def wait_no_more(self, peer: str, one: WaitingConnection) -> None:
        """Remove one who waited; it must have been there."""
        waiting = self.pending[peer]
        del waiting[one]
        self.pending_number -= 1
        if not waiting:
            del self.pending[peer]

    def living_bytes(self) -> tuple[int, int]:
        """Return the bytes to and from peers of the splices there are."""
        return sum(s.bytes_to_peer for s in self.splices), sum(s.bytes_from_peer for s in self.splices)


class Registry:
    """The admitted clusters. Everything happens in the loop's thread and at once."""

    def __init__(self, counters: Counters | None = None, events: Events | None = None) -> None:
        self.counters = Counters() if counters is None else counters
        self.events = Events() if events is None else events
        self._clusters: dict[str, Cluster] = {}
        self._accounts: dict[str, Account] = {}

    def admit(
        self, cluster: str, ca_pem: str, identity: str, limits: ClusterLimits, revoked: Collection[str] = ()
    ) -> None:
        """Let a cluster in, or renew it: then its peers stay, and limits and identity are taken over.

        ``revoked`` is added to what is revoked already (see ``merged``); ``revoke`` gives the whole list.

        Raises:
            ValueError: the PEM is not one CA certificate, or not the one that ``cluster`` is the fingerprint of.
        """
        der = _der(ca_pem)
        if fingerprint(der) != cluster:
            raise ValueError(f"ca_pem: the fingerprint of this certificate is {fingerprint(der)}, not {cluster}")
        _check_revoked(revoked)
        known = self._clusters.get(cluster)
        if known is None:
            known = self._clusters[cluster] = Cluster(cluster, der, identity, limits, Account())
            self.events.log("admitted", cluster=cluster, identity=identity)
        self._credit(known, identity)
        known.limits = limits
        if not set(revoked) <= set(known.revoked):
            self.revoke(cluster, merged(known.revoked, revoked))

    def withdraw(self, cluster: str) -> int:
        """Put a cluster out and cut all that hangs on it; return how many connections that were."""
        gone = self._clusters.pop(cluster, None)
        if gone is None:
            return 0
        self._discredit(gone)
        number = len(gone.peers) + len(gone.splices) + gone.pending_number
        for waiting in [one for each in gone.pending.values() for one in each]:
            waiting.cut()
        for peer in list(gone.peers.values()):
            peer.cut("withdrawn")
        for splice in list(gone.splices):
            splice.close()
        self.events.log("withdrawn", cluster=cluster, connections=number)
        return number

    def revoke(self, cluster: str, patterns: Collection[str]) -> None:
        """Set the whole list of what is revoked; cut whoever is on it, and tell all others of the cluster what is new.

        A cluster that is not admitted has nobody to cut; then nothing happens.

        Raises:
            ValueError: the list is longer than a message to a peer can be.
        """
        _check_revoked(patterns)
        known = self._clusters.get(cluster)
        if known is None:
            return
        new = sorted(set(patterns) - set(known.revoked))
        known.revoked = tuple(sorted(set(patterns)))
        if not new:
            return
        number = _cut_revoked(known)
        line = line_of({"op": "revoked", "names": new})
        for peer in list(known.peers.values()):
            peer.send(line)
        self.events.log("revoked", cluster=cluster, connections=number, names=", ".join(new))

    def describe(self, cluster: str) -> ClusterState | None:
        """Return what is known about a cluster; None when it is not admitted."""
        known = self._clusters.get(cluster)
        if known is None:
            return None
        moved = known.tally.bytes_to_peers + known.tally.bytes_from_peers + sum(known.living_bytes())
        return ClusterState(known.identity, tuple(sorted(known.peers)), len(known.splices), moved)

    def clusters(self) -> list[str]:
        """Return the fingerprints of the admitted clusters."""
        return list(self._clusters)

    def get(self, cluster: str) -> Cluster | None:
        """Return an admitted cluster."""
        return self._clusters.get(cluster)

    def all(self) -> list[Cluster]:
        """Return the admitted clusters."""
        return list(self._clusters.values())

    def _credit(self, cluster: Cluster, identity: str) -> None:
        self._discredit(cluster)
        cluster.identity = identity
        cluster.account = self._accounts.setdefault(identity, Account())
        cluster.account.clusters.add(cluster)

    def _discredit(self, cluster: Cluster) -> None:
        cluster.account.clusters.discard(cluster)
        if not cluster.account.clusters and self._accounts.get(cluster.identity) is cluster.account:
            del self._accounts[cluster.identity]

    def samples(self) -> Iterator[Sample]:
        """Yield numbers of every cluster and their sums."""
        to_peers = from_peers = 0
        for cluster in self.all():
            labels = {"cluster": cluster.fingerprint}
            living = cluster.living_bytes()
            to_peers, from_peers = to_peers + living[0], from_peers + living[1]
            for name, text, value in (
                ("peers", "Registered peers.", len(cluster.peers)),
                ("connections", "Connections joined with a peer.", len(cluster.splices)),
                ("pending", "Connections whose peer has not dialled back.", cluster.pending_number),
            ):
                yield Sample(f"offload_relay_cluster_{name}", "gauge", text, value, labels)
            yield from tally_samples(cluster.tally, *living, labels)
        yield Sample("offload_relay_clusters", "gauge", "Admitted clusters.", len(self._clusters))
        yield from tally_samples(self.counters, to_peers, from_peers, {})


def line_of(message: dict[str, Any]) -> bytes:
    """Return a message as it goes over a control connection."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def _der(ca_pem: str) -> bytes:
    if ca_pem.count("-----BEGIN ") != 1:
        raise ValueError("ca_pem: exactly one certificate in PEM is needed")
    try:
        der = ssl.PEM_cert_to_DER_cert(ca_pem.strip())
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=der)
    except (ValueError, OSError) as error:
        raise ValueError(f"ca_pem: not one certificate in PEM: {error}") from error
    return der


def merged(known: Collection[str], said: Collection[str]) -> tuple[str, ...]:
    """Return what is revoked, once ``said`` comes to what is known.

    Whoever renews says everything that is still of use, so that where both no longer fit into a message, what is not said again
    is of certificates that are over.
    """
    both = {*known, *said}
    return tuple(sorted(both if _size(both) <= _REVOKED_BYTES else set(said)))


def _size(patterns: Collection[str]) -> int:
    return len(json.dumps(sorted(patterns)))


def _check_revoked(patterns: Collection[str]) -> None:
    size = _size(patterns)
    if size > _REVOKED_BYTES:
        raise ValueError(
            f"revoked: {len(patterns)} names are {size} bytes, more than {_REVOKED_BYTES}; revoke patterns"
        )


def _cut_revoked(cluster: Cluster) -> int:
    """Cut whoever is on the list; return how many connections that were."""
    peers = [p for p in cluster.peers.values() if is_revoked(p.patterns, cluster.revoked)]
    splices = [s for s in cluster.splices if is_revoked(s.patterns, cluster.revoked)]
    waiting = [w for each in cluster.pending.values() for w in each if is_revoked(w.patterns, cluster.revoked)]
    for one in waiting:
        one.cut()
    for peer in peers:
        peer.cut("revoked")
    for splice in splices:
        splice.close()
    return len(peers) + len(splices) + len(waiting)
