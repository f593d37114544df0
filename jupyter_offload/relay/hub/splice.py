"""Two connections joined: what one end sends, the other gets, and neither is read faster than the other takes it.

This is the path of every byte, so it is made of two callbacks of the loop and as little Python as possible: a small
message is one ``recv`` and one ``send``; what fills the buffer goes on through the kernel (``pipes``).
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Sequence

from .connection import Connection
from .pipes import PIPE_BYTES, Pipe, Pipes

_CHUNK_BYTES = 1 << 16
#: A flow gives the others a turn after so many rounds (of at most 1 MiB).
_ROUNDS = 8
#: Between ``recv`` and ``send`` only, never across two turns of the loop, so that all flows can share it.
_BUFFER = bytearray(_CHUNK_BYTES)
_VIEW = memoryview(_BUFFER)
_WAIT = (BlockingIOError, InterruptedError)
_SPLICE_FLAGS = getattr(os, "SPLICE_F_NONBLOCK", 0) | getattr(os, "SPLICE_F_MOVE", 0)


class Splice:
    """Joins a connector with a peer that dialled back, until both are done or one breaks.

    Args:
        peer: the peer's name, and ``patterns`` those of its certificate; ``kind`` is ``c`` or ``s``.
        on_end: called once, when both connections are closed.
    """

    __slots__ = ("_ends", "_flows", "_on_end", "_open", "kind", "patterns", "peer")

    def __init__(
        self,
        connector: Connection,
        accepted: Connection,
        *,
        kind: str,
        peer: str,
        patterns: Sequence[str],
        pipes: Pipes,
        on_end: Callable[[Splice], None],
    ) -> None:
        self.kind = kind
        self.peer = peer
        self.patterns = patterns
        self._ends = (connector, accepted)
        self._on_end = on_end
        self._open = 2
        self._flows = (
            _Flow(self, connector.sock, accepted.sock, pipes),
            _Flow(self, accepted.sock, connector.sock, pipes),
        )

    def start(self) -> None:
        """Begin to forward."""
        for flow in self._flows:
            flow.start()

    @property
    def bytes_to_peer(self) -> int:
        """Bytes that the connector sent."""
        return self._flows[0].moved

    @property
    def bytes_from_peer(self) -> int:
        """Bytes that the peer sent."""
        return self._flows[1].moved

    def flow_ended(self) -> None:
        """One direction has ended, and its end was passed on."""
        self._open -= 1
        if self._open == 0:
            self.close()

    def close(self) -> None:
        """Close both ends at once, also when bytes are under way; again is harmless."""
        if self._ends[0].closed:
            return
        for flow in self._flows:
            flow.stop()
        for end in self._ends:
            end.close()
        self._on_end(self)


class _Flow:
    """One direction. Holds at most one buffer or one pipe of bytes that the other end did not take yet."""

    __slots__ = (
        "_dst",
        "_dst_fd",
        "_left",
        "_loop",
        "_pipe",
        "_pipes",
        "_recv_into",
        "_send",
        "_splice",
        "_src",
        "_src_fd",
        "_stopped",
        "moved",
    )

    def __init__(self, splice: Splice, src: socket.socket, dst: socket.socket, pipes: Pipes) -> None:
        self.moved = 0
        self._splice = splice
        self._src, self._dst = src, dst
        self._src_fd, self._dst_fd = src.fileno(), dst.fileno()
        self._recv_into, self._send = src.recv_into, dst.send
        self._pipes = pipes
        self._pipe: Pipe | None = None
        self._left = b""
        self._stopped = False
        self._loop = asyncio.get_running_loop()

    def start(self) -> None:
        self._loop.add_reader(self._src_fd, self._readable)

    def stop(self) -> None:
        if self._stopped:
            return
        self._stopped = True
        self._loop.remove_reader(self._src_fd)
        self._loop.remove_writer(self._dst_fd)
        self._left = b""
        self._return_pipe()

    def _readable(self) -> None:
        try:
            number = self._recv_into(_BUFFER)
            if number == 0:
                self._end()
                return
            self.moved += number
            try:
                sent = self._send(_VIEW[:number])
            except _WAIT:
                sent = 0
        except _WAIT:
            return
        except OSError:
            self._splice.close()
            return
        if sent < number:
            self._left = bytes(_VIEW[sent:number])
            self._pause()
        elif number == _CHUNK_BYTES:
            self._bulk()

    def _bulk(self) -> None:
        """There is more than fits the buffer: let the kernel move it."""
        pipe = self._pipe = self._pipes.take()
        if pipe is None:
            return  # the loop will say again that there is more
        try:
            for _ in range(_ROUNDS):
                number = os.splice(self._src_fd, pipe.write_end, PIPE_BYTES, flags=_SPLICE_FLAGS)
                if number == 0:
                    self._return_pipe()
                    self._end()
                    return
                self.moved += number
                pipe.held = number
                if not self._flush_pipe(pipe):
                    self._pause()
                    return
        except _WAIT:
            pass  # nothing more has come
        except OSError:
            self._splice.close()
            return
        self._return_pipe()

    def _flush_pipe(self, pipe: Pipe) -> bool:
        """Return whether the other end took all that is in the pipe."""
        try:
            while pipe.held:
                pipe.held -= os.splice(pipe.read_end, self._dst_fd, pipe.held, flags=_SPLICE_FLAGS)
        except _WAIT:
            return False
        return True

    def _pause(self) -> None:
        """Read no more until the other end takes what is left."""
        self._loop.remove_reader(self._src_fd)
        self._loop.add_writer(self._dst_fd, self._writable)

    def _writable(self) -> None:
        try:
            if self._left:
                self._left = self._left[self._send(self._left) :]
                if self._left:
                    return
            if self._pipe is not None and not self._flush_pipe(self._pipe):
                return
        except _WAIT:
            return
        except OSError:
            self._splice.close()
            return
        self._return_pipe()
        self._loop.remove_writer(self._dst_fd)
        self._loop.add_reader(self._src_fd, self._readable)

    def _return_pipe(self) -> None:
        if self._pipe is not None:
            self._pipes.give_back(self._pipe)
            self._pipe = None

    def _end(self) -> None:
        """Nothing more comes from this side; the other may still have much to say."""
        self._loop.remove_reader(self._src_fd)
        try:
            self._dst.shutdown(socket.SHUT_WR)
        except OSError:
            self._splice.close()
            return
        self._splice.flow_ended()
