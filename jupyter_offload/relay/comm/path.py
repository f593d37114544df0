"""One path of a session: a TCP connection through a relay that carries frames (``docs/reference/relay-protocol.md``)."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading

from .session import ACKNOWLEDGED, COUNTER, DATA, END, FRAME, Session

log = logging.getLogger("distributed.relay")

LONGEST_DATA_BYTES = 1 << 20
#: A path on which nothing is heard for three of these is given up.
BEAT_S = 5.0
SILENT_AFTER_S = 15.0
#: What a path holds that the network has not taken yet: little, since the session keeps the same bytes.
_UNSENT_BYTES = 256 << 10
_LARGE_BYTES = 32 << 10
_READ_BYTES = 256 << 10


class _Received(threading.local):
    """Where the paths of a thread read to. Loops of selectors read and hand over at once, so that all can share it."""

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(_READ_BYTES))


_received = _Received()


class Path(asyncio.BufferedProtocol):
    """One TCP connection through a relay, once both ends agreed where the session goes on.

    ``clogged`` while the network takes less than was sent.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._transport: asyncio.Transport | None = None
        self._head = bytearray()  # an incomplete header or acknowledgement
        self._kind = b""  # of the frame whose payload comes now
        self._left = 0  # bytes of its data still to come
        self._heard_at = 0.0
        self._loop = asyncio.get_running_loop()
        self._beat: asyncio.TimerHandle | None = None
        self._reading = True
        self._silent = False
        self.clogged = False

    # ------------------------------------------------------------ asyncio
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to listen for silence."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=_UNSENT_BYTES)
        self._heard_at = self._loop.time()
        self._beat = self._loop.call_later(BEAT_S, self._on_beat)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to read to."""
        return _received.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take frames apart; data goes on as it comes."""
        self._heard_at = self._loop.time()
        view = _received.buffer[:nbytes]
        try:
            while view and self._transport is not None:
                view = self._take(view)
        except ValueError as error:
            log.info("session %s: bad path: %s", self._session.id.hex()[:8], error)
            self.abort()

    def _take(self, view: memoryview) -> memoryview:
        """Take one piece of a frame; return what is behind it."""
        if self._kind == DATA:
            piece, view = view[: self._left], view[self._left :]
            self._left -= len(piece)
            if not self._left:
                self._kind = b""
            self._session.data_received(piece)
            return view
        missing = (COUNTER.size if self._kind else FRAME.size) - len(self._head)
        self._head += view[:missing]
        if len(view) >= missing:
            head, self._head = bytes(self._head), bytearray()
            if self._kind:
                self._acknowledged(head)
            else:
                self._begin(*FRAME.unpack(head))
        return view[missing:]

    def _begin(self, kind: bytes, length: int) -> None:
        if kind == END and not length:
            self._session.end(None, tell=False)
        elif (kind == DATA and 0 < length <= LONGEST_DATA_BYTES) or (kind == ACKNOWLEDGED and length == COUNTER.size):
            self._kind, self._left = kind, length
        else:
            raise ValueError(f"a frame {kind!r} of {length} bytes")

    def _acknowledged(self, payload: bytes) -> None:
        self._kind = b""
        if not self._session.acknowledged(*COUNTER.unpack(payload)):
            raise ValueError("it acknowledges what was never sent")

    def pause_writing(self) -> None:
        """Have the session wait."""
        self.clogged = True

    def resume_writing(self) -> None:
        """Go on."""
        self.clogged = False
        self._session.go_on()

    def eof_received(self) -> bool:
        """Close: a path has two directions or none."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the session."""
        self._transport = None
        if self._beat is not None:
            self._beat.cancel()
        self._session.path_lost(self, silent=self._silent or isinstance(error, TimeoutError))

    # ------------------------------------------------------------ the session
    @property
    def open(self) -> bool:
        """Whether it can still carry anything."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, kind: bytes, payload: bytes) -> None:
        """Send one frame."""
        if self._transport is not None:
            for at in range(0, len(payload) or 1, LONGEST_DATA_BYTES):
                piece = payload[at : at + LONGEST_DATA_BYTES] if len(payload) > LONGEST_DATA_BYTES else payload
                head = FRAME.pack(kind, len(piece))
                if len(piece) < _LARGE_BYTES:
                    self._transport.write(head + piece)
                else:  # a packet more is cheaper than a copy
                    self._transport.write(head)
                    self._transport.write(piece)

    def pause_reading(self) -> None:
        """Stop to take data in. What the other end does meanwhile is no silence."""
        if self._transport is not None and self._reading:
            self._reading = False
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on."""
        if self._transport is not None and not self._reading:
            self._reading = True
            self._heard_at = self._loop.time()
            self._transport.resume_reading()

    def close(self) -> None:
        """Close once everything is sent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def _on_beat(self) -> None:
        if self._reading and self._loop.time() - self._heard_at > SILENT_AFTER_S:
            self._silent = True
            self.abort()
            return
        self._session.acknowledge()
        self._beat = self._loop.call_later(BEAT_S, self._on_beat)


async def start_path(one: socket.socket, session: Session) -> Path:
    """Turn a socket on which both ends have agreed into a path, to be attached."""
    _, path = await asyncio.get_running_loop().create_connection(lambda: Path(session), sock=one)
    return path
