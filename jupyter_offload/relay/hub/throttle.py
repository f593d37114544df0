"""Failed attempts by source: a burst is forgiven, a flood is turned away before it reaches an identity provider."""

from __future__ import annotations

import time
from collections.abc import Callable

from .problems import Problem

#: A Hub's users may all come from one address, and some of their tokens are old.
BURST = 60
PER_SECOND = 1.0
_MOST_SOURCES = 4096


class Throttle:
    """How many failures each source may still have; one more comes back every second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: source: failures that count, and since when
        self._failures: dict[str, tuple[float, float]] = {}

    def check(self, source: str) -> None:
        """Turn a source away that failed too often.

        Raises:
            Problem: 429.
        """
        if self._now(source) >= BURST:
            raise Problem(
                429, "too-many-requests", "Too many requests from here were refused of late.",
                "Mend the token or the key, and try again in a moment.", retry_after_s=5,
            )  # fmt: skip

    def failed(self, source: str) -> None:
        """Count a failure."""
        now = self._now(source) + 1
        self._failures.pop(source, None)
        self._failures[source] = (now, self._clock())
        if len(self._failures) > _MOST_SOURCES:
            del self._failures[next(iter(self._failures))]  # failed longest ago

    def _now(self, source: str) -> float:
        number, since = self._failures.get(source, (0.0, 0.0))
        return max(0.0, number - (self._clock() - since) * PER_SECOND) if number else 0.0
