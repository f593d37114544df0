"""A relay reduced to one listener's sessions, which cuts connections where a test wants it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from jupyter_offload.relay.comm.dialing import Endpoint
from jupyter_offload.relay.comm.paths import Sessions
from jupyter_offload.relay.comm.session import Session
from jupyter_offload.relay.hello import RECORD_HEADER_BYTES, record_bytes, server_name_in


class Junction:
    """Accepts what a dialler opens and hands the other end to ``sessions``.

    ``budgets`` gives how many bytes each new connection carries, both ways together, before it is cut; None = for ever.
    """

    def __init__(self, sessions: Sessions, budget: Callable[[int], int | None]) -> None:
        self._sessions = sessions
        self._budget = budget
        self.connections = 0
        self.names: list[str] = []
        self.fresh: asyncio.Queue[Session] = asyncio.Queue()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.closed = False

    async def __aenter__(self) -> Junction:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.endpoint = Endpoint(socket.AF_INET, self._server.sockets[0].getsockname())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Cut every connection."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.current_task())  # type: ignore[arg-type]
        head = await reader.readexactly(RECORD_HEADER_BYTES)
        rest = await reader.readexactly(record_bytes(head) - RECORD_HEADER_BYTES)
        self.names.append(server_name_in(head + rest))
        if self.closed:
            writer.transport.abort()
            return
        near, far = socket.socketpair()
        for one in (near, far):
            one.setblocking(False)
        self._tasks.add(asyncio.ensure_future(self._accept(far)))
        near_reader, near_writer = await asyncio.open_connection(sock=near)
        self._writers |= {writer, near_writer}
        left = self._budget(self.connections)
        self.connections += 1
        box = [left]
        await asyncio.gather(
            self._pump(reader, near_writer, box, (writer, near_writer)),
            self._pump(near_reader, writer, box, (writer, near_writer)),
            return_exceptions=True,
        )
        self._writers -= {writer, near_writer}
        for one in (writer, near_writer):
            one.transport.abort()

    async def _accept(self, one: socket.socket) -> None:
        try:
            session = await self._sessions.accept(one, self.endpoint)
        except (OSError, EOFError):
            one.close()
            return
        if session is not None:
            self.fresh.put_nowait(session)

    @staticmethod
    async def _pump(
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        left: list[int | None],
        both: tuple[asyncio.StreamWriter, ...],
    ) -> None:
        while data := await reader.read(1 << 16):
            if left[0] is not None:
                data, over = data[: left[0]], len(data) >= left[0]
                left[0] -= len(data)
            else:
                over = False
            writer.write(data)
            await writer.drain()
            if over:
                await asyncio.sleep(0)
                for one in both:
                    one.transport.abort()
                return
        writer.close()
