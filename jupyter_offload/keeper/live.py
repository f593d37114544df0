"""What the keeper sees of a cluster just now: never saved, looked at anew by the next keeper."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..api.models import Cluster, Phase, Reason, Usage, Worker, WorkerCounts, WorkerState
from ..ports import WorkersSeen
from .lifecycle import NOT_SEEN, Sight, end_of
from .store.records import Record, utc


@dataclass
class Live:
    """The present of one cluster, kept by the loop."""

    woken: asyncio.Event = field(default_factory=asyncio.Event)
    looked: asyncio.Event = field(default_factory=asyncio.Event)
    looked_at: float = 0  # by the monotonic clock
    sight: Sight = Sight.nothing
    status: Mapping[str, Any] | None = None
    workers: WorkersSeen = NOT_SEEN
    connectable: bool = False
    dashboard: bool = False
    surplus_since: float | None = None
    launch_error: Reason | None = None
    problem: Reason | None = None  # why the site refused what was asked of it last
    failures: int = 0  # rounds in a row that broke
    left: list[str] = field(default_factory=list)  # what the site still holds of a cluster that ends
    left_since: float | None = None
    ending_problem: Reason | None = None  # why its end takes long

    @property
    def idle_since(self) -> float | None:
        """Since when no task runs or waits, in seconds since the epoch."""
        value = self.status.get("idle_since") if self.status else None
        return None if value is None else float(value)


def cluster_view(record: Record, live: Live | None, *, workers: bool = True) -> Cluster:
    """Return a record as clients see it, with what is seen just now."""
    live = live or Live()
    seen = list(live.workers.workers) if live.workers.visible and not record.finished else []
    usable = live.connectable and record.phase in (Phase.starting, Phase.running)
    return Cluster(
        id=record.id,
        name=record.name,
        spec=record.spec,
        profile=record.profile,
        site_title=record.site_title,
        owner=record.owner,
        host=record.host,
        desired=record.desired,
        phase=record.phase,
        phase_since=utc(record.phase_since),
        reason=record.reason,
        created_at=utc(record.created_at),
        revision=record.revision,
        workers=WorkerCounts(
            requested=record.workers_requested,
            starting=record.workers_starting,
            connected=record.workers_connected,
        ),
        worker_list=seen if workers else [],
        left_at_site=live.left or _not_confirmed(record),
        usage=_usage(seen, live.status if not record.finished else None),
        end=None if record.finished else end_of(record, live.idle_since),
        idle_since=utc(live.idle_since) if live.idle_since is not None and not record.finished else None,
        ends_with_server=record.ends_with_server,
        connectable=usable,
        dashboard=usable and live.dashboard,
        encrypted=record.encrypted,
        adopted=record.adopted,
    )


def _not_confirmed(record: Record) -> list[str]:
    """Return what is left of a cluster that has ended, before its site was asked: not known is not nothing."""
    deleting = record.finished and not record.cleaned and record.handle
    return ["what it has at the site, which is being deleted"] if deleting else []


def _usage(workers: list[Worker], status: Mapping[str, Any] | None) -> Usage:
    there = [w for w in workers if w.state in (WorkerState.connected, WorkerState.paused, WorkerState.retiring)]
    status = status or {}
    return Usage(
        cores=sum(w.cores for w in there),
        memory_bytes=sum(w.memory_bytes for w in there),
        memory_used_bytes=sum(w.memory_used_bytes for w in there),
        busy_fraction=min(1.0, float(status.get("busy_fraction") or 0)),
        tasks_done=int(status.get("tasks_done") or 0),
        tasks_waiting=int(status.get("tasks_waiting") or 0),
        clients=int(status.get("clients") or 0),
    )
