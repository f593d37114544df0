"""A private unix socket that leads to one TCP port: how pages of a scheduler elsewhere are served as those of one here."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

CONNECT_TIMEOUT_S = 5.0
_PIECE_BYTES = 2**16


class Forwarding:
    """Forwards connections of this user from a socket to a port, until closed.

    Args:
        path: of the socket, in a folder that only the user may enter.
        target: host and port, from the site that runs the scheduler; nobody else names one.
    """

    def __init__(self, path: Path, target: tuple[str, int]) -> None:
        self.path = path
        self.target = target
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen; a socket that an earlier keeper left is replaced.

        Raises:
            OSError: the folder is not there, or the path is too long.
        """
        self.path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, self.path)
        self.path.chmod(0o600)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                far_reader, far_writer = await asyncio.open_connection(*self.target)
        except (OSError, TimeoutError):
            self._close(writer)
            return
        self._open.add(far_writer)
        try:
            await asyncio.gather(_carry(reader, far_writer), _carry(far_reader, writer))
        finally:
            self._close(writer)
            self._close(far_writer)

    def _close(self, writer: asyncio.StreamWriter) -> None:
        self._open.discard(writer)
        writer.close()

    def close(self) -> None:
        """Stop listening, end what is open, and remove the socket. Idempotent."""
        if self._server is not None:
            self._server.close()
            self._server = None
            self.path.unlink(missing_ok=True)
        for writer in list(self._open):
            self._close(writer)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(_PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
    with contextlib.suppress(OSError, RuntimeError):
        if writer.can_write_eof():
            writer.write_eof()
