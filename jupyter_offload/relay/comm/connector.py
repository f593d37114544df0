"""Connecting to a peer: through any relay, by a session if it is a scheduler, and only to whom the name belongs."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

from distributed.comm.core import Comm, CommClosedError, Connector, FatalCommClosedError
from distributed.comm.tcp import MAX_BUFFER_SIZE

from ..names import Kind, Target, any_allows, is_peer_name, patterns_of, server_name
from . import revocations
from .comms import PREFIX, SessionComm, SplicedComm
from .dialing import Backoff, Endpoint, RelayUnreachable, dial, endpoints, nobody_leads, secure, shuffled, why
from .paths import Dialler
from .secure import HANDSHAKE_TIMEOUT_S, SecureStream
from .security import cluster_of
from .settings import Settings, settings

log = logging.getLogger("distributed.relay")

LOCAL = PREFIX + "dialled"
#: How long one attempt waits for a relay to come back. Dask's own timeout is mostly shorter.
PATIENCE_S = 60.0


class RelayConnector(Connector):  # type: ignore[misc]
    """Makes comms to ``relay://<peer>``."""

    async def connect(
        self, address: str, deserialize: bool = True, ssl_context: ssl.SSLContext | None = None, **_: Any
    ) -> Comm:
        """Connect to a peer.

        Raises:
            FatalCommClosedError: who answers is not who was asked for, or is not of this cluster.
            CommClosedError: no relay leads there now.
            ValueError: the address or a setting is wrong.
        """
        peer = peer_of(address)
        cluster = cluster_of(ssl_context)
        assert ssl_context is not None
        now = settings()
        connect = self._session if now.resume_s and not peer.startswith("w-") else self._splice
        try:
            return await _patiently(lambda: connect(peer, cluster, ssl_context, now, deserialize))
        except ssl.SSLCertVerificationError as error:
            raise FatalCommClosedError(f"{PREFIX}{peer}: {error.verify_message}") from error
        except (EOFError, OSError) as error:  # a TimeoutError is an OSError
            if isinstance(error, CommClosedError):
                raise
            raise CommClosedError(f"{PREFIX}{peer}: {why(error)}") from error

    async def _session(
        self, peer: str, cluster: str, context: ssl.SSLContext, now: Settings, deserialize: bool
    ) -> Comm:
        session = await Dialler.open(peer, cluster, now)
        try:
            stream = SecureStream(session, context, server=False, server_name=_inner_name(peer, cluster, now))
            certificate = await stream.handshake()
            patterns = check_peer(certificate, peer, cluster)
        except BaseException:
            session.end(None)
            raise
        comm = SessionComm(stream, certificate, LOCAL, PREFIX + peer, deserialize)
        revocations.of(cluster).watch(comm, patterns)
        return comm

    async def _splice(self, peer: str, cluster: str, context: ssl.SSLContext, now: Settings, deserialize: bool) -> Comm:
        problems: dict[Endpoint, Exception] = {}
        for endpoint in shuffled(await endpoints(now)):
            try:
                # The hello of Dask's own TLS carries the name that the relay routes by.
                stream = await secure(
                    await dial(endpoint), context, server_name=_inner_name(peer, cluster, now),
                    timeout_s=HANDSHAKE_TIMEOUT_S, buffer_bytes=MAX_BUFFER_SIZE,
                )  # fmt: skip
            except ssl.SSLCertVerificationError:
                raise
            except OSError as error:  # this relay does not know the peer: another one may
                problems[endpoint] = error
                continue
            try:
                patterns = check_peer(stream.socket.getpeercert(), peer, cluster)
            except BaseException:
                stream.close()
                raise
            comm = SplicedComm(stream, LOCAL, PREFIX + peer, deserialize)
            revocations.of(cluster).watch(comm, patterns)
            return comm
        raise nobody_leads(peer, problems)


async def _patiently(connect: Callable[[], Awaitable[Comm]]) -> Comm:
    """Connect as soon as a relay can be reached, within ``PATIENCE_S``.

    Dask itself tries again, after pauses that double without bound, so that everybody would be late after an outage.
    """
    backoff = Backoff()
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    while True:
        try:
            return await connect()
        except RelayUnreachable as error:
            if asyncio.get_running_loop().time() > deadline:
                raise
            log.debug("%s", why(error))
            await backoff.pause()


def peer_of(address: str) -> str:
    """Return the peer's name in an address without its scheme; a port means nothing and is left out.

    Raises:
        ValueError: it is no name of a peer.
    """
    peer = address.partition(":")[0]
    if not is_peer_name(peer):
        raise ValueError(f"{PREFIX}{address} names no peer; a name is like w-job7-k3 or scheduler, one DNS label")
    return peer


def check_peer(certificate: dict[str, Any] | None, peer: str, cluster: str) -> tuple[str, ...]:
    """Refuse an answer from somebody else: Dask itself checks no names, and a relay may lead anywhere in the cluster.

    Returns what the certificate covers.

    Raises:
        FatalCommClosedError: the certificate does not cover the peer, or is revoked.
    """
    patterns = patterns_of(certificate)
    if not any_allows(patterns, peer):
        raise FatalCommClosedError(
            f"{PREFIX}{peer} was answered by {', '.join(patterns) or 'somebody without a name'}; the relay misleads"
        )
    revocations.of(cluster).check(patterns)
    return patterns


def _inner_name(peer: str, cluster: str, now: Settings) -> str:
    return server_name(Target(Kind.connect, peer, cluster), now.domain)
