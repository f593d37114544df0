"""One control connection: lines of JSON over TLS, on the socket itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import Callable
from typing import Any

from ..names import patterns_of
from .connection import Connection
from .registry import LINE_BYTES_TO_PEER, Cluster, line_of

LINE_BYTES_FROM_PEER = 4096
#: A peer that does not read what it is told is cut.
_MOST_UNSENT_BYTES = 4 * LINE_BYTES_TO_PEER
#: A peer says about one thing between two looks at it; one that says so many is broken or hostile.
_MOST_LINES = 256
_ROUNDS = 8
_WAIT = (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError, InterruptedError)


class Refused(Exception):
    """A peer is told to go away: ``code`` and ``final`` as in the protocol."""

    def __init__(self, code: str, message: str, *, final: bool = True) -> None:
        super().__init__(message)
        self.code = code
        self.final = final


class Control:
    """A control connection whose TLS is up; ``name`` is empty until it has registered.

    Args:
        handle: called with each message; may raise ``Refused``.
        ended: called once, with the reason, when it ends.
        see_off: what closes a connection that was told why.
    """

    __slots__ = (
        "_ended",
        "_handle",
        "_in",
        "_lines",
        "_loop",
        "_out",
        "_over",
        "_see_off",
        "_sock",
        "cluster",
        "connection",
        "heard",
        "instance",
        "name",
        "patterns",
    )

    def __init__(
        self,
        connection: Connection,
        cluster: Cluster,
        *,
        handle: Callable[[Control, dict[str, Any]], None],
        ended: Callable[[Control, str], None],
        see_off: Callable[[Connection], None],
    ) -> None:
        assert isinstance(connection.sock, ssl.SSLSocket)
        self.connection = connection
        self.cluster = cluster
        self.name = ""
        self.instance = ""
        self.patterns = patterns_of(connection.sock.getpeercert())
        self._handle = handle
        self._ended = ended
        self._see_off = see_off
        self._sock = connection.sock
        self._in = b""
        self._out = b""
        self._lines = 0
        self._over = False
        self._loop = asyncio.get_running_loop()
        self.heard = self._loop.time()

    @property
    def source(self) -> str:
        """What its address counts as."""
        return self.connection.source

    def start(self) -> None:
        """Begin to read."""
        self._loop.add_reader(self.connection.fd, self._readable)
        self._readable()  # the first line may have come together with the end of the handshake

    def tell(self, message: dict[str, Any]) -> None:
        """Send a message. Whoever does not read what it is told is cut."""
        self.send(line_of(message))

    def send(self, line: bytes) -> None:
        """Send a message that is a line already, since many get the same."""
        if self._over:
            return
        waiting = bool(self._out)
        self._out += line
        if not waiting:
            self._write()
        elif len(self._out) > _MOST_UNSENT_BYTES:
            self.cut("it does not read")

    def cut(self, why: str) -> None:
        """Close it now; again is harmless."""
        if not self._over:
            self._off()
            self.connection.close()
            self._ended(self, why)

    def refuse(self, refused: Refused) -> None:
        """Say why, and close."""
        self.tell({"op": "refused", "code": refused.code, "message": str(refused), "final": refused.final})
        if self._over:
            return
        self._off()
        with contextlib.suppress(OSError, ValueError):
            self._sock.unwrap()  # says that this was all; it does not wait for the answer
        self._ended(self, f"refused: {refused.code}")
        self._see_off(self.connection)

    def look(self, now: float, dead_after_s: float) -> None:
        """Cut it if nothing was heard for so long."""
        self._lines = 0
        if now - self.heard > dead_after_s:
            self.cut("nothing was heard")

    def _off(self) -> None:
        self._over = True
        self._loop.remove_reader(self.connection.fd)
        self._loop.remove_writer(self.connection.fd)

    def _readable(self) -> None:
        if self._over:
            return
        for _ in range(_ROUNDS):
            try:
                data = self._sock.recv(LINE_BYTES_FROM_PEER)
            except _WAIT:
                return
            except (OSError, ValueError) as error:
                self.cut(str(error))
                return
            if not data:
                self.cut("the peer closed it")
                return
            try:
                self._feed(data)
            except Refused as refused:
                self.refuse(refused)
            if self._over:
                return
        self._loop.call_soon(self._readable)  # what OpenSSL holds already does not make the socket readable

    def _feed(self, data: bytes) -> None:
        self.heard = self._loop.time()
        *lines, self._in = (self._in + data).split(b"\n")
        if any(len(line) >= LINE_BYTES_FROM_PEER for line in (*lines, self._in)):
            raise Refused("bad-request", f"a line may have {LINE_BYTES_FROM_PEER} bytes")
        self._lines += len(lines)
        if self._lines > _MOST_LINES:
            raise Refused("bad-request", f"more than {_MOST_LINES} messages at once")
        for line in lines:
            self._handle(self, _parse(line))
            if self._over:
                return

    def _write(self) -> None:
        try:
            while self._out:
                self._out = self._out[self._sock.send(self._out) :]
        except _WAIT:
            self._loop.add_writer(self.connection.fd, self._writable)
        except (OSError, ValueError) as error:
            self.cut(str(error))

    def _writable(self) -> None:
        self._loop.remove_writer(self.connection.fd)
        self._write()


def _parse(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Refused("bad-request", f"not a line of JSON: {error}") from error
    if not isinstance(message, dict):
        raise Refused("bad-request", "a message is an object")
    return message
