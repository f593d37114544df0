"""The Jupyter server's one line to the keeper: finds it, starts it once for all who wait, and meets it again after its death."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tornado.httpclient import HTTPError, HTTPResponse
from tornado.simple_httpclient import HTTPTimeoutError, SimpleAsyncHTTPClient

from ..api.problems import ProblemCode, Unavailable
from ..api.start import ensure_keeper
from .unix_http import request

#: Nobody listens, so the request was certainly not sent.
_NOT_SENT = (ConnectionRefusedError, FileNotFoundError)


def _no_answer(error: Exception) -> Unavailable:
    hint = "Try again; if it stays so, run: jupyter offload doctor"
    if isinstance(error, HTTPTimeoutError):
        return Unavailable(ProblemCode.timeout, "The keeper did not answer in time.", hint=hint)
    return Unavailable(
        ProblemCode.keeper_unreachable, f"The keeper does not answer ({type(error).__name__}: {error}).", hint=hint
    )


def _in_daemon_thread(work: Callable[[], Path]) -> asyncio.Future[Path]:
    """Run blocking work. Unlike ``asyncio.to_thread`` it never keeps a server from ending while a keeper does not start."""
    done: concurrent.futures.Future[Path] = concurrent.futures.Future()

    def run() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            try:
                done.set_result(work())
            except Exception as error:
                done.set_exception(error)

    threading.Thread(target=run, name="start-keeper", daemon=True).start()
    return asyncio.wrap_future(done)


class KeeperLink:
    """Sends requests to the keeper. ``ensure`` blocks until a keeper listens, and is run in a thread."""

    def __init__(
        self, http: SimpleAsyncHTTPClient, timeout_s: float = 75, ensure: Callable[[], Path] = ensure_keeper
    ) -> None:
        self._http = http
        self._timeout_s = timeout_s
        self._ensure = ensure
        self._socket: Path | None = None
        self._starting: asyncio.Future[Path] | None = None

    @property
    def connected(self) -> bool:
        """Whether a keeper is known, or is just being started for somebody."""
        return self._socket is not None or self._starting is not None

    async def fetch(
        self, method: str, target: str, *, timeout_s: float | None = None, retry: bool = True, **options: Any
    ) -> HTTPResponse:
        """Send one request; ``target`` is path and query. Answers of every status are returned.

        A keeper that is not there is started. A request that may have been received is sent again only when it
        changes nothing: after a broken connection nobody knows what the keeper did. With ``retry`` false it is never
        sent again, and a keeper that was known and has gone is not replaced before the next call.

        Raises:
            Unavailable: no keeper answers; code ``timeout`` when it listens but takes too long.
            Broken: the private folder for the socket cannot be used.
        """
        for attempt in (1, 2):
            socket = self._socket or await self._connect()
            sent = request(socket, method, target, request_timeout=timeout_s or self._timeout_s, **options)
            try:
                return await self._http.fetch(sent, raise_error=False)
            except HTTPTimeoutError as error:
                raise _no_answer(error) from error
            except (HTTPError, OSError) as error:
                self._socket = None
                if attempt == 2 or not retry or not (isinstance(error, _NOT_SENT) or method == "GET"):
                    raise _no_answer(error) from error
        raise AssertionError

    async def _connect(self) -> Path:
        if self._starting is None:
            self._starting = _in_daemon_thread(self._ensure)
            self._starting.add_done_callback(self._started)
        return await asyncio.shield(self._starting)

    def _started(self, starting: asyncio.Future[Path]) -> None:
        self._starting = None
        if not starting.cancelled() and starting.exception() is None:
            self._socket = starting.result()
