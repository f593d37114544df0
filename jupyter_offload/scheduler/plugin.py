"""Sees what the Dask scheduler sees: workers and clients that come and go, and tasks that are done."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any

from distributed.diagnostics.plugin import SchedulerPlugin

from .arrivals import Arrivals

if TYPE_CHECKING:
    from .dask_scheduler import Scheduler
    from .journal import Journal
    from .workforce import Workforce

log = logging.getLogger("offload.scheduler")

#: A new worker must answer within this time, over a connection the scheduler opens to it.
ROUND_TRIP_TIMEOUT_S = 10.0
_NEED_RELAY = "Workers behind a firewall or NAT need a relay."
#: What Dask's nannies log, from wherever they are, before they end a worker for its memory.
_NANNY_ENDS_WORKER = "worker-restart-memory"
#: Clients that Dask or a task makes inside the cluster are not the user's.
_INNER_CLIENTS = ("fire-and-forget", "Client-worker-")


class OffloadPlugin(SchedulerPlugin):  # type: ignore[misc]
    """Probes workers, counts tasks, and writes the journal."""

    name = "jupyter-offload"

    def __init__(self, journal: Journal, workforce: Workforce) -> None:
        self._journal = journal
        self._workforce = workforce
        self.arrivals = Arrivals(journal)
        self._scheduler: Scheduler | None = None
        self._names: dict[str, str] = {}
        self._spilling: set[str] = set()
        self._told: set[str] = set()  # addresses of workers about whose end the journal has the reason
        self._gone: deque[tuple[str, str]] = deque(maxlen=100)  # the last that left, address and name
        self._modules_told: set[tuple[str, bool]] = set()
        self.tasks_done = 0
        self.tasks_done_by: defaultdict[str, int] = defaultdict(int)

    async def start(self, scheduler: Scheduler) -> None:
        """Remember the scheduler."""
        self._scheduler = scheduler

    # ------------------------------------------------------------ workers
    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        """Note a new worker, which says what it could not import."""
        state = scheduler.workers[worker]
        name = self._names[worker] = str(state.name)
        self.arrivals.came(worker, name, state.versions)
        state.services.pop("dashboard", None)  # a worker's own is not proxied, so a link to it would be dead
        for module, why in (state.extra or {}).get("offload_failed_modules", {}).items():
            self.module_failed(module, why, name)

    async def reach(self, worker: str) -> bool:
        """Return whether a round trip to a worker succeeds over a connection that the scheduler opens.

        A worker behind NAT registers, looks healthy and never returns a result.
        """
        scheduler, name = self._scheduler, self._names.get(worker, worker)
        assert scheduler is not None
        began = time.monotonic()
        try:
            nonce = os.urandom(8).hex()
            answer = await asyncio.wait_for(scheduler.rpc(worker).echo(data=nonce), ROUND_TRIP_TIMEOUT_S)
            if answer != nonce:
                raise OSError(f"it answered {answer!r}")  # noqa: TRY301
        except (OSError, TimeoutError) as error:
            self._told.add(worker)
            why = str(error) or f"no answer within {ROUND_TRIP_TIMEOUT_S:g} s"
            message = (
                f"{name} registered from {worker}, but the scheduler cannot reach it there: {why}. It is closed, since its"
                " results could never be fetched."
            )
            self._journal.add("error", "worker-unreachable", f"{message} {_NEED_RELAY}", name)
            self.arrivals.refuse(name, "worker-unreachable", message, _NEED_RELAY)
            return False
        took_s = time.monotonic() - began
        log.info("%s answered in %.1f ms", name, took_s * 1e3)
        self.arrivals.proven(worker, took_s)
        if (state := scheduler.workers.get(worker)) is not None:
            self._workforce.connected(name, state.pid)
        return True

    def status_changed(self, worker: str, before: str, now: str) -> None:
        """Note what a worker's new status means."""
        name = self._names.get(worker, worker)
        if now == "running" and before == "init":
            self._journal.add("info", "worker-connected", f"{name} is connected.", name)
        elif now == "paused":
            self._journal.add(
                "warning",
                "worker-paused",
                f"{name} is nearly out of memory and takes no new tasks until it has room.",
                name,
            )
        elif now == "running" and before == "paused":
            self._journal.add("info", "worker-resumed", f"{name} has room again and takes tasks.", name)
        else:
            self._journal.changed()

    def remove_worker(self, scheduler: Scheduler, worker: str, **_: Any) -> None:
        """Note that a worker left; a local one that was not asked to go is replaced by the supervisor."""
        name = self._names.pop(worker, worker)
        self._spilling.discard(worker)
        self.arrivals.left(worker)
        told = worker in self._told
        self._told.discard(worker)
        self._gone.append((worker, name))
        by_client = worker in scheduler.restarting
        expected = self._workforce.left(name, by_client=by_client)
        if not expected and by_client:  # its nanny does it, where it is
            self._journal.add("info", "worker-restarted", f"{name} is restarted, as a client asked.", name)
        elif not expected and not told:
            self._journal.add("warning", "worker-lost", f"{name} is gone; its tasks run elsewhere.", name)
        self._journal.changed()

    def log_event(self, topic: str, msg: Any) -> None:
        """Note why the nanny of a worker at a site ends it; such a worker is over in a moment, or was a moment ago."""
        if topic != _NANNY_ENDS_WORKER or not isinstance(msg, dict):
            return
        worker = str(msg.get("worker"))
        name = self._names.get(worker) or dict(self._gone).get(worker, worker)
        if worker in self._names:
            self._told.add(worker)
        self._journal.add(
            "warning", "worker-over-memory",
            f"{name} used {msg.get('rss', 0) / 2**20:.0f} MiB, nearly its whole limit, and is started again. Use smaller"
            " pieces of data, or workers with more memory.", name,
        )  # fmt: skip

    def look_at_spilling(self) -> None:
        """Note workers that began to move data to disk, or stopped. Their heartbeats tell."""
        if self._scheduler is None:
            return
        for address, state in self._scheduler.workers.items():
            disk = state.metrics.get("spilled_bytes", {}).get("disk", 0)
            if disk and address not in self._spilling:
                self._spilling.add(address)
                name = self._names.get(address, address)
                self._journal.add(
                    "warning",
                    "worker-spilling",
                    f"{name} is short of memory and moves data to disk, which is slower.",
                    name,
                )
            elif not disk:
                self._spilling.discard(address)

    def module_failed(self, module: str, why: str, worker: str | None) -> None:
        """Note that an extra module cannot be imported; once for all workers, since they share an environment."""
        told = (module, worker is None)
        if told in self._modules_told:
            return
        self._modules_told.add(told)
        who = worker or "the scheduler"
        self._journal.add("error", "module-failed", f"{who} cannot import the extra module {module}: {why}", worker)

    # ------------------------------------------------------------ tasks and clients
    def transition(self, key: Any, start: str, finish: str, *_: Any, **kwargs: Any) -> None:
        """Count tasks that ended, well or not."""
        if start == "processing" and finish in ("memory", "erred"):
            self.tasks_done += 1
            name = self._names.get(kwargs.get("worker", ""))
            if name is not None:
                self.tasks_done_by[name] += 1

    def add_client(self, scheduler: Scheduler, client: str) -> None:
        """Note a client of the user."""
        if not client.startswith(_INNER_CLIENTS):
            self._journal.add("info", "client-connected", "A client connected.")
            self.arrivals.client_came(scheduler.clients[client].versions)

    def remove_client(self, scheduler: Scheduler, client: str) -> None:
        """Note that a client of the user left."""
        if not client.startswith(_INNER_CLIENTS):
            self._journal.add("info", "client-gone", "A client disconnected.")


def client_count(scheduler: Scheduler) -> int:
    """Return how many of the user's clients are connected."""
    return sum(not client.startswith(_INNER_CLIENTS) for client in scheduler.clients)
