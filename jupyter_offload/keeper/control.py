"""The keeper's line to a scheduler process or a zygote: JSON lines over a unix socket (control protocol, version 1)."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from pathlib import Path
from typing import Any

from ..api.problems import NotNow, ProblemCode, Unavailable

LINE_LIMIT = 64 * 2**20


def _silent(what: str, why: str) -> Unavailable:
    return Unavailable(
        ProblemCode.scheduler_unreachable, f"{what} does not answer ({why}).",
        hint="It may be very busy; try again, or look at its log.",
    )  # fmt: skip


async def ask_once(socket: Path, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
    """Send one request to a zygote over a connection of its own and return the answer.

    Raises:
        OSError: nobody listens, or the connection broke (``TimeoutError`` among them).
    """
    async with asyncio.timeout(timeout_s):
        reader, writer = await asyncio.open_unix_connection(str(socket))
        try:
            writer.write(json.dumps(request).encode() + b"\n")
            await writer.drain()
            line = await reader.readline()
        finally:
            writer.close()
    try:
        answer = json.loads(line)
    except ValueError as error:
        raise ConnectionResetError("it closed the connection without an answer") from error
    return dict(answer)


class ControlLine:
    """Connects on first use, and again after a break; several requests may be under way.

    Args:
        socket: path of the unix socket.
        what: the other end, in words, for error messages.
        timeout_s: longest wait for an answer, beyond what a request itself asks for by ``timeout_s``.
    """

    def __init__(self, socket: Path, what: str = "The scheduler", timeout_s: float = 5) -> None:
        self.socket = socket
        self._what = what
        self._timeout_s = timeout_s
        self._ids = itertools.count(1)
        self._pending: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._connecting = asyncio.Lock()
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None

    async def call(self, op: str, **arguments: Any) -> dict[str, Any]:
        """Send one request and return its answer.

        Raises:
            Unavailable: nobody answers within the timeout.
            NotNow: the other end says that this is not possible now.
        """
        number = next(self._ids)
        longest = self._timeout_s + (float(arguments.get("timeout_s") or 0) if op == "wait" else 0)
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(longest):
                writer = await self._connected()
                self._pending[number] = future
                writer.write(json.dumps({"id": number, "op": op, **arguments}).encode() + b"\n")
                await writer.drain()
                answer = await future
        except TimeoutError as error:
            raise _silent(self._what, f"no answer to {op} in {longest:.0f} s") from error
        except OSError as error:
            raise _silent(self._what, type(error).__name__) from error
        finally:
            self._pending.pop(number, None)
        if not answer.get("ok"):
            said = answer.get("error") or {}
            raise NotNow(
                ProblemCode.not_running, f"{self._what} refused {op}: {said.get('message', 'no reason given')}"
            )
        return answer

    async def _connected(self) -> asyncio.StreamWriter:
        async with self._connecting:
            if self._writer is None or self._writer.is_closing():
                reader, self._writer = await asyncio.open_unix_connection(str(self.socket), limit=LINE_LIMIT)
                self._reading = asyncio.create_task(self._read(reader, self._writer))
            return self._writer

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                answer = json.loads(line)
                future = self._pending.get(answer.get("id"))
                if future is not None and not future.done():
                    future.set_result(answer)
        except (OSError, ValueError):
            pass  # a broken line is a break of the connection
        finally:
            writer.close()
            if self._writer is writer:
                self._writer = None
                for future in self._pending.values():
                    if not future.done():
                        future.set_exception(ConnectionResetError("the connection broke"))

    async def close(self) -> None:
        """Break the connection; requests under way fail."""
        if self._writer is not None:
            self._writer.close()
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading
