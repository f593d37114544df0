"""A byte stream that survives the relay and the network for a while.

Each end keeps what the other has not acknowledged. When a path (one TCP connection through a relay) breaks, the dialer opens
another one, and both send what the other did not get. ``docs/reference/relay-protocol.md`` has the format. What runs inside is
Dask's own TLS (``secure.py``); the session itself neither encrypts nor needs to be trusted.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from .path import Path

log = logging.getLogger("distributed.relay")

FRAME = struct.Struct(">cI")
COUNTER = struct.Struct(">Q")
OPENING = struct.Struct(">16sIQ32s")
RESUMED = struct.Struct(">Q32s")
SECRET_BYTES = 32
NO_PROOF = bytes(32)
DATA, ACKNOWLEDGED, RESUME, END = b"D", b"A", b"R", b"F"
ACKNOWLEDGE_EVERY_BYTES = 128 << 10
#: Twice what is acknowledged at once. When all sessions of a process keep more than they may, each goes on with this much.
LEAST_WINDOW_BYTES = 256 << 10


class SessionLost(ConnectionError):
    """A session is over although somebody still wanted it."""


class Receiver(Protocol):
    """What runs inside a session."""

    def data_received(self, data: memoryview) -> None:
        """Take the next bytes; the memory is not the receiver's to keep."""

    def session_ended(self, error: Exception | None) -> None:
        """The session is over; ``error`` is None when the other end closed it."""


def proof(secret: bytes, role: bytes, session_id: bytes, path: int, received: int) -> bytes:
    """Return what shows that a path belongs to a session (HMAC-SHA256, RFC 2104)."""
    told = role + session_id + struct.pack(">IQ", path, received)
    return hmac.digest(secret, told, hashlib.sha256)


