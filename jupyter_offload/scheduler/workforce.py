"""The local workers as the scheduler process sees them: how many there should be, and which go first."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .line import Message, encode
from .slots import Cause

if TYPE_CHECKING:
    from .dask_scheduler import Scheduler
    from .journal import Journal

log = logging.getLogger("offload.workforce")

#: Data that could not be moved off a retiring worker by then is computed again.
RETIRE_TIMEOUT_S = 300.0


@dataclass
class LocalWorker:
    """One slot of the supervisor, as it last reported."""

    name: str
    state: str = "starting"  # starting | connected | failed
    pid: int | None = None
    restarts: int = 0
    message: str | None = None
    retiring: bool = False


class Workforce:
    """Speaks with the supervisor and holds the target."""

    def __init__(self, journal: Journal, initial: int) -> None:
        self._journal = journal
        self._writer: asyncio.StreamWriter | None = None
        self._scheduler: Scheduler | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._leaving: set[str] = set()  # names that are being retired
        self.stop_asked = asyncio.Event()
        self.workers: dict[str, LocalWorker] = {f"w{i}": LocalWorker(f"w{i}") for i in range(initial)}

    @property
    def target(self) -> int:
        """How many local workers there should be."""
        return len(self._staying())

    def attach(self, scheduler: Scheduler, writer: asyncio.StreamWriter) -> None:
        """Begin to speak with the supervisor."""
        self._scheduler, self._writer = scheduler, writer

    def is_local(self, name: str) -> bool:
        """Whether the supervisor of this cluster runs that worker."""
        return name in self.workers

    def tell(self, **message: Any) -> None:
        """Send one message to the supervisor."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(encode(message))

    async def listen(self, reader: asyncio.StreamReader) -> None:
        """Take in what the supervisor reports, until it is gone."""
        while line := await reader.readline():
            self._take(json.loads(line))

    def _take(self, message: Message) -> None:
        if message["op"] == "event":
            self._journal.add(message["level"], message["code"], message["message"], message["worker"])
        elif message["op"] == "stop":
            self.stop_asked.set()
        elif message["op"] == "slot":
            name, state = message["name"], message["state"]
            if state == "gone":
                self.workers.pop(name, None)
            else:
                worker = self.workers.setdefault(name, LocalWorker(name))
                worker.state, worker.pid = state, message["pid"]
                worker.restarts, worker.message = message["restarts"], message["message"] or worker.message
            self._journal.changed()

    # ------------------------------------------------------------ scaling
    def scale(self, workers: int) -> int:
        """Start or retire workers until ``workers`` stay; return the target. Data is moved in the background."""
        staying = self._staying()
        if workers > len(staying):
            self._add(workers - len(staying))
        elif workers < len(staying):
            self._retire(sorted(staying, key=self._how_busy)[: len(staying) - workers])
        return self.target

    def _staying(self) -> list[LocalWorker]:
        return [worker for worker in self.workers.values() if not worker.retiring]

    def _add(self, count: int) -> None:
        names: list[str] = []
        index = 0
        while len(names) < count:
            if (name := f"w{index}") not in self.workers:
                names.append(name)
                self.workers[name] = LocalWorker(name)
            index += 1
        self.tell(op="start", names=names)
        self._journal.changed()

    def _how_busy(self, worker: LocalWorker) -> tuple[int, int, int, int, int]:
        """Sort key, first to go first: failed, starting, idle, little data, youngest name."""
        state = self._dask_state(worker.name)
        index = -int(worker.name[1:])
        if state is None:
            return (0, int(worker.state != "failed"), 0, 0, index)
        return (1, len(state.long_running), len(state.processing), state.nbytes, index)

    def _dask_state(self, name: str) -> Any:
        assert self._scheduler is not None
        address = self._scheduler.aliases.get(name)
        return self._scheduler.workers.get(address) if address else None

    def _retire(self, workers: Iterable[LocalWorker]) -> None:
        connected = []
        for worker in workers:
            worker.retiring = True
            if self._dask_state(worker.name) is None:
                self.tell(op="retired", name=worker.name)
            else:
                connected.append(worker.name)
        if connected:
            task = asyncio.ensure_future(self.retire_connected(connected))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._journal.changed()

    async def retire_connected(self, names: list[str]) -> None:
        """Move data off these workers and close them; what cannot be moved is computed again where it is needed."""
        assert self._scheduler is not None
        addresses = {self._scheduler.aliases[name]: name for name in names if name in self._scheduler.aliases}
        retired: dict[str, Any] = {}
        self._leaving |= set(addresses.values())
        try:
            retired = await asyncio.wait_for(
                self._scheduler.retire_workers(workers=list(addresses), close_workers=True, remove=True),
                RETIRE_TIMEOUT_S,
            )
        except Exception:  # whatever Dask does here, the workers have to go
            log.exception("Retiring %s failed", ", ".join(addresses.values()))
        for address, name in addresses.items():
            moved = address in retired or address not in self._scheduler.workers
            if not moved:
                await self._scheduler.remove_worker(address, expected=True, stimulus_id=f"offload-retire-{time.time()}")
            end = "" if moved else " Its data could not be moved; it is computed again where it is needed."
            self._journal.add("info", "worker-retired", f"{name} was retired.{end}", name)
            self.tell(op="retired", name=name)
        self._leaving -= set(addresses.values())

    # ------------------------------------------------------------ what the plugin sees
    def connected(self, name: str, pid: int) -> None:
        """Note that the scheduler reached a worker."""
        if worker := self.workers.get(name):
            worker.state, worker.message = "connected", None
            self.tell(op="connected", name=name, pid=pid)

    def left(self, name: str, *, by_client: bool) -> bool:
        """Note that a worker left the scheduler; return whether somebody else says why."""
        worker = self.workers.get(name)
        if worker is None:
            return name in self._leaving
        if not worker.retiring:
            worker.state = "starting"
            cause = Cause.client_restart if by_client else Cause.lost_contact
            self.tell(op="replace", name=name, pid=worker.pid, cause=cause)
        return True
