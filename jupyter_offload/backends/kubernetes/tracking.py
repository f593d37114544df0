"""What is remembered of each worker between two looks: our own clocks, and why it was lost. Nothing here is saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ...api.models import Profile, Worker, WorkerStage, WorkerState
from ...api.units import format_duration
from .options import Deadlines
from .reading import PodSight, Why, too_late

_ORDER = list(WorkerStage)
_FIELDS = frozenset(Worker.model_fields)
#: A worker that was of use for so long did not fail at once.
STEADY_S = 60.0


@dataclass
class Track:
    """One worker. Times are seconds since the epoch.

    Attributes:
        stage, since: how far it is, and since when.
        why: why it waits.
        lost: why it is over, once it is; it stays so.
        proven_at: when the scheduler first reached it.
        retiring: it was asked to go.
        sight: its pod as last seen; None when the API server has none.
        had_pod: whether it ever had one: its name is saved before its pod is made.
    """

    name: str
    since: float
    stage: WorkerStage = WorkerStage.submitted
    why: Why | None = None
    lost: Why | None = None
    lost_at: float = 0
    proven_at: float | None = None
    retiring: bool = False
    sight: PodSight | None = None
    had_pod: bool = False
    told: Mapping[str, Any] = field(default_factory=dict)

    def see(self, sight: PodSight | None, told: Mapping[str, Any] | None, now: float) -> None:
        """Take in a look: the pod, and what the scheduler says of the worker (None: it does not know it)."""
        self.sight, self.told = sight, told or {}
        self.had_pod = self.had_pod or sight is not None
        stage, why = self.stage, None
        if told is not None:
            stage = WorkerStage.registered if told.get("state") == "starting" else WorkerStage.proven
            if stage is WorkerStage.proven and self.proven_at is None:
                self.proven_at = now
        elif sight is not None:
            stage, why = sight.stage, sight.why
        if stage is not self.stage:
            self.stage, self.since = stage, now
        self.why = why

    def deadline(self, limits: Deadlines) -> float | None:
        """Return when this stage is given up; None = never."""
        if self.told or self.lost is not None:
            return None
        if self.stage is WorkerStage.submitted and self.why is not None:
            return self.since + limits.queued_s  # Kubernetes itself is the queue then
        return self.since + {
            WorkerStage.submitted: limits.scheduled_s,
            WorkerStage.scheduled: limits.accepted_s,
            WorkerStage.accepted: limits.connected_s,
            WorkerStage.queued: limits.queued_s,
        }.get(self.stage, limits.connected_s)

    def give_up_when_late(self, limits: Deadlines, now: float) -> None:
        """Count it as lost if its stage took too long."""
        deadline = self.deadline(limits)
        if deadline is not None and now > deadline and not self.retiring:
            node = self.sight.node if self.sight else None
            self.lose(too_late(self.stage, self.why, format_duration(deadline - self.since), node), now)

    def lose(self, why: Why, now: float) -> None:
        """Count it as lost; the first reason stays."""
        if self.lost is None:
            self.lost, self.lost_at = why, now

    @property
    def was_of_use(self) -> bool:
        """Whether it was connected long enough not to count as failed at once."""
        return self.proven_at is not None and self.lost_at - self.proven_at >= STEADY_S

    # ------------------------------------------------------------ for the card
    def worker(self, profile: Profile, limits: Deadlines) -> Worker:
        """Return it as the API shows it."""
        deadline = self.deadline(limits)
        why = self.lost or self.why
        fields: dict[str, Any] = {
            "name": self.name, "state": self._state(), "cores": profile.cores, "memory_bytes": profile.memory_bytes,
            "stage": self.stage, "stage_since": _time(self.since),
            "deadline_at": _time(deadline) if deadline is not None else None,
            "site_id": self.sight.site_id if self.sight else None,
            "message": why.message if why else None, "code": why.code if why else None, "hint": why.hint if why else None,
        }  # fmt: skip
        said = {k: v for k, v in self.told.items() if k in _FIELDS and v is not None} if self.lost is None else {}
        said.pop("state", None)
        return Worker.model_validate(fields | said)

    def _state(self) -> WorkerState:
        if self.lost is not None:
            return WorkerState.lost
        if self.retiring:
            return WorkerState.retiring
        return WorkerState(self.told["state"]) if self.told else WorkerState.starting

    def progress(self) -> tuple[int, int]:
        """Sort key for who goes first when there are too many: the least far, then the least busy."""
        return _ORDER.index(self.stage), int(self.told.get("executing") or 0)


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
