"""Listening without a port: a name at the relay, and connections that we dial back for."""

from __future__ import annotations

import asyncio
import inspect
import ipaddress
import logging
import secrets
import socket
import ssl
from collections.abc import Callable
from typing import Any

from distributed.comm.core import BaseListener, Comm, CommClosedError
from distributed.comm.tcp import MAX_BUFFER_SIZE
from tornado.iostream import StreamClosedError

from ..names import Kind, Target, is_peer_name, patterns_of, server_name
from . import revocations
from .comms import PREFIX, SessionComm, SplicedComm
from .dialing import Endpoint, dial, secure
from .paths import Sessions
from .registration import Peer, Refused
from .secure import HANDSHAKE_TIMEOUT_S, SecureStream
from .security import Identity, cluster_of, configured_identity
from .settings import BadSettings, settings

log = logging.getLogger("distributed.relay")

#: A worker that no relay takes within this time cannot start. A scheduler starts all the same: it has other doors.
WORKER_PATIENCE_S = 30.0
SCHEDULER_PATIENCE_S = 1.0
_RANDOM_BYTES = 5
_BROKEN = (OSError, EOFError, TimeoutError, StreamClosedError, CommClosedError, ValueError)


class RelayListener(BaseListener):  # type: ignore[misc]
    """Listens as ``relay://<name>``.

    A name that ends in a dash gets something random. Where Dask gives no name (nannies make up an IP address) it is
    ``relay.name`` of the configuration.
    """

    prefix = PREFIX

    def __init__(
        self,
        address: str,
        comm_handler: Callable[[Comm], Any],
        deserialize: bool = True,
        allow_offload: bool = True,
        ssl_context: ssl.SSLContext | None = None,
        relay_identity: Identity | None = None,
        **_: Any,
    ) -> None:
        super().__init__()
        self.settings = settings()
        self.cluster = cluster_of(ssl_context)
        self._asked = _asked_name(address, self.settings.name)
        assert ssl_context is not None
        self._context = ssl_context
        self._identity = relay_identity or configured_identity(self._asked)
        self._handler = comm_handler
        self._deserialize, self._allow_offload = deserialize, allow_offload
        self._instance = secrets.token_hex(16)
        self._peer: Peer | None = None
        self._sessions = Sessions(self.settings, self._registered_at)
        self._serving: set[asyncio.Task[None]] = set()
        self._stopped = False

    # ------------------------------------------------------------ what others see
    @property
    def peer(self) -> Peer:
        """The name at the relays, and how that is going."""
        if self._peer is None:
            raise ValueError("a listener that was not started has no name")
        return self._peer

    @property
    def listen_address(self) -> str:
        """Our address."""
        return self.prefix + self.peer.name

    contact_address = listen_address

    def _registered_at(self, endpoint: Endpoint) -> float | None:
        return self._peer.registered_at(endpoint) if self._peer is not None else None

    # ------------------------------------------------------------ life
    async def start(self) -> None:
        """Take the name at every relay.

        Raises:
            OSError: no relay has it in time, or none will have it; the message says why.
        """
        name = self._asked + secrets.token_hex(_RANDOM_BYTES) if self._asked.endswith("-") else self._asked
        self._peer = Peer(name, self.cluster, self._identity, self.settings, self._instance, self._accept)
        self._peer.start()
        worker = name.startswith("w-")
        try:
            registered = await self._peer.wait(WORKER_PATIENCE_S if worker else SCHEDULER_PATIENCE_S)
        except Refused as refused:
            self._peer.stop()
            raise OSError(f"The relay refuses {PREFIX}{name}: {refused}") from refused
        if worker and not registered:
            self._peer.stop()
            raise OSError(f"{PREFIX}{name} is not registered after {WORKER_PATIENCE_S:g} s. {self._peer.problem or ''}")

    def stop(self) -> None:
        """Give the name up; connections that exist go on."""
        self._stopped = True
        if self._peer is not None:
            self._peer.stop()

    # ------------------------------------------------------------ connections
    async def _accept(self, endpoint: Endpoint, one_time_id: str, kind: Kind) -> None:
        """Dial back for somebody who connects, and serve him."""
        try:
            one = await dial(endpoint, server_name(Target(Kind.accept, one_time_id), self.settings.domain))
            comm = await self._comm(one, endpoint, "in-" + one_time_id[:12], kind)
            if comm is None:  # a new path of a session that is served already
                return
            if self._stopped:
                comm.abort()
                return
            comm.allow_offload = self._allow_offload
            await self.on_connection(comm)
        except _BROKEN as error:
            log.info("A connection to %s came to nothing: %s", self._asked, error or type(error).__name__)
            return
        self._serve(comm)

    def _serve(self, comm: Comm) -> None:
        """Hand a connection to Dask, where it outlives this listener."""
        serving = asyncio.ensure_future(_handled(self._handler, comm))
        self._serving.add(serving)
        serving.add_done_callback(self._serving.discard)

    async def _comm(self, one: socket.socket, endpoint: Endpoint, label: str, kind: Kind) -> Comm | None:
        """Return a comm on a connection, which is closed when that fails; None when it continues a session."""
        address = PREFIX + label
        if kind is Kind.session:
            session = await self._sessions.accept(one, endpoint)
            if session is None:
                return None
            try:
                stream = SecureStream(session, self._context, server=True)
                certificate: dict[str, Any] = await stream.handshake()
                patterns = self._check(certificate)
            except BaseException:
                session.end(None)
                raise
            self._sessions.proven(session)
            comm: Comm = SessionComm(stream, certificate, self.contact_address, address, self._deserialize)
        else:
            tls = await secure(
                one, self._context, server=True, timeout_s=HANDSHAKE_TIMEOUT_S, buffer_bytes=MAX_BUFFER_SIZE
            )
            try:
                patterns = self._check(tls.socket.getpeercert())
            except BaseException:
                tls.close()
                raise
            comm = SplicedComm(tls, self.contact_address, address, self._deserialize)
        revocations.of(self.cluster).watch(comm, patterns)
        return comm

    def _check(self, certificate: dict[str, Any] | None) -> tuple[str, ...]:
        patterns = patterns_of(certificate)
        revocations.of(self.cluster).check(patterns)
        return patterns


async def _handled(handler: Callable[[Comm], Any], comm: Comm) -> None:
    handling = handler(comm)
    if inspect.isawaitable(handling):
        await handling


def _asked_name(address: str, configured: str | None) -> str:
    """Return the name to take.

    Raises:
        BadSettings: there is none that can be used.
    """
    host = address.rpartition(":")[0] if address.rpartition(":")[2].isdecimal() else address
    host = host.removesuffix(":")
    try:
        ipaddress.ip_address(host.strip("[]"))
        host = ""
    except ValueError:
        pass
    name = host or configured or ""
    if not is_peer_name(name.removesuffix("-")) or not is_peer_name(
        name + "0" * 2 * _RANDOM_BYTES if name.endswith("-") else name
    ):
        raise BadSettings(
            f"{PREFIX}{address} gives no name to listen as. Start with --host w-<job>- or set relay.name in Dask's"
            " configuration, as the certificate allows; it is one DNS label in lower case"
        )
    return name
