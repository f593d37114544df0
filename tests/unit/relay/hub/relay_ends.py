"""Both ends of connections through a hub, by hand: peers that register and dial back, and connectors."""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import ssl
import struct
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from tornado.iostream import IOStream

from jupyter_offload.relay.certificates import ClusterCertificates
from jupyter_offload.relay.hello import client_hello
from jupyter_offload.relay.hub.hub import Hub
from jupyter_offload.relay.hub.limits import HubLimits
from jupyter_offload.relay.hub.registry import ClusterLimits, Registry
from jupyter_offload.relay.hub.tls import RelayCertificate
from jupyter_offload.relay.names import Kind, Target, fingerprint, server_name

DOMAIN = "relay.test"
TIMEOUT_S = 20


def cluster_of(files: ClusterCertificates) -> str:
    return fingerprint(ssl.PEM_cert_to_DER_cert(files.ca_file.read_text()))


class End:
    """One end of a TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await within(self.writer.drain())

    async def take(self, number: int) -> bytes:
        return await within(self.reader.readexactly(number))

    async def rest(self) -> bytes:
        """All that comes until the other end closes; a reset is a close as well."""
        pieces = []
        try:
            while piece := await within(self.reader.read(1 << 18)):
                pieces.append(piece)
        except ConnectionError:
            pass
        return b"".join(pieces)

    def abort(self) -> None:
        """Reset it."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def close(self) -> None:
        self.writer.close()


class Peer(End):
    """A control connection."""

    instance = ""

    async def tell(self, **message: Any) -> None:
        await self.send(json.dumps(message).encode() + b"\n")

    async def hear(self) -> dict[str, Any]:
        line = await within(self.reader.readline())
        if not line:
            raise EOFError
        return dict(json.loads(line))

    async def ended(self) -> bool:
        """Read on until the relay closes."""
        await self.rest()
        return True


class Relay:
    """A hub on loopback with clusters that are admitted."""

    def __init__(self, hub: Hub, registry: Registry, authority: Path, cluster: ClusterCertificates) -> None:
        self.hub, self.registry, self.authority, self.files = hub, registry, authority, cluster
        self.cluster = cluster_of(cluster)
        self.ends: list[End] = []  # held until the test is over

    @property
    def port(self) -> int:
        return self.hub.addresses[0][1]

    async def raw(self, data: bytes = b"", source: str = "127.0.0.1") -> End:
        opened = asyncio.open_connection("127.0.0.1", self.port, local_addr=(source, 0))
        end = End(*await within(opened))
        self.ends.append(end)
        if data:
            await end.send(data)
        return end

    async def to(self, kind: Kind, peer: str = "", cluster: str | None = None, source: str = "127.0.0.1") -> End:
        """Send nothing but a hello."""
        cluster = "" if kind is Kind.accept else self.cluster if cluster is None else cluster
        return await self.raw(client_hello(server_name(Target(kind, peer, cluster), DOMAIN)), source)

    async def control(self, certificate: Path, files: ClusterCertificates | None = None, **options: Any) -> Peer:
        """A control connection that has not registered."""
        context = ssl.create_default_context(cafile=str(self.authority))
        context.check_hostname = False
        context.load_cert_chain(certificate)
        for name, value in options.items():
            setattr(context, name, value)
        cluster = cluster_of(files or self.files)
        target = server_name(Target(Kind.listen, cluster=cluster), DOMAIN)
        opened = asyncio.open_connection("127.0.0.1", self.port, ssl=context, server_hostname=target)
        peer = Peer(*await within(opened))
        self.ends.append(peer)
        return peer

    async def close(self) -> None:
        await self.hub.close()
        for end in self.ends:
            end.writer.transport.abort()

    async def register(self, name: str, certificate: Path, instance: str | None = None) -> Peer:
        """A registered peer."""
        peer = await self.control(certificate)
        peer.instance = instance or secrets.token_hex(16)
        await peer.tell(op="register", protocol=1, name=name, instance=peer.instance)
        answer = await peer.hear()
        assert answer["op"] == "registered", answer
        return peer

    async def take_up(self, peer: Peer) -> End:
        """Dial back for the next connection that the peer is told of."""
        message = await peer.hear()
        assert message["op"] == "open", message
        return await self.to(Kind.accept, message["id"])

    async def joined(self, peer: Peer, name: str) -> tuple[End, End]:
        """Both ends of a connection to a peer; nothing is in it yet."""
        connector = await self.to(Kind.session, name)
        return connector, await self.take_up(peer)


async def start(
    files: ClusterCertificates,
    relay_files: tuple[Path, Path],
    limits: HubLimits,
    cluster_limits: ClusterLimits,
    on_service: Callable[[IOStream, tuple[str, int]], None],
) -> Relay:
    registry = Registry()
    registry.admit(cluster_of(files), files.ca_file.read_text(), "unix:me", cluster_limits)
    hub = Hub(DOMAIN, RelayCertificate(relay_files[1]), registry, limits, on_service)
    await hub.start("127.0.0.1", 0)
    return Relay(hub, registry, relay_files[0], files)


async def within(what: Coroutine[Any, Any, Any], seconds: float = TIMEOUT_S) -> Any:
    return await asyncio.wait_for(what, seconds)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():
            await asyncio.sleep(0.005)


def number(hub: Hub, name: str, **labels: str) -> float:
    """One of the hub's numbers; 0 when it was never counted."""
    found = [s.value for s in hub.samples() if s.name == f"offload_relay_{name}" and labels.items() <= s.labels.items()]
    return sum(found)
