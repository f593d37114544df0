"""What happened to a cluster, and waiting for the next thing to happen."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any, Literal

Level = Literal["info", "warning", "error"]
_KEPT = 500


class Journal:
    """A sequence number that grows with every change, and the last events, each with the number it was given."""

    def __init__(self) -> None:
        self.sequence = 0
        self._events: deque[dict[str, Any]] = deque(maxlen=_KEPT)
        self._changed = asyncio.Event()

    def changed(self) -> None:
        """Note a change that needs no words."""
        self.sequence += 1
        self._changed.set()
        self._changed = asyncio.Event()

    def add(self, level: Level, code: str, message: str, worker: str | None = None) -> None:
        """Note an event."""
        event = {"sequence": self.sequence + 1, "at": time.time(), "level": level, "code": code, "message": message,
                 "worker": worker}  # fmt: skip
        self._events.append(event)
        self.changed()

    def since(self, sequence: int) -> list[dict[str, Any]]:
        """Return the kept events after ``sequence``, oldest first."""
        return [event for event in self._events if event["sequence"] > sequence]

    async def wait(self, since: int, timeout_s: float) -> None:
        """Return when the sequence is another than ``since``, or after ``timeout_s``."""
        if self.sequence == since:
            try:
                await asyncio.wait_for(self._changed.wait(), timeout_s)
            except TimeoutError:
                return
