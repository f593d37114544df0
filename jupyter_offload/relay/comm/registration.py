"""Being a peer: a control connection to every relay, kept up, over which a relay says that somebody connects."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import Any

from tornado.iostream import IOStream, StreamClosedError

from ..names import Kind, Target, server_name
from . import revocations
from .dialing import Backoff, Endpoint, dial, endpoints, secure, why
from .security import Identity, check_relay, relay_context
from .settings import Settings

log = logging.getLogger("distributed.relay")

PROTOCOL = 1
HANDSHAKE_TIMEOUT_S = 15.0
LOOK_AGAIN_S = 30.0
_LONGEST_LINE = 65536
_NETWORK = (OSError, EOFError, TimeoutError, StreamClosedError, ValueError, KeyError)

#: Called with the relay, the one-time id and the kind of what is to be opened.
OnOpen = Callable[[Endpoint, str, Kind], Awaitable[None]]


class Refused(Exception):
    """The relay will not have this peer; trying again is of no use when ``final``."""

    def __init__(self, code: str, message: str, *, final: bool) -> None:
        self.code, self.final = code, final
        super().__init__(message)


class Control:
    """One control connection, from its beginning to its end."""

    def __init__(self, stream: IOStream) -> None:
        self._stream = stream
        self._keepalive_s = 10.0

    @classmethod
    async def open(cls, endpoint: Endpoint, settings: Settings, cluster: str, context: ssl.SSLContext) -> Control:
        """Connect to a relay and make sure that it is the one.

        Raises:
            OSError: it cannot be reached, or is not trusted.
        """
        target = server_name(Target(Kind.listen, cluster=cluster), settings.domain)
        stream = await secure(await dial(endpoint), context, server_name=target, timeout_s=HANDSHAKE_TIMEOUT_S)
        try:
            check_relay(stream.socket.getpeercert(), settings.domain)
        except ssl.CertificateError:
            stream.close()
            raise
        return cls(stream)

    async def register(self, name: str, instance: str) -> dict[str, Any]:
        """Take the name; return the relay's answer.

        Raises:
            Refused: the relay will not have it.
            OSError: the connection broke.
        """
        self._send(op="register", protocol=PROTOCOL, name=name, instance=instance)
        async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
            answer = await self.receive()
        if answer["op"] == "refused":
            raise Refused(str(answer["code"]), str(answer["message"]), final=bool(answer["final"]))
        self._keepalive_s = float(answer["keepalive_s"])
        return answer

    async def receive(self) -> dict[str, Any]:
        """Return the next message."""
        line = await self._stream.read_until(b"\n", max_bytes=_LONGEST_LINE)
        message = json.loads(line)
        if not isinstance(message, dict):
            raise ValueError(f"the relay said {line[:80]!r}")  # noqa: TRY004  (what it sent has the wrong value)
        return message

    async def follow(self, take: Callable[[dict[str, Any]], None]) -> None:
        """Hand every message over until the connection breaks or falls silent."""
        ping = asyncio.ensure_future(self._ping())
        try:
            while True:
                async with asyncio.timeout(self._keepalive_s * 3):
                    take(await self.receive())
        finally:
            ping.cancel()

    async def _ping(self) -> None:
        with contextlib.suppress(StreamClosedError):
            while True:
                await asyncio.sleep(self._keepalive_s)
                self._send(op="ping")

    def _send(self, **message: Any) -> None:
        self._stream.write(json.dumps(message).encode() + b"\n").add_done_callback(_retrieve)

    def close(self) -> None:
        """End it."""
        self._stream.close()


def _retrieve(written: Any) -> None:
    """Look at the outcome of a write, which the reader learns as well."""
    if not written.cancelled():
        written.exception()


class Registration:
    """One peer's name at one relay: registered, lost and registered again until it is stopped."""

    def __init__(self, peer: Peer, endpoint: Endpoint) -> None:
        self._peer = peer
        self.endpoint = endpoint
        self.registered_since: float | None = None
        self.problem: str | None = None
        self.refused: Refused | None = None
        self._leaving = False
        self.task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        backoff = Backoff()
        while not self._leaving:
            try:
                await self._once(backoff)
            except Refused as refused:
                self._note(f"it refused: {refused}")
                if refused.final:
                    self.refused = refused
                    self._peer.changed()
                    return
            except _NETWORK as error:
                self._note(why(error))
            if not self._leaving:
                await backoff.pause()

    async def _once(self, backoff: Backoff) -> None:
        """Connect, register and follow until the connection breaks, which it does by an exception."""
        peer = self._peer
        context = relay_context(peer.identity, peer.settings.ca_file)  # read again: the files may have been renewed
        control = await Control.open(self.endpoint, peer.settings, peer.cluster, context)
        try:
            answer = await control.register(peer.name, peer.instance)
            self.registered_since, self.problem = time.monotonic(), None
            backoff.reset()
            peer.revocations.update(map(str, answer.get("revoked", ())))
            peer.changed()
            await control.follow(self._take)
        finally:
            control.close()
            if self.registered_since is not None:
                self.registered_since = None
                peer.changed()

    def _take(self, message: dict[str, Any]) -> None:
        op = message.get("op")
        if op == "open":
            self._peer.open(self.endpoint, str(message["id"]), Kind(message["kind"]))
        elif op == "revoked":
            self._peer.revocations.update(map(str, message["names"]))
        elif op == "drain" and not self._leaving:
            self._leaving = True
            self._peer.replace(self)

    def _note(self, problem: str) -> None:
        if problem != self.problem:
            log.info("relay %s: %s", self.endpoint, problem)
        self.problem = problem
        self._peer.changed()


