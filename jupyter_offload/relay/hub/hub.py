"""The hub: one TLS port where the two ends of a cluster's connections meet."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Iterator

from tornado.iostream import IOStream, SSLIOStream

from ..hello import ALERT_UNKNOWN
from ..names import Kind, Target, parse_server_name
from .connection import Connection, Farewells
from .controls import Controls
from .counters import Sample, relay_samples
from .gate import Gate
from .limits import HubLimits, raise_descriptor_limit
from .registry import Cluster, Registry
from .rendezvous import Rendezvous
from .tls import Handshakes, RelayCertificate

#: Peers get so long to register elsewhere before the sessions to them are sent after them.
_MOVE_S = 1.0
_LONGEST_SPREAD_S = 4.0
_OnService = Callable[[IOStream, tuple[str, int]], None]


class Hub:
    """The data plane of a relay. Made and used in the thread of a running event loop.

    Args:
        domain: the relay's own name, lower-case.
        certificate: of that name; ``reload`` reads it again.
        registry: the admitted clusters; its counters and events are this hub's too.
        limits: bounds of this process.
        on_service: called with each connection to the domain itself, an ``SSLIOStream`` whose handshake is done, and
            the client's address.
    """

    def __init__(
        self, domain: str, certificate: RelayCertificate, registry: Registry, limits: HubLimits, on_service: _OnService
    ) -> None:
        self.domain = domain
        self.registry = registry
        self.counters = registry.counters
        self._certificate = certificate
        self._limits = limits
        self._events = registry.events
        self._on_service = on_service
        most = min(limits.connections, raise_descriptor_limit())
        shared = (self.counters, self._events)
        self._gate = Gate(limits, most, *shared, self._route)
        self._farewells = Farewells(limits)
        self._handshakes = Handshakes(limits, *shared, self._farewells)
        self._rendezvous = Rendezvous(registry, limits, *shared, self._farewells)
        self._controls = Controls(registry, limits, *shared, self._farewells, self._rendezvous.registered)
        self._services: set[_ServiceStream] = set()
        self._moving: list[asyncio.TimerHandle] = []

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Host and port of every listening socket."""
        return self._gate.addresses

    @property
    def draining(self) -> bool:
        """Whether it has begun to end."""
        return self._controls.draining

    async def start(self, host: str, port: int, *, reuse_port: bool = False) -> None:
        """Listen on every address of ``host`` (all of them when it is empty); port 0 is one that is free.

        Raises:
            OSError: an address cannot be had.
        """
        await self._gate.listen(host, port, reuse_port=reuse_port)
        for address in self.addresses:
            self._events.log("listening", address=address[0], port=address[1])

    def reload(self) -> None:
        """Read the relay's certificate again, for connections to come.

        Raises:
            OSError, ssl.SSLError: it cannot be read or does not fit its key; then the old one stays.
        """
        contexts = [c.context for c in self.registry.all() if c.context is not None]
        self._certificate.reload(*contexts)
        self._events.log("certificate-read")

    async def drain(self, seconds: float) -> None:
        """End gently: take nothing new, send peers and sessions elsewhere, and give the rest so many seconds."""
        self._controls.draining = self._rendezvous.draining = True
        self._gate.stop_listening()
        self._rendezvous.refuse_pending()
        self._events.log("draining", seconds=seconds, connections=len(self._rendezvous.splices))
        for control in self._controls.everyone():
            control.tell({"op": "drain", "seconds": seconds})
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        await asyncio.sleep(min(_MOVE_S, seconds / 4))
        self._moving = self._rendezvous.close_sessions(min(_LONGEST_SPREAD_S, seconds / 2))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await self._rendezvous.none_left()

    async def close(self) -> None:
        """Close every connection and listen no more."""
        self._gate.close()
        for timer in self._moving:
            timer.cancel()
        self._handshakes.close()
        self._controls.close()
        self._rendezvous.close()
        self._farewells.close()
        for stream in list(self._services):
            stream.close()
        self._events.log("closed")

    def samples(self) -> Iterator[Sample]:
        """Yield every number there is."""
        for name, text, value in (
            ("open_connections", "Open connections of every kind.", self._gate.connections),
            ("silent", "Connections without a whole hello.", self._gate.silent),
            ("unfinished_handshakes", "Unfinished TLS handshakes.", len(self._handshakes)),
            ("pending", "Connections whose peer has not dialled back.", self._rendezvous.pending),
            ("splices", "Connections joined with a peer.", len(self._rendezvous.splices)),
            ("service_connections", "Connections to the relay's own HTTPS.", len(self._services)),
        ):
            yield Sample(f"offload_relay_{name}", "gauge", text, value)
        yield from relay_samples(self.counters)
        yield Sample("offload_relay_suppressed_events_total", "counter", "Events that were counted and not logged.",
                     self._events.suppressed)  # fmt: skip
        yield from self.registry.samples()

    def _route(self, one: Connection, server_name: str, hello_bytes: int) -> None:
        try:
            target = parse_server_name(server_name, self.domain)
        except ValueError:
            self._refuse(one, "unknown-name", server_name=server_name)
            return
        self.counters.connections[target.kind.name] += 1
        if target.kind in (Kind.connect, Kind.session):
            self._rendezvous.connect(one, target, hello_bytes)
        elif target.kind is Kind.accept:
            self._rendezvous.accept(one, target, hello_bytes)
        elif target.kind is Kind.listen:
            self._listen(one, target)
        else:
            self._serve(one)

    def _listen(self, one: Connection, target: Target) -> None:
        cluster = self.registry.get(target.cluster)
        if cluster is None:
            self._refuse(one, "unknown-cluster", cluster=target.cluster)
            return
        cluster.tally.connections[target.kind.name] += 1
        context = self._context_for(cluster)
        self._handshakes.start(one, context, lambda ready: self._controls.take(ready, cluster))

    def _context_for(self, cluster: Cluster) -> ssl.SSLContext:
        if cluster.context is None:
            cluster.context = self._certificate.for_cluster(cluster.ca_der)
        return cluster.context

    def _serve(self, one: Connection) -> None:
        per_source = self._limits.services_per_source
        mine = sum(1 for stream in self._services if stream.source == one.source)
        if len(self._services) >= self._limits.services or (per_source is not None and mine >= per_source):
            self._refuse(one, "services")
            return
        self._handshakes.start(one, self._certificate.service, self._hand_over)

    def _hand_over(self, one: Connection) -> None:
        stream = _ServiceStream(one, self._services)
        self._on_service(stream, (one.address, one.port))

    def _refuse(self, one: Connection, reason: str, **more: str) -> None:
        self.counters.refused(reason)
        self._events.noise("refused", source=one.address, reason=reason, **more)
        self._farewells.say(one, ALERT_UNKNOWN)


class _ServiceStream(SSLIOStream):
    """A connection to the relay itself; what closes the stream closes the connection, and the gate counts it no more."""

    def __init__(self, one: Connection, living: set[_ServiceStream]) -> None:
        super().__init__(one.sock)
        self._one = one
        self.source = one.source
        self._living = living
        living.add(self)

    def close_fd(self) -> None:
        self._living.discard(self)
        self._one.close()
        super().close_fd()
