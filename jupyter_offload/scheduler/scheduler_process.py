"""The process of one cluster's Dask scheduler: scheduler, control socket, dashboard."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from typing import Any

from distributed.security import Security
from tornado.ioloop import PeriodicCallback

from . import preload
from .control import ControlServer, Refused, number
from .dashboard import leave_out_unwanted_routes
from .dask_scheduler import Scheduler, WithoutNannyAdvice
from .files import write_json
from .journal import Journal
from .launch import MAXIMUM_WORKERS, PROTOCOL, Launch
from .modules import import_modules
from .plugin import OffloadPlugin
from .process import process_start
from .relay_door import RelayDoor, configure
from .status import status
from .workforce import Workforce

log = logging.getLogger("offload.scheduler")

_LONGEST_WAIT_S = 300.0
_DEFAULT_GRACE_S = 10.0
_LOOK_MS = 500
#: The dashboard's imports take a second where no zygote made them; the first worker and client come first.
_DASHBOARD_DELAY_S = 1.0


class SchedulerProcess:
    """Joins scheduler, supervisor, keeper and dashboard in one event loop."""

    def __init__(self, launch: Launch, line: socket.socket) -> None:
        self._launch = launch
        self._line = line
        self._journal = Journal()
        self._workforce = Workforce(self._journal, launch.workers)
        self._plugin = OffloadPlugin(self._journal, self._workforce)
        self._tasks: list[asyncio.Task[None]] = []
        self._door = RelayDoor(launch.relay, launch.tls, self._journal) if launch.relay is not None else None

    async def run(self) -> None:
        """Run until stopped by the keeper, by the supervisor or by a client."""
        scheduler = self._scheduler = self._make_scheduler()
        reader, writer = await asyncio.open_connection(sock=self._line)
        self._workforce.attach(scheduler, writer)
        await scheduler
        self._workforce.tell(op="listening", address=scheduler.address)
        control = ControlServer(self._operations())
        await control.listen(self._launch.control_socket)
        self._announce()
        self._workforce.tell(op="ready")
        looking = PeriodicCallback(self._look, _LOOK_MS)
        looking.start()
        self._start(self._follow_supervisor(reader))
        self._start(self._close_when_asked())
        self._start(self._import_modules())
        if self._launch.dashboard:
            self._start(self._serve_dashboard())
        if self._door is not None:
            self._start(self._door.open(scheduler))
        await scheduler.finished()
        looking.stop()
        control.close()
        for task in self._tasks:
            task.cancel()
        log.info("The scheduler has ended")

    def _look(self) -> None:
        self._plugin.look_at_spilling()
        if self._door is not None:
            self._door.look()

    def _make_scheduler(self) -> Scheduler:
        tls = self._launch.tls
        if self._launch.relay is not None:
            configure(self._launch.relay)
        security = Security(
            tls_ca_file=tls.ca_file,
            tls_scheduler_cert=tls.scheduler_file,
            tls_scheduler_key=tls.scheduler_file,
            require_encryption=True,
        )
        leave_out_unwanted_routes()
        logging.getLogger("distributed.scheduler").addFilter(WithoutNannyAdvice())
        return Scheduler(
            host=self._launch.host,
            port=0,
            protocol="tls",
            security=security,
            dashboard=False,  # made when somebody asks, see dashboard.py
            local_directory=str(self._launch.spill),
            plugins=[self._plugin],
            vet=self._plugin.arrivals.vet,
            reach=self._plugin.reach,
            status_hook=self._plugin.status_changed,
            is_local=self._workforce.is_local,
        )

    def _announce(self) -> None:
        address, tls = self._scheduler.address, self._launch.tls
        files = {"ca_file": tls.ca_file, "cert_file": tls.client_file, "key_file": tls.client_file}
        connection = {"id": self._launch.id, "name": self._launch.name, "scheduler_address": address, "tls": files,
                      "address": address, "type": "Scheduler", "workers": {},
                      "versions": self._plugin.arrivals.versions}  # fmt: skip
        write_json(self._launch.folder / "connection.json", connection)
        me, supervisor = os.getpid(), os.getppid()
        ready = {
            "protocol": PROTOCOL,
            "supervisor": {"pid": supervisor, "start": process_start(supervisor)},
            "scheduler": {"pid": me, "start": process_start(me)},
            "scheduler_address": address,
        }
        write_json(self._launch.runtime / "ready.json", ready)

    def _start(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.append(task)
        task.add_done_callback(_log_failure)

    async def _follow_supervisor(self, reader: asyncio.StreamReader) -> None:
        await self._workforce.listen(reader)
        log.warning("The supervisor is gone")
        await self._scheduler.close(reason="supervisor-gone")

    async def _close_when_asked(self) -> None:
        await self._workforce.stop_asked.wait()
        await self._scheduler.close(reason="cluster-stopped")

    async def _import_modules(self) -> None:
        names = self._launch.scheduler_modules
        if names:
            failed = await asyncio.to_thread(import_modules, names)
            for name, why in failed.items():
                self._plugin.module_failed(name, why, None)

    async def _serve_dashboard(self) -> None:
        if not preload.dashboard_is_imported():
            await asyncio.sleep(_DASHBOARD_DELAY_S)
            if not await asyncio.to_thread(preload.import_dashboard):
                log.info("No dashboard: this environment has no bokeh that suits its Dask")
                return
        self._scheduler.serve_dashboard(self._launch.dashboard_socket)
        self._journal.changed()

    # ------------------------------------------------------------ control
    def _operations(self) -> dict[str, Any]:
        return {"hello": self._hello, "status": self._status, "scale": self._scale, "retire": self._retire,
                "wait": self._wait, "stop": self._stop}  # fmt: skip

    async def _hello(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"protocol": PROTOCOL, "versions": self._plugin.arrivals.versions, "pid": os.getpid()}

    async def _status(self, request: dict[str, Any]) -> dict[str, Any]:
        since = int(number(request, "events_since", 0, 0, 2**53))
        told = status(self._scheduler, self._workforce, self._plugin, self._journal, self._launch.worker, since)
        return told | {"relay": self._door.state() if self._door is not None else None}

    async def _scale(self, request: dict[str, Any]) -> dict[str, Any]:
        workers = number(request, "workers", None, 0, MAXIMUM_WORKERS)
        if workers != int(workers):
            raise Refused("bad-request", f"workers {workers!r} is no whole number")
        return {"target": self._workforce.scale(int(workers))}

    async def _retire(self, request: dict[str, Any]) -> dict[str, Any]:
        names = request.get("names")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise Refused("bad-request", f"names {names!r} is no list of names of workers")
        local = [name for name in names if self._workforce.is_local(name)]
        if local:
            raise Refused("bad-request", f"{', '.join(local)}: local workers are retired by scale")
        self._start(self._workforce.retire_connected(names))
        return {"names": names}

    async def _wait(self, request: dict[str, Any]) -> dict[str, Any]:
        since = int(number(request, "since", None, 0, 2**53))
        timeout_s = number(request, "timeout_s", 30, 0, _LONGEST_WAIT_S)
        await self._journal.wait(since, timeout_s)
        return {"sequence": self._journal.sequence}

    async def _stop(self, request: dict[str, Any]) -> dict[str, Any]:
        grace_s = number(request, "grace_s", _DEFAULT_GRACE_S, 0, 600)
        self._workforce.tell(op="stop", grace_s=grace_s)  # it answers with "stop", once it knows who goes on purpose
        return {}


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("A part of this process failed", exc_info=error)


def main(launch: Launch, line: socket.socket) -> int:
    """Be the scheduler process; return its exit status."""

    async def run() -> None:
        await SchedulerProcess(launch, line).run()

    asyncio.run(run())
    return 0
