"""TLS that ends at the relay: its certificate, and handshakes that nobody can pile up."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from pathlib import Path

from .connection import Connection, Farewells
from .counters import Counters
from .events import Events
from .limits import HubLimits, Stage

#: Steps of handshakes in one turn of the loop.
_STEPS = 4


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


class _Handshake:
    __slots__ = ("connection", "context", "done")

    def __init__(self, connection: Connection, context: ssl.SSLContext, done: Callable[[Connection], None]) -> None:
        self.connection = connection
        self.context = context
        self.done = done

    @property
    def source(self) -> str:
        return self.connection.source


class Handshakes:
    """Runs handshakes on the sockets themselves, so that one that never ends costs OpenSSL's state and nothing more.

    A step of one takes half a millisecond, so a flood of them would keep everybody else waiting: only a few steps are
    done in each turn of the loop. Those in the queue cost nothing, since their hellos are still in the system's buffers.
    """

    def __init__(self, limits: HubLimits, counters: Counters, events: Events, farewells: Farewells) -> None:
        self._counters = counters
        self._events = events
        self._farewells = farewells
        self._unfinished: Stage[_Handshake] = Stage(
            limits.handshakes, limits.handshakes_per_source, limits.handshake_s, self._drop
        )
        self._due: deque[_Handshake] = deque()
        self._stepping = False

    def __len__(self) -> int:
        return len(self._unfinished)

    def start(self, one: Connection, context: ssl.SSLContext, done: Callable[[Connection], None]) -> None:
        """Be the TLS server on a connection whose hello is still unread; ``done`` gets it with ``sock`` an ``SSLSocket``."""
        handshake = _Handshake(one, context, done)
        self._unfinished.enter(handshake)
        self._is_due(handshake)

    def close(self) -> None:
        """Drop all of them."""
        self._due.clear()
        self._unfinished.close()

    def _is_due(self, handshake: _Handshake) -> None:
        self._due.append(handshake)
        if not self._stepping:
            self._stepping = True
            asyncio.get_running_loop().call_soon(self._steps)

    def _steps(self) -> None:
        done = 0
        while self._due and done < _STEPS:
            handshake = self._due.popleft()
            if handshake in self._unfinished:  # it may have been dropped meanwhile
                self._step(handshake)
                done += 1
        self._stepping = bool(self._due)
        if self._stepping:
            asyncio.get_running_loop().call_soon(self._steps)

    def _step(self, handshake: _Handshake) -> None:
        one = handshake.connection
        try:
            if not isinstance(one.sock, ssl.SSLSocket):
                one.sock = handshake.context.wrap_socket(one.sock, server_side=True, do_handshake_on_connect=False)
            one.sock.do_handshake()
        except ssl.SSLWantReadError:
            asyncio.get_running_loop().add_reader(one.fd, self._ready, handshake)
        except ssl.SSLWantWriteError:
            asyncio.get_running_loop().add_writer(one.fd, self._ready, handshake)
        except (OSError, ValueError, AttributeError) as error:  # the last two: it was reset before it was wrapped
            self._failed(handshake, str(error))
        else:
            self._unfinished.leave(handshake)
            self._counters.handshakes["done"] += 1
            handshake.done(one)

    def _ready(self, handshake: _Handshake) -> None:
        self._off(handshake)
        self._is_due(handshake)

    def _failed(self, handshake: _Handshake, why: str) -> None:
        self._unfinished.leave(handshake)
        self._counters.handshakes["failed"] += 1
        self._events.noise("handshake-failed", source=handshake.connection.address, reason=why)
        self._farewells.see_off(handshake.connection)  # OpenSSL has written the alert

    def _drop(self, handshake: _Handshake, why: str) -> None:
        self._off(handshake)
        self._counters.dropped["handshake", why] += 1
        handshake.connection.close()

    def _off(self, handshake: _Handshake) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(handshake.connection.fd)
        loop.remove_writer(handshake.connection.fd)