class Session:
    """One end of a session, whoever dialled.

    Args:
        session_id: 16 bytes.
        grace_s: how long it lives without a path.
        window_bytes: how much may be sent and not acknowledged.
        total_bytes: how much all sessions of this process may keep together.
    """

    _kept_by_all: ClassVar[int] = 0

    def __init__(self, session_id: bytes, *, grace_s: float, window_bytes: int, total_bytes: int) -> None:
        self.id = session_id
        self.grace_s = grace_s
        self.secret: bytes | None = None
        self.receiver: Receiver | None = None
        self.received = 0  # bytes
        self.paths = 0  # the number of the last path
        self.ended = False
        self.on_path_lost: Callable[[Session, bool], None] | None = None  # and whether it was by silence
        self.on_end: Callable[[], None] | None = None
        self._window_bytes, self._total_bytes = max(window_bytes, LEAST_WINDOW_BYTES), total_bytes
        self._kept: deque[bytes] = deque()
        self._base = 0  # number of the first byte of the first piece that is kept
        self._heard = 0  # how many bytes the other end has acknowledged, perhaps part of that piece
        self._sent = 0  # number of the next byte
        self._told = 0  # what was last acknowledged
        self._path: Path | None = None
        self._space: asyncio.Future[None] | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._paused = False
        self._loop = asyncio.get_running_loop()

    # ------------------------------------------------------------ sending
    @property
    def kept_bytes(self) -> int:
        """How much is sent and not acknowledged."""
        return self._sent - self._heard

    @property
    def _full(self) -> bool:
        if Session._kept_by_all > self._total_bytes:
            return self.kept_bytes > LEAST_WINDOW_BYTES
        return self.kept_bytes > self._window_bytes

    def send(self, data: bytes) -> None:
        """Send bytes, in order, now or once there is a path again. ``drain`` before the next."""
        if self.ended:
            return
        self._kept.append(data)
        self._sent += len(data)
        Session._kept_by_all += len(data)
        if self._path is not None:
            self._path.send(DATA, data)

    async def drain(self) -> None:
        """Wait until the window has room and the path takes more, or the session is over."""
        while self._must_wait and not self.ended:
            if self._space is None:
                self._space = self._loop.create_future()
            await asyncio.shield(self._space)

    @property
    def _must_wait(self) -> bool:
        return self._full or (self._path is not None and self._path.clogged)

    def go_on(self) -> None:
        """Let whoever drains look again."""
        if self._space is not None and not self._must_wait:
            self._space.set_result(None)
            self._space = None

    def acknowledged(self, count: int) -> bool:
        """The other end has got ``count`` bytes; False when that cannot be."""
        if not self._heard <= count <= self._sent:
            return False
        Session._kept_by_all -= count - self._heard
        self._heard = count
        while self._kept and self._base + len(self._kept[0]) <= count:
            self._base += len(self._kept.popleft())
        self.go_on()
        return True

    # ------------------------------------------------------------ receiving
    def data_received(self, data: memoryview) -> None:
        """Take bytes from the path."""
        self.received += len(data)
        if self.received - self._told >= ACKNOWLEDGE_EVERY_BYTES:
            self.acknowledge()
        if self.receiver is not None and not self.ended:
            self.receiver.data_received(data)

    def acknowledge(self) -> None:
        """Tell the other end what was received."""
        self._told = self.received
        if self._path is not None:
            self._path.send(ACKNOWLEDGED, COUNTER.pack(self.received))

    def pause_reading(self) -> None:
        """Take no more from the path: the receiver has enough."""
        self._paused = True
        if self._path is not None:
            self._path.pause_reading()

    def resume_reading(self) -> None:
        """Go on."""
        self._paused = False
        if self._path is not None:
            self._path.resume_reading()

    # ------------------------------------------------------------ paths
    def own_proof(self, role: bytes, number: int) -> bytes:
        """Return what shows the other end that a path is ours; nothing can before the secret is agreed."""
        return proof(self.secret, role, self.id, number, self.received) if self.secret else NO_PROOF

    @property
    def connected(self) -> bool:
        """Whether there is a path now."""
        return self._path is not None

    def attach(self, path: Path, number: int, received: int) -> bool:
        """Go on over this path, the other end having got ``received`` bytes; False when that cannot be."""
        if self.ended or not self.acknowledged(received):
            return False
        if not path.open:  # it broke in the meantime
            return True
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        self.leave_path()
        self._path = path
        self.paths = number
        skip = received - self._base  # a piece may have arrived in part
        for data in self._kept:
            path.send(DATA, data[skip:] if skip else data)
            skip = 0
        if self._paused:
            path.pause_reading()
        return True

    def leave_path(self) -> None:
        """Take nothing more from the path of now; what it still carries comes again on the next one."""
        path, self._path = self._path, None
        if path is not None:
            path.abort()
        self.go_on()

    def path_lost(self, path: Path, *, silent: bool) -> None:
        """A path broke; ``silent`` when nothing was heard on it, in contrast to an end that was told."""
        if path is not self._path:
            return
        self._path = None
        self.go_on()
        if self.ended:
            return
        self._expiry = self._loop.call_later(self.grace_s, self._expire)
        if self.on_path_lost is not None:
            self.on_path_lost(self, silent)

    def _expire(self) -> None:
        why = f"no path for {self.grace_s:g} s"
        log.warning("session %s ends: %s", self.id.hex()[:8], why)
        self.end(SessionLost(why))

    # ------------------------------------------------------------ the end
    def end(self, error: Exception | None, *, tell: bool = True) -> None:
        """End it; what was sent before still goes out on the path. The receiver hears of it once.

        Args:
            error: why, unless somebody wanted it.
            tell: whether the other end is to know.
        """
        if self.ended:
            return
        self.ended = True
        if self._expiry is not None:
            self._expiry.cancel()
        Session._kept_by_all -= self.kept_bytes
        self._base = self._heard = self._sent
        self._kept.clear()
        if self._space is not None:
            self._space.set_result(None)
            self._space = None
        path, self._path = self._path, None
        if path is not None:
            if tell:
                path.send(END, b"")
            path.close()
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            receiver.session_ended(error)
        if self.on_end is not None:
            self.on_end()


async def read_exactly(one: socket.socket, count: int) -> bytes:
    """Return ``count`` bytes from a non-blocking socket.

    Raises:
        EOFError: it ends before.
        OSError: it breaks.
    """
    loop, parts, left = asyncio.get_running_loop(), [], count
    while left:
        part = await loop.sock_recv(one, left)
        if not part:
            raise EOFError("the connection ended")
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
