"""Relays that are not what they should be: one listens in and alters, one answers itself."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable


class Tap:
    """Forwards connections to a relay, records all bytes, and may flip a bit.

    ``alter`` is called with the direction (``up`` is to the relay), where a piece begins and the piece; it returns what is
    forwarded instead.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self.recorded = {"up": bytearray(), "down": bytearray()}
        self.alter: Callable[[str, bytes], bytes] = lambda _, piece: piece
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def __aenter__(self) -> Tap:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def flip_once(self, direction: str, after: int) -> Flip:
        """Flip one bit in the next piece of this direction after so many more bytes."""
        flip = Flip(direction, after)
        self.alter = flip
        return flip

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        for task in (self._pump("up", reader, far_writer), self._pump("down", far_reader, writer)):
            one = asyncio.create_task(task)
            self._tasks.add(one)
            one.add_done_callback(self._tasks.discard)

    async def _pump(self, direction: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(1 << 16):
                self.recorded[direction] += piece
                writer.write(self.alter(direction, piece))
                await writer.drain()
        writer.close()


class Flip:
    """Flips the lowest bit of the byte that comes after so many; ``done`` when it has."""

    def __init__(self, direction: str, after: int) -> None:
        self._direction = direction
        self._left = after
        self.done = False

    def __call__(self, direction: str, piece: bytes) -> bytes:
        if direction != self._direction or self.done:
            return piece
        if self._left >= len(piece):
            self._left -= len(piece)
            return piece
        self.done = True
        changed = bytearray(piece)
        changed[self._left] ^= 1
        return bytes(changed)


class Impostor:
    """Ends the TLS of whoever connects with a certificate of its own, whatever name was asked for."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self.heard = b""
        self.shook_hands = 0

    async def __aenter__(self) -> Impostor:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.shook_hands += 1
        with contextlib.suppress(OSError):
            self.heard += await reader.read(1 << 16)
        writer.close()
