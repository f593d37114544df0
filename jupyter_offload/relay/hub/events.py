"""What the relay says in its log: events with fields, and never more of them than a disk can take."""

from __future__ import annotations

import logging
import time
from collections import Counter

logger = logging.getLogger("offload.relay")

#: What is refused is counted; only so many of one kind a second are also logged.
_NOISE_PER_SECOND = 20
_LONGEST_FIELD = 200


class Events:
    """Writes events to the logger ``offload.relay``; the fields are in the record's ``event``, ``cluster`` and so on.

    ``suppressed`` counts what was not written.
    """

    def __init__(self, noise_per_second: int = _NOISE_PER_SECOND) -> None:
        self.suppressed = 0
        self._per_second = noise_per_second
        self._second = 0
        self._written: Counter[str] = Counter()

    def log(self, event: str, **fields: str | float) -> None:
        """Write an event that only an administrator or somebody with a cluster's key can cause."""
        self._write(logging.INFO, event, fields)

    def noise(self, event: str, **fields: str | float) -> None:
        """Write an event that anybody can cause, unless there were many of it in this second."""
        second = int(time.monotonic())
        if second != self._second:
            self._second = second
            self._written.clear()
        if self._written[event] >= self._per_second:
            self.suppressed += 1
            return
        self._written[event] += 1
        self._write(logging.WARNING, event, fields)

    def _write(self, level: int, event: str, fields: dict[str, str | float]) -> None:
        safe = {k: _safe(v) if isinstance(v, str) else v for k, v in fields.items()}
        words = " ".join(f"{k}={v}" for k, v in safe.items())
        logger.log(level, "%s %s", event, words, extra={"event": event, **safe})


def _safe(text: str) -> str:
    """A line stays one line, whatever a stranger put into a name."""
    return text[:_LONGEST_FIELD].encode("unicode_escape").decode()
