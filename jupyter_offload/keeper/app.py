"""Composition of the keeper, and its own life: start, serve, end when there is nothing to do."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Coroutine, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from .. import __version__
from ..api import locations
from ..api.models import Finding, KeeperHealth, SweepReport
from ..api.problems import Broken, OffloadError
from ..api.routes import API_VERSION, ROUTES
from ..api.start import ENDS_WITH_SERVER
from ..ports import Backend
from . import leftovers
from .adoption import Adoption
from .clusters import Clusters
from .environments import Environments
from .http import Answer, Call, Operation, PrivateServer, Traffic, application, serve
from .reconcile import Reconciler
from .routes import operations
from .schedulers import Schedulers
from .sites import SiteEntry, SiteRegistry
from .store import Store
from .sweep import findings as swept_findings
from .sweep import sweep
from .zygotes import Interpreter

log = logging.getLogger(__name__)
#: Seconds without clusters and clients after which the keeper ends itself.
IDLE_S = "JUPYTER_OFFLOAD_KEEPER_IDLE_S"
DEFAULT_IDLE_S = 600.0
SERVER_END_TIMEOUT_S = 20.0
HOUSEKEEPING_S = 5.0
#: How often sites are swept, and how soon again where one was discovered.
SWEEP_S, SWEEP_SECOND_S, SWEEP_AGAIN_S = 600.0, 75.0, 20.0
_MOST_FINDINGS = 50


class Keeper:
    """One keeper: store, loop, sites, environments and the HTTP server on its socket."""

    store: Store
    loop: Reconciler
    clusters: Clusters

    def __init__(self) -> None:
        self.sites = SiteRegistry()
        self.environments = Environments()
        self.schedulers = Schedulers()
        self._ends_with_server = os.environ.get(ENDS_WITH_SERVER) == "1"
        self._idle_s = float(os.environ.get(IDLE_S) or DEFAULT_IDLE_S)
        self._traffic = Traffic()
        self._started_at = datetime.now(UTC)
        self._ending = asyncio.Event()
        self._sites_came = asyncio.Event()
        self._findings: list[Finding] = []
        self._broken: Broken | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # ------------------------------------------------------------ for the routes
    def health(self) -> KeeperHealth:
        """Return who answers."""
        active = 0 if self._broken else sum(not r.finished for r in self.store.all())
        return KeeperHealth(
            version=__version__, api=API_VERSION, pid=os.getpid(), host=locations.host_name(),
            started_at=self._started_at, clusters_active=active, ends_with_server=self._ends_with_server,
        )  # fmt: skip

    def findings(self) -> list[Finding]:
        """Return what happened to this keeper that its user should know."""
        return self._findings

    async def refresh_sites(self) -> None:
        """Read the site files again; tell everybody if anything changed."""
        if await self.sites.refresh():
            self._sites_came.set()
            await self.store.sites_changed()
            self._wake_all()

    async def sweep(self, entries: Iterable[SiteEntry], *, dry_run: bool = False) -> SweepReport:
        """Delete what is left at sites and belongs to no cluster that is looked after, here or on another host.

        Raises:
            OffloadError: the records cannot be read; nothing was deleted.
        """

        async def known() -> set[str]:
            if await self.store.reload_foreign():
                self._wake_all()
            return {r.id for r in self.store.all() if not r.settled}

        return await sweep(entries, known, dry_run=dry_run)

    def hand_over(self) -> None:
        """End soon, leaving the clusters to the next keeper."""
        log.info("handing over")
        asyncio.get_running_loop().call_later(0.05, self._ending.set)  # after the answer is sent

    # ------------------------------------------------------------ life
    async def run(self) -> None:
        """Serve until there is nothing to do, or a signal or a newer release ends it."""
        ended_by_system = asyncio.Event()
        loop = asyncio.get_running_loop()

        def end() -> None:
            ended_by_system.set()
            self._ending.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end)
        try:
            served = await self._open()
        except Broken as error:
            log.error("the store cannot be used: %s", error)  # noqa: TRY400  (it says all)
            self._broken = error
            served = self._refusing(error)
        server = serve(application(served, ROUTES, self._traffic), locations.socket_path())
        log.info("keeper %s of %s serves %s", __version__, locations.data_folder(), locations.socket_path())
        if self._broken is None:
            self._spawn(self._prepare_zygote())
            self._spawn(self._housekeeping())
            self._spawn(self._sweep_sites())
        self._spawn(self._end_when_idle())
        await self._ending.wait()
        await self._close(server, ended_by_system.is_set())

    async def _open(self) -> Mapping[str, Operation]:
        self.store = await Store.open(locations.data_folder() / "records.sqlite")
        await self.sites.refresh()
        self.loop = Reconciler(self.store, self.schedulers, self._backend)
        self.clusters = Clusters(
            self.store, self.loop, self.sites, self.environments, ends_with_server=self._ends_with_server
        )
        self._adoption = Adoption(self.store, self.sites, self.loop.wake)
        self.sites.in_use = lambda: {r.spec.site for r in self.store.all() if not r.settled}
        self.sites.changed = lambda: self._spawn(self.refresh_sites())
        if self.store.moved_aside is not None:
            restored = await leftovers.restore(self.store)
            self._findings.append(leftovers.recovered_finding(self.store.moved_aside, restored))
            log.error(self._findings[-1].message)
        await self.loop.start()
        return operations(self)

    def _refusing(self, error: Broken) -> Mapping[str, Operation]:
        """Answer everything with the same problem, so that every door shows it and its remedy."""

        async def refuse(_: Call) -> Answer:
            raise error

        async def health(_: Call) -> Answer:
            return Answer(self.health())

        async def hand_over(_: Call) -> Answer:
            self.hand_over()
            return Answer()

        refusing: dict[str, Operation] = {r.operation: refuse for r in ROUTES if r.door != "server"}
        return refusing | {"health": health, "handOver": hand_over}

    async def _close(self, server: PrivateServer, by_system: bool) -> None:
        server.stop()
        locations.socket_path().unlink(missing_ok=True)
        for task in list(self._tasks):
            task.cancel()
        if self._broken is None:
            if by_system and self._ends_with_server:
                log.info("the Jupyter server ends, and its clusters with it")
                await self.loop.end_all(SERVER_END_TIMEOUT_S)
            await self.loop.stop()
            await self.sites.close()
            await self.store.close()
        await self.schedulers.close(end_zygotes=True)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(server.close_all_connections(), 2)
        log.info("keeper ends")

    def _backend(self, site: str) -> Backend | None:
        try:
            return self.sites.get(site).backend
        except OffloadError:
            return None

    def _wake_all(self) -> None:
        for record in self.store.all():
            self.loop.wake(record.id)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("background work failed", exc_info=task.exception())

    # ------------------------------------------------------------ in the background
    async def _prepare_zygote(self) -> None:
        try:
            self._findings += await leftovers.sweep(self.store)
            environment = await self.environments.resolve(None)
            variables = self.environments.variables(environment.name)
            await self.schedulers.zygotes.prepare(Interpreter(environment.python, variables))
        except OffloadError as error:
            log.info("no zygote for the default environment: %s", error)

    async def _housekeeping(self) -> None:
        """See what keepers on other hosts changed, and forget what is old."""
        while True:
            await asyncio.sleep(HOUSEKEEPING_S)
            try:
                for record in leftovers.outdated(self.store.all(), time.time()):
                    await self.clusters.delete(record.id, None)
                if await self.store.reload_foreign():
                    self._wake_all()
                await self._adoption.look()
            except OffloadError as error:
                log.warning("%s", error)

    async def _sweep_sites(self) -> None:
        """Look for what earlier keepers left: at the start, now and then, and when a site was discovered."""
        pause_s = SWEEP_SECOND_S  # what is younger than a minute is left alone the first time
        while True:
            try:
                await self.refresh_sites()
                self._sites_came.clear()
                report = await self.sweep(self.sites.all())
            except OffloadError as error:
                log.warning("sites were not swept: %s", error)
            else:
                told = [f for f in swept_findings(report) if f not in self._findings]
                self._findings = [*self._findings, *told][-_MOST_FINDINGS:]
            await asyncio.sleep(SWEEP_AGAIN_S)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._sites_came.wait(), pause_s - SWEEP_AGAIN_S)
            pause_s = SWEEP_S

    async def _end_when_idle(self) -> None:
        idle_since = time.monotonic()
        while True:
            await asyncio.sleep(min(1.0, self._idle_s / 4))
            busy = self._traffic.under_way or (self._broken is None and self.loop.busy())
            idle_since = time.monotonic() if busy else max(idle_since, self._traffic.last_at)
            if time.monotonic() - idle_since > self._idle_s:
                log.info("nothing to do for %.0f s", self._idle_s)
                self._ending.set()
                return


def run() -> None:
    """Run the keeper in this process."""

    async def main() -> None:
        await Keeper().run()

    asyncio.run(main())
