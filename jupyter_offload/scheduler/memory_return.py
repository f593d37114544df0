"""Giving free memory back to the system, which the allocator would keep (``malloc.py``)."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from tornado.ioloop import PeriodicCallback

from . import malloc
from .memory import resident_bytes

_TRIM_LOOK_MS = 250
#: Above this part of its limit a worker gives free memory back even while it works, at most once in this time.
_TRIM_MARK, _TRIM_PAUSE_S = 0.6, 2.0


class MemoryReturn:
    """Gives free memory back to the system when a worker falls idle or fills up."""

    def __init__(self, worker: Any, limit_bytes: int) -> None:
        self._worker = worker
        self._mark_bytes = limit_bytes * _TRIM_MARK
        self._trimmed_after = 0  # tasks that had run when it was last idle and trimmed
        self._last = 0.0
        self._callback = PeriodicCallback(self.look, _TRIM_LOOK_MS)

    def start(self) -> None:
        """Look from now on."""
        self._callback.start()

    async def look(self) -> None:
        """Trim once after work, and now and then above the mark."""
        state = self._worker.state
        if state.executing or state.ready:
            if not self._filling_up():
                return
        elif (
            state.executed_count == self._trimmed_after
        ):  # a task may come and go between two looks, so they are counted
            return
        else:
            self._trimmed_after = state.executed_count
        self._last = asyncio.get_running_loop().time()
        try:
            await asyncio.to_thread(malloc.trim)
        except RuntimeError:  # the loop takes no more work: the process ends
            self._callback.stop()

    def _filling_up(self) -> bool:
        if not self._mark_bytes or asyncio.get_running_loop().time() - self._last < _TRIM_PAUSE_S:
            return False
        return (resident_bytes(os.getpid()) or 0) > self._mark_bytes
