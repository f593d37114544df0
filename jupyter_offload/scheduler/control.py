"""The control socket: JSON lines from the keeper, several requests at a time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tornado.netutil import bind_unix_socket

log = logging.getLogger("offload.control")

_LONGEST_LINE = 1 << 20
Answer = dict[str, Any]
Operation = Callable[[dict[str, Any]], Awaitable[Answer]]


class Refused(Exception):
    """A request that cannot be met; becomes ``error`` in the answer."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


class ControlServer:
    """Serves named operations on a 0600 unix socket."""

    def __init__(self, operations: dict[str, Operation]) -> None:
        self._operations = operations
        self._server: asyncio.Server | None = None

    async def listen(self, path: Path) -> None:
        """Start to serve.

        Raises:
            OSError: the socket cannot be made.
        """
        bound = bind_unix_socket(str(path), mode=0o600)
        self._server = await asyncio.start_unix_server(self._serve, sock=bound, limit=_LONGEST_LINE)

    def close(self) -> None:
        """Take no more connections."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        running: set[asyncio.Task[None]] = set()
        try:
            while line := await reader.readline():
                task = asyncio.ensure_future(self._answer(line, writer))
                running.add(task)
                task.add_done_callback(running.discard)
        except (OSError, ValueError) as error:  # ValueError: a line over the limit
            log.warning("A control connection ended: %s", error)
        finally:
            for task in running:  # nobody reads what they would say
                task.cancel()
            writer.close()

    async def _answer(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        number: Any = None
        try:
            request = json.loads(line)
            number = request.pop("id", None)
            answer = {"ok": True, **await self._run(request)}
        except Refused as refused:
            answer = _error(refused.code, str(refused))
        except (ValueError, AttributeError, TypeError) as error:
            answer = _error("bad-request", f"each line is one JSON object with id and op: {error}")
        except Exception as error:
            log.exception("A control request failed")
            answer = _error("internal", f"{type(error).__name__}: {error}; see the scheduler's log")
        with contextlib.suppress(OSError):  # who asked is gone
            writer.write(json.dumps({"id": number, **answer}).encode() + b"\n")
            await writer.drain()

    async def _run(self, request: dict[str, Any]) -> Answer:
        op = request.pop("op", None)
        operation = self._operations.get(op)
        if operation is None:
            raise Refused("unknown-op", f"op {op!r} is none of {', '.join(sorted(self._operations))}")
        return await operation(request)


def number(request: dict[str, Any], name: str, default: float | None, least: float, most: float) -> float:
    """Return a numeric argument of a request.

    Raises:
        Refused: it is missing, no number, or out of range; the message names field and value.
    """
    value = request.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise Refused("bad-request", f"{name} {value!r} is no number from {least:g} to {most:g}")
    return value


def _error(code: str, message: str) -> Answer:
    return {"ok": False, "error": {"code": code, "message": message}}
