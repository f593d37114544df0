"""What the keeper is told about a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .plugin import OffloadPlugin, client_count

if TYPE_CHECKING:
    from .dask_scheduler import Scheduler
    from .journal import Journal
    from .launch import WorkerSpec
    from .workforce import LocalWorker, Workforce

_STATES = {"running": "connected", "paused": "paused", "closing_gracefully": "retiring", "closing": "retiring"}
_TASKS_WAITING = ("waiting", "queued", "no-worker")


def status(
    scheduler: Scheduler,
    workforce: Workforce,
    plugin: OffloadPlugin,
    journal: Journal,
    spec: WorkerSpec,
    events_since: int,
) -> dict[str, Any]:
    """Return the answer to ``status`` of the control protocol; ``spec`` is what local workers are like."""
    workers = list(_workers(scheduler, workforce, plugin, spec))
    cores = sum(worker["cores"] for worker in workers if worker["state"] == "connected")
    executing = sum(worker["executing"] for worker in workers)
    processing = sum(len(state.processing) for state in scheduler.workers.values())
    waiting = sum(group.states.get(state, 0) for group in scheduler.task_groups.values() for state in _TASKS_WAITING)
    return {
        "sequence": journal.sequence,
        "target": workforce.target,
        "scheduler_address": scheduler.address,
        "versions": plugin.arrivals.versions,
        "workers": workers,
        "refused": list(plugin.arrivals.refused),
        "clients": client_count(scheduler),
        "tasks_waiting": waiting + processing - executing,
        "tasks_done": plugin.tasks_done,
        "busy_fraction": min(1.0, executing / cores) if cores else 0.0,
        "idle_since": scheduler.check_idle(),
        "adaptive_target": scheduler.adaptive_target(),
        "events": journal.since(events_since),
    }


def _workers(
    scheduler: Scheduler, workforce: Workforce, plugin: OffloadPlugin, spec: WorkerSpec
) -> Iterator[dict[str, Any]]:
    seen = set()
    for state in scheduler.workers.values():
        name = str(state.name)
        seen.add(name)
        yield _connected(state, name, workforce.workers.get(name), plugin)
    for local in workforce.workers.values():
        if local.name not in seen:
            yield _absent(local, plugin, spec)


def _connected(state: Any, name: str, local: LocalWorker | None, plugin: OffloadPlugin) -> dict[str, Any]:
    shown = _STATES.get(state.status.name, "starting")
    if local is not None and local.retiring:
        shown = "retiring"
    metrics, arrival = state.metrics, plugin.arrivals.of(state.address)
    return {
        "name": name,
        "state": shown,
        "address": state.address,
        "pid": state.pid,
        "cores": state.nthreads,
        "memory_bytes": state.memory_limit,
        "memory_used_bytes": metrics.get("memory", 0),
        "spilled_bytes": metrics.get("spilled_bytes", {}).get("disk", 0),
        "cpu_fraction": round(metrics.get("cpu", 0) / 100 / max(1, state.nthreads), 3),
        "tasks_done": plugin.tasks_done_by[name],
        "executing": min(len(state.processing), state.nthreads),
        "restarts": local.restarts if local else 0,
        "message": local.message if local else None,
        "versions": arrival.versions,
        "round_trip_s": arrival.round_trip_s,
        "registered_at": arrival.registered_at or None,
        "proven_at": arrival.proven_at,
    }


def _absent(local: LocalWorker, plugin: OffloadPlugin, spec: WorkerSpec) -> dict[str, Any]:
    shown = "retiring" if local.retiring else "lost" if local.state == "failed" else "starting"
    return {
        "name": local.name,
        "state": shown,
        "address": None,
        "pid": local.pid,
        "cores": spec.cores,
        "memory_bytes": spec.memory_bytes,
        "memory_used_bytes": 0,
        "spilled_bytes": 0,
        "cpu_fraction": 0.0,
        "tasks_done": plugin.tasks_done_by[local.name],
        "executing": 0,
        "restarts": local.restarts,
        "message": local.message,
        "versions": {},
        "round_trip_s": None,
        "registered_at": None,
        "proven_at": None,
    }
