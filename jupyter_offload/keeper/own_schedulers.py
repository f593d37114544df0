"""Clusters whose scheduler the site runs: the same three questions as ``schedulers.py`` answers for processes of this host."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..api import locations
from ..api.models import ClusterSpec, Reason, ReasonCode, TimelineEntry
from ..api.problems import OffloadError
from ..ports import Backend, Handle, SchedulerAt, SchedulerState
from . import folders
from .forwarding import Forwarding
from .lifecycle import Exit, Sight
from .schedulers import SchedulerSeen
from .site_eyes import context_of
from .store import Store
from .store.records import Record, utc

log = logging.getLogger(__name__)
SITE_TIMEOUT_S = 30.0
#: Stands for a number of workers that nobody can want, so that what differs otherwise is submitted again.
_NOT_AS_WANTED = -1
DELETED = "deleted-at-site"
_SIGHTS = {
    SchedulerState.starting: Sight.starting,
    SchedulerState.ready: Sight.ready,
    SchedulerState.failed: Sight.starting,  # one that was found is its maker's to give up
}


class OwnSchedulers:
    """What the sites show of the schedulers they run.

    Args:
        backend: returns the backend of a site.
        store: the records.
    """

    def __init__(self, backend: Callable[[str], Backend | None], store: Store) -> None:
        self._backend = backend
        self._store = store
        self._doors: dict[str, Forwarding] = {}
        self._addresses: dict[str, str | None] = {}

    async def launch(self, record: Record, backend: Backend, workers: int) -> None:
        """Have the site start a cluster.

        Raises:
            OffloadError: the site does not, or cannot be asked now.
            OSError: the cluster's folders cannot be made.
        """

        async def save(handle: Handle) -> None:
            # adaptive scaling is asked for once the cluster is there
            await self.submitted(record, workers, handle=handle, site_adaptive=None)

        await asyncio.to_thread(folders.make_for_own_scheduler, record)
        async with asyncio.timeout(SITE_TIMEOUT_S):
            await backend.launch(context_of(record, None), workers, save)

    async def submitted(self, record: Record, workers: int, **changes: Any) -> None:
        """Remember what the site was asked for last."""
        asked = {"site_workers": workers, "site_adaptive": record.spec.adaptive, **changes}
        await self._store.update(record.id, lambda r: (r.model_copy(update=asked), ()))

    # ------------------------------------------------------------ look
    async def look(self, record: Record) -> SchedulerSeen:
        """Return what the site shows of a cluster's scheduler. What is changed there is taken over into the record."""
        if record.host != locations.host_name() and not record.adopted:
            return SchedulerSeen(Sight.other_host)
        if record.launched_at is None:
            return SchedulerSeen(Sight.nothing)
        backend = self._backend(record.spec.site)
        if backend is None:
            return SchedulerSeen(Sight.silent, problem=_site_missing(record))
        try:
            async with asyncio.timeout(SITE_TIMEOUT_S):
                at = await backend.scheduler(context_of(record, None))
        except (OffloadError, TimeoutError) as error:
            return SchedulerSeen(Sight.silent, address=record.scheduler_address, problem=_unseen(error))
        if at.state is SchedulerState.absent:
            if not record.handle:
                return SchedulerSeen(Sight.nothing)  # the keeper that meant to make it died before it did
            return SchedulerSeen(Sight.exited, exit=Exit(DELETED, ""))
        if at.state is SchedulerState.failed and at.problem is not None and not record.adopted:
            return SchedulerSeen(Sight.exited, exit=Exit(at.problem.code.value, at.problem.message), problem=at.problem)
        record = await self._follow(record, at)
        try:
            await self._open_door(record, at)
        except OSError as error:
            log.warning("no dashboard for %s: %s", record.id, error)
        return SchedulerSeen(_SIGHTS[at.state], address=at.address, problem=at.problem, status=_status(record, at))

    async def _follow(self, record: Record, at: SchedulerAt) -> Record:
        """Take over what was changed at the site, by KubeCluster.scale() or alike, rather than to undo it."""
        if at.workers is None:
            return record

        def edit(newest: Record) -> tuple[Record, list[TimelineEntry]]:
            known = newest.site_adaptive, None if newest.site_adaptive else newest.site_workers
            there = at.adaptive, None if at.adaptive else at.workers
            if known == there or newest.site_workers is None:
                return newest, []
            spec: ClusterSpec = newest.spec.model_copy(update={"adaptive": at.adaptive, "workers": at.workers})
            changed = {
                "spec": spec, "workers_requested": at.workers, "site_workers": at.workers, "site_adaptive": at.adaptive,
            }  # fmt: skip
            told = f"It was scaled at the site, to {at.workers} workers."
            if at.adaptive is not None:
                told = f"It was made adaptive at the site, {at.adaptive.minimum} to {at.adaptive.maximum} workers."
            return newest.model_copy(update=changed), [
                TimelineEntry(at=utc(time.time()), code="changed-at-site", message=told)
            ]

        return await self._store.update(record.id, edit)

    async def _open_door(self, record: Record, at: SchedulerAt) -> None:
        """Serve the scheduler's pages on the cluster's private socket while they can be reached from here."""
        if at.address is not None and self._addresses.get(record.id) != at.address:
            await asyncio.to_thread(folders.make_for_own_scheduler, record, at.address)
            self._addresses[record.id] = at.address
        door = self._doors.get(record.id)
        if door is not None and door.target == at.dashboard and door.path.exists():
            return
        if door is not None:
            self._doors.pop(record.id).close()
        if at.dashboard is None:
            return
        door = Forwarding(Path(record.runtime) / "dashboard.sock", at.dashboard)
        await door.start()
        self._doors[record.id] = door

    # ------------------------------------------------------------ end
    async def end(self, record: Record) -> bool:
        """Delete what is of a cluster on this host but the logs; the backend deletes the rest."""
        self._close_door(record.id)
        await asyncio.to_thread(folders.clean, record)
        return True

    def _close_door(self, record_id: str) -> None:
        self._addresses.pop(record_id, None)
        door = self._doors.pop(record_id, None)
        if door is not None:
            door.close()

    def close(self) -> None:
        """Let go of everything; clusters go on."""
        for record_id in list(self._doors):
            self._close_door(record_id)


def _status(record: Record, at: SchedulerAt) -> dict[str, Any] | None:
    """Return what a scheduler process of this host would say of itself; None before it is ready."""
    if at.state is not SchedulerState.ready:
        return None
    as_wanted = at.agrees and at.adaptive == record.spec.adaptive
    return {
        "sequence": 0,
        "workers": [],
        "events": [],
        "target": at.workers if as_wanted or at.workers is None else _NOT_AS_WANTED,
        # the site adapts: what it aims at is what is wanted
        "adaptive_target": at.workers if record.spec.adaptive is not None else None,
        **at.usage,
    }


def _site_missing(record: Record) -> Reason:
    return Reason(
        code=ReasonCode.site_missing, message=f"The site {record.spec.site!r} is not declared any more; nobody looks there.",
        hint="Bring the site's file back. See: jupyter offload sites check",
    )  # fmt: skip


def _unseen(error: OffloadError | TimeoutError) -> Reason:
    said = error.message if isinstance(error, OffloadError) else f"It did not answer within {SITE_TIMEOUT_S:.0f} s."
    hint = error.hint if isinstance(error, OffloadError) else None
    return Reason(code=ReasonCode.cannot_see, message=f"The site cannot be seen now. {said}", hint=hint)
