"""When workers that end at once are no longer replaced: one wrong setting must not become thousands of jobs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .options import Storm

#: Pause before the first replacement, doubled with each further failure, in seconds.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 2.0, 60.0


@dataclass(frozen=True)
class Failures:
    """Workers of one cluster that ended before they were of use, in a row; times in seconds since the epoch."""

    at: tuple[float, ...] = ()
    halted: bool = False
    told: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, saved: Mapping[str, Any]) -> Failures:
        """Return them as they were saved in the handle."""
        return cls(tuple(saved.get("at", ())), bool(saved.get("halted", False)), dict(saved.get("told", {})))

    def saved(self) -> dict[str, Any]:
        """Return what the handle keeps."""
        return {"at": list(self.at), "halted": self.halted, "told": dict(self.told)}

    def failed(self, now: float, told: Mapping[str, Any], limits: Storm) -> Failures:
        """Note one more; ``told`` is why (code, message, hint)."""
        recent = (*(t for t in self.at if now - t <= limits.within_s), now)
        return Failures(recent, self.halted or len(recent) >= limits.failures, told)

    def succeeded(self) -> Failures:
        """A worker is of use: what failed before was not the setting."""
        return Failures() if self.at and not self.halted else self

    def next_at(self) -> float:
        """Return when the next worker may be asked for."""
        if not self.at:
            return 0.0
        pause_s = _FIRST_PAUSE_S * 2.0 ** (len(self.at) - 1)
        return self.at[-1] + min(_LONGEST_PAUSE_S, pause_s)

    def forgiven(self) -> Failures:
        """Somebody asked for another number of workers: try again."""
        return replace(self, at=(), halted=False)
