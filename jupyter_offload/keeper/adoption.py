"""Clusters that this user made at a site by other means become records, so that every door shows them."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable

from ..api import locations
from ..api.models import ClusterSpec, Phase, Reason, ReasonCode
from ..api.problems import OffloadError
from ..ports import Capability, FoundCluster
from . import folders
from .recording import entry
from .sites import SiteEntry, SiteRegistry
from .store import Record, Store, boot_id, container_id
from .store.database import NameInUse

log = logging.getLogger(__name__)
LOOK_TIMEOUT_S = 15.0
_NAME_LENGTH = 40
FOUND = Reason(
    code=ReasonCode.accepted,
    message="It was found at the site, where it was made by other means, and is shown from now on.",
)


class Adoption:
    """Looks for clusters at sites that run schedulers themselves.

    Args:
        store: the records.
        sites: the sites.
        wake: has a cluster looked at.
    """

    def __init__(self, store: Store, sites: SiteRegistry, wake: Callable[[str], None]) -> None:
        self._store = store
        self._sites = sites
        self._wake = wake

    async def look(self) -> None:
        """Make a record of each cluster that is new. Never raises for a site that cannot be asked."""
        own = [e for e in self._sites.all() if e.backend and Capability.own_scheduler in e.backend.capabilities]
        await asyncio.gather(*(self._look_at(site) for site in own))

    async def _look_at(self, site: SiteEntry) -> None:
        assert site.backend is not None
        try:
            async with asyncio.timeout(LOOK_TIMEOUT_S):
                found = await site.backend.found(locations.owner_id())
        except (OffloadError, TimeoutError) as error:
            log.info("site %s: nothing can be found now: %s", site.name, error or type(error).__name__)
            return
        for cluster in found:
            if self._store.get(cluster.id) is None:
                await self._adopt(site, cluster)

    async def _adopt(self, site: SiteEntry, found: FoundCluster) -> None:
        for number in range(1, 100):
            record = _record(site, found, _name(found.name, number))
            try:
                await self._store.insert(record, [entry(time.time(), FOUND)])
            except NameInUse:
                continue
            self._wake(record.id)
            return


def _name(found: str, number: int) -> str:
    plain = re.sub(r"[^A-Za-z0-9._-]", "-", found)
    ending = "" if number == 1 else f"-{number}"
    return f"{plain[: _NAME_LENGTH - len(ending)]}{ending}"


def _record(site: SiteEntry, found: FoundCluster, name: str) -> Record:
    """Return the record of a cluster as if it had been asked for as it is."""
    now = time.time()
    encrypted = site.backend is not None and Capability.unencrypted not in site.backend.capabilities
    spec = ClusterSpec(name=name, site=site.name, workers=found.workers, adaptive=found.adaptive)
    place = folders.places(found.id)
    return Record(
        id=found.id, name=name, owner=locations.owner_name(), requested=spec, spec=spec, profile=found.profile,
        site_title=site.title, python="", host=locations.host_name(), boot_id=boot_id(), container_id=container_id(),
        created_at=found.created_at, phase=Phase.starting, phase_since=now, reason=FOUND, workers_requested=found.workers,
        launched_at=found.created_at, folder=place.folder, runtime=place.runtime, spill=place.spill, handle=found.handle,
        own_scheduler=True, adopted=True, encrypted=encrypted, site_workers=found.workers, site_adaptive=found.adaptive,
    )  # fmt: skip
