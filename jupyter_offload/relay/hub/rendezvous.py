"""Where a connector waits for the peer that it named, until that dials back and the two are joined."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

from ..hello import ALERT_BUSY, ALERT_UNKNOWN
from ..names import Kind, Target
from .connection import Connection, Farewells
from .counters import Counters
from .events import Events
from .limits import HubLimits, Stage
from .pipes import Pipes
from .registry import Cluster, Registry
from .splice import Splice

#: How much of a cluster's connections one source may have opened; the rest is for everybody else, also in an attack.
_SOURCE_SHARE = 0.75


class _Pending:
    """A connector who waits: ``held`` for the peer itself, later with an ``id`` for it to dial back."""

    __slots__ = ("_cut", "cluster", "connection", "held", "id", "kind", "patterns", "peer")

    def __init__(
        self, connection: Connection, cluster: Cluster, target: Target, cut: Callable[[_Pending], None]
    ) -> None:
        self.connection = connection
        self.cluster = cluster
        self.peer = target.peer
        self.kind = str(target.kind)
        self.id = ""
        self.held = False
        self.patterns: tuple[str, ...] = ()
        self._cut = cut

    @property
    def source(self) -> str:
        return self.connection.source

    def cut(self) -> None:
        self._cut(self)


class Rendezvous:
    """Joins connectors and peers."""

    def __init__(
        self, registry: Registry, limits: HubLimits, counters: Counters, events: Events, farewells: Farewells
    ) -> None:
        self.draining = False
        self.splices: set[Splice] = set()
        self._none_left = asyncio.Event()
        self._none_left.set()
        self._registry = registry
        self._limits = limits
        self._counters = counters
        self._events = events
        self._farewells = farewells
        self._started = asyncio.get_running_loop().time()
        self._pipes = Pipes()
        self._by_id: dict[str, _Pending] = {}
        most = limits.connections
        self._opened: Stage[_Pending] = Stage(most, None, limits.dial_back_s, self._no_dial_back)
        self._held: Stage[_Pending] = Stage(most, None, limits.hold_s, self._no_peer)

    @property
    def pending(self) -> int:
        """How many connectors wait."""
        return len(self._opened) + len(self._held)

    def connect(self, one: Connection, target: Target, hello_bytes: int) -> None:
        """Lead a connector to its peer, or refuse it. Its hello is still unread."""
        cluster = self._registry.get(target.cluster)
        if cluster is None:
            self._refuse(one, ALERT_UNKNOWN, "unknown-cluster", None, target.cluster)
            return
        cluster.tally.connections[target.kind.name] += 1
        peer = cluster.peers.get(target.peer)
        if self.draining:
            self._refuse(one, ALERT_BUSY, "draining", cluster)
        elif peer is None and not self._may_come(cluster, target.peer):
            self._refuse(one, ALERT_UNKNOWN, "unknown-peer", cluster)
        elif (full := self._full(cluster, target.peer, one.source)) is not None:
            self._refuse(one, ALERT_BUSY, full, cluster)
        else:
            pending = _Pending(one, cluster, target, self._withdrawn)
            if target.kind is Kind.session and not self._consumed(one, hello_bytes):
                return
            cluster.wait(target.peer, pending)
            cluster.connectors[one.source] += 1
            if peer is None:
                pending.held = True
                cluster.held_number += 1
                self._held.enter(pending)
            else:
                self._open(pending)

    def accept(self, one: Connection, target: Target, hello_bytes: int) -> None:
        """Join a peer that dials back with the connector it was told of."""
        pending = self._by_id.get(target.peer)
        if pending is None:
            self._refuse(one, ALERT_UNKNOWN, "unknown-id", None)
            return
        pending.cluster.tally.connections[target.kind.name] += 1
        self._leave(pending)
        if not self._consumed(one, hello_bytes):
            pending.connection.close()
            return
        cluster, source = pending.cluster, pending.source
        cluster.connectors[source] += 1
        splice = Splice(
            pending.connection, one, kind=pending.kind, peer=pending.peer, patterns=pending.patterns,
            pipes=self._pipes, on_end=lambda ended: self._ended(cluster, source, ended),
        )  # fmt: skip
        cluster.splices.add(splice)
        self.splices.add(splice)
        self._none_left.clear()
        splice.start()

    def registered(self, cluster: Cluster, name: str) -> None:
        """A peer is there (again): tell it who waits for it. What its last connection was told may have been lost."""
        for pending in list(cluster.pending.get(name, ())):
            if name not in cluster.peers:
                return  # it is gone again
            assert isinstance(pending, _Pending)
            self._stop_waiting(pending)
            self._open(pending)

    def close_sessions(self, over_s: float) -> list[asyncio.TimerHandle]:
        """Close the paths of sessions, each at a random moment within so many seconds; they go on elsewhere."""
        loop = asyncio.get_running_loop()
        sessions = [s for s in self.splices if s.kind == Kind.session]
        return [loop.call_later(over_s * secrets.randbelow(1000) / 1000, s.close) for s in sessions]

    async def none_left(self) -> None:
        """Wait until nobody is joined with a peer."""
        await self._none_left.wait()

    def refuse_pending(self) -> None:
        """Refuse all who wait: the relay ends."""
        self._opened.close()
        self._held.close()

    def close(self) -> None:
        """End everything."""
        self.refuse_pending()
        for splice in list(self.splices):
            splice.close()
        self._pipes.close()

    def _may_come(self, cluster: Cluster, peer: str) -> bool:
        """Whether a peer that is not there was there a moment ago, or may have been before this relay started."""
        since = max(cluster.lost.get(peer, self._started), self._started)
        recent = asyncio.get_running_loop().time() - since < self._limits.grace_s
        return recent and cluster.held_number < self._limits.held

    def _full(self, cluster: Cluster, peer: str, source: str) -> str | None:
        """Return the limit that is reached, if any.

        When as many wait as the cluster may have, the peer that most wait for gives up one for another that has fewer:
        peers that never dial back must not close the way to all others.
        """
        limits = cluster.limits
        if cluster.connectors[source] >= limits.connections * _SOURCE_SHARE:
            return "source-connections"
        mine = len(cluster.pending.get(peer, ()))
        if mine >= limits.pending_per_peer:
            return "peer-pending"
        if cluster.account.connections >= limits.connections:
            return "cluster-connections"
        if cluster.pending_number >= limits.pending:
            most = max(cluster.pending.values(), key=len)
            if len(most) <= mine + 1:
                return "cluster-pending"
            next(iter(most)).cut()
        return None

    def _open(self, pending: _Pending) -> None:
        peer = pending.cluster.peers[pending.peer]
        if not pending.id:
            pending.id = secrets.token_hex(16)
            self._by_id[pending.id] = pending
        pending.patterns = peer.patterns
        self._opened.enter(pending)
        peer.tell({"op": "open", "id": pending.id, "kind": pending.kind})

    def _leave(self, pending: _Pending) -> None:
        self._stop_waiting(pending)
        self._by_id.pop(pending.id, None)
        pending.cluster.wait_no_more(pending.peer, pending)
        _one_less(pending.cluster, pending.source)

    def _stop_waiting(self, pending: _Pending) -> None:
        self._opened.leave(pending)
        self._held.leave(pending)
        if pending.held:
            pending.held = False
            pending.cluster.held_number -= 1

    def _consumed(self, one: Connection, hello_bytes: int) -> bool:
        try:
            one.consume(hello_bytes)
        except OSError:
            one.close()
            return False
        return True

    def _no_dial_back(self, pending: _Pending, why: str) -> None:
        self._leave(pending)
        reason = "no-dial-back" if why == "timeout" else "draining"
        self._refuse(pending.connection, ALERT_BUSY, reason, pending.cluster)

    def _no_peer(self, pending: _Pending, why: str) -> None:
        self._leave(pending)
        alert, reason = (ALERT_UNKNOWN, "unknown-peer") if why == "timeout" else (ALERT_BUSY, "draining")
        self._refuse(pending.connection, alert, reason, pending.cluster)

    def _withdrawn(self, pending: _Pending) -> None:
        self._leave(pending)
        self._refuse(pending.connection, ALERT_BUSY, "cut", pending.cluster)

    def _refuse(self, one: Connection, alert: bytes, reason: str, cluster: Cluster | None, name: str = "") -> None:
        self._counters.refused(reason, cluster.tally if cluster else None)
        name = cluster.fingerprint if cluster else name
        self._events.noise("refused", source=one.address, reason=reason, cluster=name)
        self._farewells.say(one, alert)

    def _ended(self, cluster: Cluster, source: str, splice: Splice) -> None:
        for tally in (cluster.tally, self._counters):
            tally.bytes_to_peers += splice.bytes_to_peer
            tally.bytes_from_peers += splice.bytes_from_peer
        _one_less(cluster, source)
        cluster.splices.discard(splice)
        self.splices.discard(splice)
        if not self.splices:
            self._none_left.set()


def _one_less(cluster: Cluster, source: str) -> None:
    cluster.connectors[source] -= 1
    if not cluster.connectors[source]:
        del cluster.connectors[source]
