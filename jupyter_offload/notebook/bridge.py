"""One event loop in a thread of its own, on which every request of this process runs.

So the same coroutines serve a blocking call in a notebook (whose main thread runs a loop already), a plain script, an
asyncio program, and Dask's own loop thread, which awaits the cluster object it was given.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from ..api import locations
from ..api.client import AsyncKeeperClient

T = TypeVar("T")
_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_pid = 0
_clients: dict[str, AsyncKeeperClient] = {}


def _running_loop() -> asyncio.AbstractEventLoop:
    global _loop, _pid
    with _lock:
        # A forked child has the variables but not the thread.
        if _loop is None or _pid != os.getpid():
            _loop, _pid = asyncio.new_event_loop(), os.getpid()
            _clients.clear()
            threading.Thread(target=_loop.run_forever, name="jupyter-offload", daemon=True).start()
        return _loop


def keeper() -> AsyncKeeperClient:
    """Return the client of this process; call it on the bridge's loop only."""
    # By socket, since a process may change JUPYTER_DATA_DIR between two calls.
    return _clients.setdefault(str(locations.socket_path()), AsyncKeeperClient())


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end and return the result. Ctrl-C ends the waiting and cancels the work."""
    future = asyncio.run_coroutine_threadsafe(work, _running_loop())
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


async def awaited(work: Coroutine[Any, Any, T]) -> T:
    """Await the result on the caller's loop, whichever that is."""
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, _running_loop()))


def start(work: Coroutine[Any, Any, object]) -> None:
    """Start something nobody waits for."""
    asyncio.run_coroutine_threadsafe(work, _running_loop())
