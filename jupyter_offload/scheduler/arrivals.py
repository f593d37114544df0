"""Who came, with which versions, and who was turned away: before a task is lost, since afterwards nothing names the reason."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from distributed.versions import get_versions

from .versions import brief, compared, conflicts, differences, pip_line

if TYPE_CHECKING:
    from .journal import Journal

_REFUSED_KEPT = 100
_REMEDY = (
    "Choose an image that has the versions of the cluster's kernel, or make the cluster with a kernel that has those of the"
    " image."
)


@dataclass
class Arrival:
    """One worker that registered; times in seconds since the epoch."""

    registered_at: float
    versions: dict[str, str] = field(default_factory=dict)
    proven_at: float | None = None
    round_trip_s: float | None = None


NOBODY = Arrival(0.0)


class Arrivals:
    """Compares versions of what registers with those of the scheduler."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._arrived: dict[str, Arrival] = {}
        self._differences_told: set[str] = set()
        #: The last workers that were turned away: name, code, message, hint, at.
        self.refused: deque[dict[str, Any]] = deque(maxlen=_REFUSED_KEPT)

    @cached_property
    def versions(self) -> dict[str, str]:
        """The scheduler's own."""
        return brief(get_versions())

    def of(self, address: str) -> Arrival:
        """Return what is known of a worker's arrival."""
        return self._arrived.get(address, NOBODY)

    # ------------------------------------------------------------ workers
    def vet(self, name: str, announced: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """Return the answer for a worker that must not join, or None. It is the answer that Dask gives to a taken name."""
        theirs = brief(announced)
        wrong = conflicts(theirs, self.versions)
        if not wrong:
            return None
        words = compared(wrong, theirs, self.versions)
        message = f"{name} was turned away: it has {words}."
        hint = _REMEDY
        if "python" not in wrong:
            hint += f" In the image: {pip_line('python3', wrong, self.versions)}"
        self._journal.add("error", "worker-version-mismatch", f"{message} {hint}", name)
        self.refuse(name, "version-mismatch", message, hint)
        return {"status": "error", "message": message, "time": time.time(), "offload_code": "version-mismatch",
                "offload_hint": hint}  # fmt: skip

    def refuse(self, name: str, code: str, message: str, hint: str | None) -> None:
        """Remember a worker that was turned away."""
        self.refused.append({"name": name, "code": code, "message": message, "hint": hint, "at": time.time()})

    def came(self, address: str, name: str, announced: Mapping[str, Any] | None) -> None:
        """Note a worker that registered; what may or may not matter is told once."""
        theirs = brief(announced)
        self._arrived[address] = Arrival(time.time(), theirs)
        if theirs == self.versions or not theirs:
            return
        differing = differences(theirs, self.versions)
        words = compared(differing, theirs, self.versions)
        if differing and words not in self._differences_told:
            self._differences_told.add(words)
            self._journal.add(
                "warning", "worker-versions-differ",
                f"{name} has {words}. Mostly that works; if tasks fail to be read, make the versions equal.", name,
            )  # fmt: skip

    def proven(self, address: str, round_trip_s: float) -> None:
        """Note that a worker answered over a connection that the scheduler opened."""
        if (arrival := self._arrived.get(address)) is not None:
            arrival.proven_at, arrival.round_trip_s = time.time(), round_trip_s

    def left(self, address: str) -> None:
        """Forget a worker."""
        self._arrived.pop(address, None)

    # ------------------------------------------------------------ clients
    def client_came(self, announced: Mapping[str, Any] | None) -> None:
        """Tell when a client cannot work with this scheduler."""
        theirs = brief(announced)
        if wrong := conflicts(theirs, self.versions):
            self._journal.add(
                "warning", "client-version-mismatch",
                f"A client has {compared(wrong, theirs, self.versions)}. What it sends may fail without naming that. Make"
                " the cluster with the client's kernel, or work in the kernel that the cluster was made with.",
            )  # fmt: skip