class Peer:
    """A listener's name at all relays behind the configured addresses.

    Args:
        name: one DNS label; the certificate must cover it.
        on_open: takes what a relay says to open.
        on_change: called when the name is registered somewhere for the first time, or nowhere any more, or refused.
    """

    def __init__(
        self,
        name: str,
        cluster: str,
        identity: Identity,
        settings: Settings,
        instance: str,
        on_open: OnOpen,
    ) -> None:
        self.name, self.cluster, self.identity, self.settings, self.instance = (
            name,
            cluster,
            identity,
            settings,
            instance,
        )
        self.revocations = revocations.of(cluster)
        self.on_change: Callable[[], None] | None = None
        self._on_open = on_open
        self._at: dict[Endpoint, Registration] = {}
        self._leaving: list[Registration] = []  # at relays that end
        self._opening: set[asyncio.Task[None]] = set()
        self._event = asyncio.Event()
        self._resolving: asyncio.Task[None] | None = None
        self._unresolved: str | None = None

    # ------------------------------------------------------------ what others see
    @property
    def registered(self) -> bool:
        """Whether any relay has the name now."""
        return any(r.registered_since is not None for r in self._at.values())

    @property
    def problem(self) -> str | None:
        """Why no relay has it, as a sentence; None while one has."""
        if self.registered:
            return None
        told = [f"The relay {r.endpoint}: {r.problem}." for r in self._at.values() if r.problem]
        return " ".join(told) or (f"The relay cannot be found: {self._unresolved}." if self._unresolved else None)

    def registered_at(self, endpoint: Endpoint) -> float | None:
        """Return since when (monotonic clock) a relay has had the name without a break."""
        registration = self._at.get(endpoint)
        return registration.registered_since if registration else None

    # ------------------------------------------------------------ life
    def start(self) -> None:
        """Begin to register."""
        self._resolving = asyncio.ensure_future(self._resolve())

    async def wait(self, timeout_s: float) -> bool:
        """Wait for the first registration; False when it takes longer.

        Raises:
            Refused: every relay refuses for good.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not self.registered:
                    refusals = [r.refused for r in self._at.values()]
                    if refusals and all(refusals):
                        assert refusals[0] is not None
                        raise refusals[0]
                    self._event.clear()
                    await self._event.wait()
        return self.registered

    def stop(self) -> None:
        """Give the name up. Connections that exist go on."""
        for task in (self._resolving, *(r.task for r in (*self._at.values(), *self._leaving)), *self._opening):
            if task is not None:
                task.cancel()

    async def _resolve(self) -> None:
        backoff = Backoff()
        while True:
            try:
                found = await endpoints(self.settings)
            except OSError as error:
                self._unresolved = why(error)
                self.changed()
                await backoff.pause()
                continue
            self._unresolved = None
            for endpoint in found:
                if endpoint not in self._at:
                    self._at[endpoint] = Registration(self, endpoint)
            for endpoint in set(self._at) - set(found):
                if self._at[endpoint].registered_since is None:  # the name no longer stands for it, nor does it answer
                    self._at.pop(endpoint).task.cancel()
            await asyncio.sleep(LOOK_AGAIN_S)

    # ------------------------------------------------------------ for registrations
    def changed(self) -> None:
        """Something about a registration is new."""
        self._event.set()
        if self.on_change is not None:
            self.on_change()

    def open(self, endpoint: Endpoint, one_time_id: str, kind: Kind) -> None:
        """Take a connection."""
        task = asyncio.ensure_future(self._on_open(endpoint, one_time_id, kind))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    def replace(self, registration: Registration) -> None:
        """A relay ends. Its successor at the same address is another process, so register with that one beside it."""
        log.info("relay %s ends; registering with its successor", registration.endpoint)
        self._leaving = [r for r in self._leaving if not r.task.done()]
        self._leaving.append(registration)
        self._at[registration.endpoint] = Registration(self, registration.endpoint)
