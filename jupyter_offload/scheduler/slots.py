"""One slot is one local worker that should be there, through all its restarts. No processes in here: only what to do next."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from enum import StrEnum

#: Deaths in a row before a worker ever connected, after which it is not tried again.
START_ATTEMPTS = 4
_FIRST_DELAY_S = 0.5
_LONGEST_DELAY_S = 30.0
#: Whoever lived this long after connecting is not said to die again and again.
_STEADY_S = 10.0


class Cause(StrEnum):
    """Why the supervisor ends a worker that will be started again."""

    over_memory = "over-memory"
    client_restart = "client-restart"
    lost_contact = "lost-contact"


@dataclass
class Slot:
    """The worker ``name``: its process of now (``pid`` None between two), and how its processes fared so far."""

    name: str
    pid: int | None = None
    gate: int | None = None
    wanted: bool = True
    connected_at: float | None = None
    cause: Cause | None = None
    killed: bool = False
    kill_at: float | None = None
    start_at: float | None = None
    restarts: int = 0
    start_failures: int = 0
    quick_deaths: int = 0
    failed: bool = False

    def started(self, pid: int) -> None:
        """Note a new process."""
        self.pid = pid
        self.connected_at = self.cause = self.kill_at = self.start_at = None
        self.killed = False

    def connected(self, now: float) -> None:
        """Note that the scheduler reached this process."""
        self.connected_at = now
        self.start_failures = 0

    def died(self, now: float) -> float | None:
        """Note the end of the process; return after how many seconds the next one starts, None for never again."""
        connected_at, self.pid, self.kill_at = self.connected_at, None, None
        if not self.wanted:
            return None
        if self.cause is Cause.client_restart:
            return self._start_in(0, now)
        self.restarts += 1
        if connected_at is None:
            self.start_failures += 1
            if self.start_failures >= START_ATTEMPTS:
                self.failed = True
                return None
            return self._start_in(_FIRST_DELAY_S * 2 ** (self.start_failures - 1), now)
        self.quick_deaths = self.quick_deaths + 1 if now - connected_at < _STEADY_S else 0
        delay = 0 if self.quick_deaths < 2 else _FIRST_DELAY_S * 2 ** (self.quick_deaths - 2)
        return self._start_in(min(delay, _LONGEST_DELAY_S), now)

    def _start_in(self, delay_s: float, now: float) -> float:
        self.start_at = now + delay_s
        return delay_s


def how_it_ended(status: int) -> str:
    """Say in words how a process ended; ``status`` is negative for a signal."""
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = "unknown"
    return f"was ended by signal {-status} ({name})"
