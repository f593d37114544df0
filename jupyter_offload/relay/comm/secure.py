"""Dask's TLS inside a session: what OpenSSL encrypts goes into the session, and back."""

from __future__ import annotations

import asyncio
import secrets
import ssl
from typing import Any

from .session import SECRET_BYTES, Session, SessionLost

HANDSHAKE_TIMEOUT_S = 20.0
#: What is encrypted in one go: seven TLS records. Of 128 KiB and more glibc would ask the system for memory each time, since
#: Dask's nannies set its thresholds, and that costs more than all else.
_PIECE_BYTES = 112 << 10
#: Ciphertext that nobody has read yet, after which the path is not read either.
_UNREAD_BYTES = 1 << 20


class SecureStream:
    """Reads and writes plain bytes over a session."""

    def __init__(
        self, session: Session, context: ssl.SSLContext, *, server: bool, server_name: str | None = None
    ) -> None:
        self.session = session
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server, server_hostname=server_name)
        self._server = server
        self._more: asyncio.Future[None] | None = None
        self._paused = False
        self._ended = False
        self._error: Exception | None = None
        self._loop = asyncio.get_running_loop()
        session.receiver = self

    # ------------------------------------------------------------ the session
    def data_received(self, data: memoryview) -> None:
        """Take ciphertext."""
        self._incoming.write(data)
        if self._incoming.pending > _UNREAD_BYTES and not self._paused:
            self._paused = True
            self.session.pause_reading()
        self._wake()

    def session_ended(self, error: Exception | None) -> None:
        """Let the reader read what is there, then learn the end."""
        self._ended, self._error = True, error
        self._wake()

    def _wake(self) -> None:
        more, self._more = self._more, None
        if more is not None and not more.done():
            more.set_result(None)

    async def _wait(self) -> None:
        if self._paused and self._incoming.pending <= _UNREAD_BYTES:
            self._paused = False
            self.session.resume_reading()
        if self._ended:
            raise self._error or EOFError("the other end closed the session")
        self._more = self._loop.create_future()
        await self._more

    @property
    def exhausted(self) -> bool:
        """Whether the session is over and everything that arrived was read."""
        return self._ended and not self._incoming.pending and not self._tls.pending()

    # ------------------------------------------------------------ TLS
    async def handshake(self) -> dict[str, Any]:
        """Shake hands, and agree on the session's secret; return the other end's certificate.

        Raises:
            ssl.SSLError: the two do not trust each other.
            OSError, EOFError: the session ended.
            TimeoutError: it took too long.
        """
        async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
            while True:
                try:
                    self._tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    self._flush()
                except ssl.SSLError:
                    self._flush()  # the alert that says why
                    raise
                await self._wait()
            self._flush()
            secret = bytearray(SECRET_BYTES)
            if self._server:
                await self.read_into(memoryview(secret))
            else:
                secret[:] = secrets.token_bytes(SECRET_BYTES)
                await self.write(secret)
            self.session.secret = bytes(secret)
        return self._tls.getpeercert() or {}

    def _flush(self) -> None:
        if self._outgoing.pending:
            self.session.send(self._outgoing.read())

    async def read_into(self, target: memoryview) -> None:
        """Fill ``target``.

        Raises:
            ssl.SSLError: what came is not what was sent.
            OSError, EOFError: the session ended.
        """
        at = 0
        while at < len(target):
            try:
                count = self._tls.read(len(target) - at, target[at:])
            except ssl.SSLWantReadError:
                self._flush()  # TLS 1.3 may want to answer a change of keys
                await self._wait()
                continue
            if not count:
                raise EOFError("the other end closed the connection")
            at += int(count)

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send; returns once what is to be kept fits into the session's window.

        Raises:
            OSError: the session ended.
        """
        view = memoryview(data)
        for at in range(0, len(view), _PIECE_BYTES):
            if self._ended or self.session.ended:
                raise self._error or SessionLost("the session is over")
            self._tls.write(view[at : at + _PIECE_BYTES])
            self._flush()
            await self.session.drain()

    def close(self) -> None:
        """End the session; what was written goes out."""
        self.session.end(None)
