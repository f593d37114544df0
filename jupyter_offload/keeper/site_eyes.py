"""Looking at sites: one look for all clusters of a site, shared by their tasks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any

from ..api import locations
from ..ports import Backend, Capability, ClusterContext, DialOut, SchedulerControl, WorkersSeen
from .lifecycle import NOT_SEEN
from .store.records import Record

log = logging.getLogger(__name__)
LOOK_EVERY_S = 5.0
LOOK_TIMEOUT_S = 30.0


def context_of(record: Record, control: SchedulerControl | None, dial_out: DialOut | None = None) -> ClusterContext:
    """Return what a backend may know about a cluster."""
    return ClusterContext(
        id=record.id, name=record.name, owner=locations.owner_id(), user=record.owner, spec=record.spec,
        profile=record.profile, handle=record.handle, control=control, dial_out=dial_out,
    )  # fmt: skip


class SeenControl:
    """A line that answers ``status`` with what was just heard, so that one round asks once."""

    def __init__(self, line: SchedulerControl, status: Mapping[str, Any]) -> None:
        self._line = line
        self._status = dict(status)

    async def call(self, op: str, **arguments: Any) -> dict[str, Any]:
        """Answer from memory, or ask."""
        return self._status if op == "status" else await self._line.call(op, **arguments)


class SiteEyes:
    """One task for each site whose workers are not the scheduler's own.

    Args:
        backend: returns the backend of a site.
        clusters: returns the clusters at a site.
        wake: has a cluster looked at, because the site showed something new of it.
    """

    def __init__(
        self,
        backend: Callable[[str], Backend | None],
        clusters: Callable[[str], list[ClusterContext]],
        wake: Callable[[str], None],
        every_s: float = LOOK_EVERY_S,
        timeout_s: float = LOOK_TIMEOUT_S,
    ) -> None:
        self._backend = backend
        self._clusters = clusters
        self._wake = wake
        self._every_s = every_s
        self._timeout_s = timeout_s
        self._seen: dict[tuple[str, str], WorkersSeen] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._woken: dict[str, asyncio.Event] = {}

    def seen(self, site: str, cluster_id: str) -> WorkersSeen:
        """Return what the site last showed of a cluster; invisible until it was looked at."""
        if site not in self._tasks:
            self._woken[site] = asyncio.Event()
            task = self._tasks[site] = asyncio.create_task(self._watch(site), name=f"site {site}")
            task.add_done_callback(lambda _: self._tasks.pop(site, None))
        if (site, cluster_id) not in self._seen:
            self.wake(site)  # a new cluster does not wait for the next look at the others
        return self._seen.get((site, cluster_id), NOT_SEEN)

    def wake(self, site: str) -> None:
        """Have a site looked at now."""
        if site in self._woken:
            self._woken[site].set()

    async def _watch(self, site: str) -> None:
        while clusters := self._clusters(site):
            self._woken[site].clear()
            found = await self._look(site, clusters)
            for cluster in clusters:
                new = found.get(cluster.id, NOT_SEEN)
                if new != self._seen.get((site, cluster.id)):
                    self._seen[site, cluster.id] = new
                    self._wake(cluster.id)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken[site].wait(), self._every_s)
        self._seen = {key: value for key, value in self._seen.items() if key[0] != site}

    async def _look(self, site: str, clusters: list[ClusterContext]) -> Mapping[str, WorkersSeen]:
        backend = self._backend(site)
        if backend is None or Capability.local_workers in backend.capabilities:
            return {}
        try:
            async with asyncio.timeout(self._timeout_s):
                return await backend.observe(clusters)
        except Exception as error:  # a plugin's fault must not end the watch; the clusters are not seen, not gone
            log.warning("site %s cannot be seen: %s", site, error or type(error).__name__)
            return {}

    async def stop(self) -> None:
        """Stop looking."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
