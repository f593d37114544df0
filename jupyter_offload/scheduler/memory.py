"""How much memory the workers hold, seen from outside: what Dask's nanny does where there is one."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .slots import Slot

_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident_bytes(pid: int) -> int | None:
    """Return the resident memory of a process, the measure Dask's own thresholds use; None if it cannot be seen."""
    if sys.platform == "linux":
        try:
            with open(f"/proc/{pid}/statm", "rb") as stream:  # noqa: PTH123  (ten times a second for each worker)
                return int(stream.read().split()[1]) * _PAGE
        except (OSError, IndexError):
            return None
    import psutil  # distributed needs it, so it is there

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None


class MemoryWatch:
    """Finds workers above ``distributed.worker.memory.terminate`` (95 %) of their limit."""

    def __init__(self, limit_bytes: int) -> None:
        import dask.config
        from dask.utils import parse_timedelta

        fraction = dask.config.get("distributed.worker.memory.terminate", 0.95)
        self._mark_bytes = int(limit_bytes * fraction) if fraction and limit_bytes else 0
        interval = dask.config.get("distributed.worker.memory.monitor-interval", "100ms")
        #: Seconds between looks; 0 when there is no limit.
        self.interval_s = float(parse_timedelta(interval)) if self._mark_bytes else 0.0
        self._next = 0.0

    def over_limit(self, slots: Iterable[Slot], now: float) -> list[tuple[Slot, int]]:
        """Return the workers over the mark with what they hold, at most once in an interval."""
        if not self.interval_s or now < self._next:
            return []
        self._next = now + self.interval_s
        found = []
        for slot in slots:
            if slot.pid is not None and slot.cause is None:
                used = resident_bytes(slot.pid)
                if used is not None and used > self._mark_bytes:
                    found.append((slot, used))
        return found
