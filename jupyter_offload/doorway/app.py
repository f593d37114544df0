"""Composition of the doorway, and its own life: serve where a keeper would, end when nobody asks."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import os
import signal
import time
from collections.abc import Coroutine, Mapping
from typing import Any

import httpx

from .. import __version__
from ..api import locations
from ..api.models import ClusterList, Connection, DashboardTarget, KeeperHealth, Phase
from ..api.problems import OffloadError
from ..api.routes import API_VERSION
from ..keeper.app import DEFAULT_IDLE_S, IDLE_S
from ..keeper.door import Streams
from ..keeper.http import Traffic, serve
from . import connections, identity, placing
from .dashboards import Dashboards
from .keeping import Keeping, NotYet
from .serving import application
from .wire import Distrust

log = logging.getLogger(__name__)
HOUSEKEEPING_S = 15.0
#: How often the door's certificate is looked at.
CERTIFICATES_S = 3600.0


class Doorway:
    """One doorway: holds the place of a keeper on this host while the keeper itself is in its pod."""

    def __init__(self) -> None:
        self.keeping = Keeping(self.end_soon)
        self.traffic = Traffic()
        self._dashboards = Dashboards(self._enter_dashboard)
        self._clusters: dict[str, str] = {}
        self._idle_s = float(os.environ.get(IDLE_S) or DEFAULT_IDLE_S)
        self._ending = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._token = ""
        self._token_of: placing.Place | None = None
        self._certificates_at = float("-inf")
        self._started_at = datetime.datetime.now(datetime.UTC)

    # ------------------------------------------------------------ for the requests
    async def health(self) -> KeeperHealth:
        """Return who answers here, which is who is asked to make room for a newer release; and what the keeper says."""
        own = KeeperHealth(
            version=__version__, api=API_VERSION, pid=os.getpid(), host=locations.host_name(),
            started_at=self._started_at, clusters_active=0, ends_with_server=False,
        )  # fmt: skip
        if (place := self.keeping.present) is None:
            return own
        try:
            found = await place.wire.health()
        except (httpx.TransportError, Distrust):
            return own
        self.keeping.unfinished = found.clusters_active > 0
        return found.model_copy(
            update={"version": own.version, "api": own.api, "pid": own.pid, "ends_with_server": False}
        )

    def end_soon(self) -> None:
        """End, leaving the keeper to the next doorway: which may be of a newer release, or have to make another pod."""
        log.info("ending")
        asyncio.get_running_loop().call_later(0.05, self._ending.set)  # after the answer is sent

    async def connection(self, document: Mapping[str, Any]) -> Connection:
        """Return a connection with its files on this host."""
        place = await self.keeping.place()
        answer, (_, writer) = await place.wire.operate(op="files", cluster=document["id"])
        writer.close()
        moved = await asyncio.to_thread(connections.keep, document, answer["files"])
        return Connection.model_validate(moved)

    async def dashboard(self, document: Mapping[str, Any], asked: str) -> DashboardTarget:
        """Return a dashboard with a socket on this host; ``asked`` is the cluster as the request's path has it."""
        there = str(document["socket"])
        if there not in self._clusters:
            found = await self.keeping.send("GET", f"/clusters/{asked}", {}, b"")
            self._clusters[there] = str(found.json()["id"])
        socket = await self._dashboards.socket(self._clusters[there])
        return DashboardTarget.model_validate({**document, "socket": str(socket)})

    async def _enter_dashboard(self, cluster: str) -> Streams:
        try:
            place = self.keeping.now()
        except NotYet as error:
            raise error.problem from error
        _, streams = await place.wire.operate(op="dashboard", cluster=cluster)
        return streams

    async def hand_over_token(self) -> None:
        """Bring the session's token for the relay to the pod, if it has a new one. Best effort: without it the card tells."""
        place = self.keeping.present
        token = await asyncio.to_thread(_read, locations.relay_token_path())
        if place is None or not token or (token == self._token and self._token_of is place):
            return
        try:
            _, (_, writer) = await place.wire.operate(op="token", token=token)
        except OffloadError as error:
            log.info("the token was not handed over: %s", error)
            return
        writer.close()
        self._token, self._token_of = token, place

    # ------------------------------------------------------------ life
    async def run(self) -> None:
        """Serve until nobody asks, or a signal or a newer release ends it."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ending.set)
        server = serve(application(self), locations.socket_path())
        log.info("doorway of %s serves %s", locations.data_folder(), locations.socket_path())
        self.keeping.begin()
        self._spawn(self._housekeeping())
        self._spawn(self._end_when_idle())
        await self._ending.wait()
        server.stop()
        locations.socket_path().unlink(missing_ok=True)
        for task in list(self._tasks):
            task.cancel()
        await self._dashboards.close()
        await self.keeping.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(server.close_all_connections(), 2)
        log.info("doorway ends")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end_when_idle(self) -> None:
        idle_since = time.monotonic()
        while True:
            await asyncio.sleep(min(1.0, self._idle_s / 4))
            busy = self.traffic.under_way or self._dashboards.watched
            idle_since = time.monotonic() if busy else max(idle_since, self.traffic.last_at)
            if time.monotonic() - idle_since > self._idle_s:
                log.info("nothing to do for %.0f s", self._idle_s)
                self._ending.set()
                return

    async def _housekeeping(self) -> None:
        while True:
            await asyncio.sleep(HOUSEKEEPING_S)
            place = self.keeping.present
            if place is None:
                continue
            try:
                await self._forget_what_ended()
                await self._make_room(place)
                if time.monotonic() - self._certificates_at > CERTIFICATES_S:
                    self._certificates_at = time.monotonic()
                    await self._renew(place)
            except NotYet:
                continue
            except (OffloadError, OSError, httpx.TransportError, Distrust) as error:
                log.warning("%s", error)

    async def _forget_what_ended(self) -> None:
        here = await asyncio.to_thread(connections.known)
        if not here:
            return  # asking would keep an idle keeper for ever
        found = await self.keeping.send("GET", "/clusters", {}, b"", watching=True)
        listed = ClusterList.model_validate_json(found.content)
        living = {c.id for c in listed.clusters if c.phase not in (Phase.stopped, Phase.failed)}
        await asyncio.to_thread(connections.forget, set(here) - living)

    async def _make_room(self, place: placing.Place) -> None:
        """Replace a keeper of an older release as soon as no cluster would end by that."""
        if place.by_older and (await place.wire.health()).clusters_active == 0:
            await placing.hand_over(place)
            self.keeping.lose(place)

    async def _renew(self, place: placing.Place) -> None:
        left = await place.wire.certificate_ends_at() - datetime.datetime.now(datetime.UTC)
        if left < identity.RENEWED_BEFORE:
            await placing.renew_certificate(place)
        if place.wire.age > identity.RENEWED_BEFORE:
            self.keeping.lose(place)  # the next request comes with a new certificate


def _read(path: Any) -> str:
    try:
        return str(path.read_text(encoding="utf-8")).strip()
    except OSError:
        return ""


def run() -> None:
    """Run the doorway in this process."""

    async def main() -> None:
        await Doorway().run()

    asyncio.run(main())
