"""One accepted connection, whatever it becomes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

from ..hello import LONGEST_RECORD_BYTES
from .limits import HubLimits, Stage

#: Read into and parsed or thrown away at once, never across two turns of the loop.
_SCRATCH = bytearray(LONGEST_RECORD_BYTES)
_FAREWELL_S = 1.0


class Connection:
    """A socket with the address it came from. ``sock`` may be wrapped in TLS later; ``fd`` stays.

    The loop is given ``fd``, since it would make a text of a whole socket each time it looks for one that it has not.

    Who closes it must have taken it off the loop; ``on_close`` is called once.
    """

    __slots__ = ("_on_close", "address", "fd", "port", "sock", "source")

    def __init__(
        self, sock: socket.socket, address: str, port: int, source: str, on_close: Callable[[Connection], None]
    ) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.address = address
        self.port = port
        self.source = source
        self._on_close: Callable[[Connection], None] | None = on_close

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._on_close is None

    def close(self) -> None:
        """Close the socket; again is harmless."""
        if self._on_close is not None:
            on_close, self._on_close = self._on_close, None
            self.sock.close()
            on_close(self)

    def consume(self, number: int) -> None:
        """Take exactly so many bytes, which were seen before, out of the socket.

        Raises:
            OSError: they are gone, or the connection is.
        """
        if self.sock.recv_into(_SCRATCH, number) != number:
            raise ConnectionResetError("the hello is gone")


class Farewells:
    """Connections that were told why they end.

    A socket that is closed with something unread in it resets the connection, and the other end may never read the
    reason; so what it still sends is thrown away, for a moment, until it has closed as well.
    """

    def __init__(self, limits: HubLimits) -> None:
        self._leaving: Stage[Connection] = Stage(
            limits.silent, limits.silent_per_source, _FAREWELL_S, lambda one, _: self._close(one)
        )

    def __len__(self) -> int:
        return len(self._leaving)

    def say(self, one: Connection, last_words: bytes) -> None:
        """Send an alert, as far as the socket takes it, and close."""
        with contextlib.suppress(OSError):
            one.sock.send(last_words)
        self.see_off(one)

    def see_off(self, one: Connection) -> None:
        """Close a connection whose last words have been written; nobody else may have it on the loop."""
        try:
            one.sock.shutdown(socket.SHUT_WR)
        except OSError:
            one.close()
            return
        asyncio.get_running_loop().add_reader(one.fd, self._discard, one)
        self._leaving.enter(one)

    def close(self) -> None:
        """Close all of them now."""
        self._leaving.close()

    def _discard(self, one: Connection) -> None:
        try:
            if one.sock.recv_into(_SCRATCH):
                return
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            pass
        self._leaving.leave(one)
        self._close(one)

    def _close(self, one: Connection) -> None:
        asyncio.get_running_loop().remove_reader(one.fd)
        one.close()
