"""TLS that ends at the relay: its certificate, and handshakes that nobody can pile up."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .connection import Connection, Farewells
from .counters import Counters
from .events import Events
from .limits import HubLimits, Stage


class RelayCertificate:
    """The relay's certificate and key, in PEM files that may be renewed under a running relay.

    Args:
        chain_file: the certificate of the relay's domain, and those between it and its CA.
        key_file: its key; None when ``chain_file`` holds it too.

    Raises:
        OSError: a file cannot be read.
        ssl.SSLError: certificate and key are malformed or do not belong together.
    """

    def __init__(self, chain_file: Path, key_file: Path | None = None) -> None:
        self._files = (chain_file, key_file)
        self.service = self._context()
        self.service.set_alpn_protocols(["http/1.1"])

    def for_cluster(self, ca_der: bytes) -> ssl.SSLContext:
        """Return a context that lets in only holders of a certificate of this CA, by TLS 1.3."""
        context = self._context()
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_verify_locations(cadata=ca_der)
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    def reload(self, *contexts: ssl.SSLContext) -> None:
        """Read the files again, for connections to come: the service's, and those of these clusters' contexts.

        Raises:
            OSError, ssl.SSLError: as when they were read first; then the old certificate stays everywhere.
        """
        self._context()
        for context in (self.service, *contexts):
            context.load_cert_chain(*self._files)

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.num_tickets = 0  # nobody resumes, and each would cost memory
        context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
        context.load_cert_chain(*self._files)
        return context


class _Handshake(NamedTuple):
    connection: Connection
    done: Callable[[Connection], None]

    @property
    def source(self) -> str:
        return self.connection.source


class Handshakes:
    """Runs handshakes on the sockets themselves, so that one that never ends costs OpenSSL's state and nothing more."""

    def __init__(self, limits: HubLimits, counters: Counters, events: Events, farewells: Farewells) -> None:
        self._counters = counters
        self._events = events
        self._farewells = farewells
        self._unfinished: Stage[_Handshake] = Stage(
            limits.handshakes, limits.handshakes_per_source, limits.handshake_s, self._drop
        )

    def __len__(self) -> int:
        return len(self._unfinished)

    def start(self, one: Connection, context: ssl.SSLContext, done: Callable[[Connection], None]) -> None:
        """Be the TLS server on a connection whose hello is still unread; ``done`` gets it with ``sock`` an ``SSLSocket``."""
        try:
            one.sock = context.wrap_socket(one.sock, server_side=True, do_handshake_on_connect=False)
        except (OSError, ValueError):  # it was reset before it began
            one.close()
            return
        handshake = _Handshake(one, done)
        self._unfinished.enter(handshake)
        self._go_on(handshake)

    def close(self) -> None:
        """Drop all of them."""
        self._unfinished.close()

    def _go_on(self, handshake: _Handshake) -> None:
        one = handshake.connection
        loop = asyncio.get_running_loop()
        assert isinstance(one.sock, ssl.SSLSocket)
        try:
            one.sock.do_handshake()
        except ssl.SSLWantReadError:
            loop.remove_writer(one.sock)
            loop.add_reader(one.sock, self._go_on, handshake)
            return
        except ssl.SSLWantWriteError:
            loop.remove_reader(one.sock)
            loop.add_writer(one.sock, self._go_on, handshake)
            return
        except (OSError, ValueError, AttributeError) as error:  # AttributeError: reset before it was wrapped
            self._failed(handshake, str(error))
            return
        self._off(handshake)
        self._counters.handshakes["done"] += 1
        handshake.done(one)

    def _failed(self, handshake: _Handshake, why: str) -> None:
        self._off(handshake)
        self._counters.handshakes["failed"] += 1
        self._events.noise("handshake-failed", source=handshake.connection.address, reason=why)
        self._farewells.see_off(handshake.connection)  # OpenSSL has written the alert

    def _drop(self, handshake: _Handshake, why: str) -> None:
        self._off(handshake)
        self._counters.dropped["handshake", why] += 1
        handshake.connection.close()

    def _off(self, handshake: _Handshake) -> None:
        loop = asyncio.get_running_loop()
        self._unfinished.leave(handshake)
        loop.remove_reader(handshake.connection.sock)
        loop.remove_writer(handshake.connection.sock)
