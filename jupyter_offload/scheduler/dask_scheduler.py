"""Dask's scheduler with what a cluster without nannies and without a TCP dashboard needs different."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import distributed

from .dashboard import PrivateDashboard

log = logging.getLogger("offload.scheduler")

#: Called with address, old and new status of a worker.
StatusHook = Callable[[str, str, str], None]
#: Called with the address of a new worker; true once it answered.
Reach = Callable[[str], Awaitable[bool]]
#: Called with name and versions of a worker that asks to join; what to answer to one that must not.
Vet = Callable[[str, Mapping[str, Any] | None], dict[str, Any] | None]


class Scheduler(PrivateDashboard, distributed.Scheduler):  # type: ignore[misc]
    """A scheduler whose local workers are started again by a supervisor. (Dask reads configuration by the class name.)

    A worker is let in if ``vet`` has nothing against it, and gets tasks only after ``reach`` found that it answers.
    ``restarting`` holds addresses of workers that a client asked to restart.
    """

    def __init__(
        self,
        *args: Any,
        vet: Vet,
        reach: Reach,
        status_hook: StatusHook,
        is_local: Callable[[str], bool],
        **kwargs: Any,
    ) -> None:
        self.restarting: set[str] = set()
        self.reached: set[str] = set()
        self._vet = vet
        self._reach = reach
        self._reaching: dict[str, asyncio.Task[None]] = {}
        self._status_hook = status_hook
        self._is_local = is_local
        super().__init__(*args, **kwargs)
        # The keeper alone decides when a cluster ends, whatever the user's Dask configuration says.
        self.idle_timeout = None

    async def add_worker(self, comm: Any, **told: Any) -> None:
        """Let a worker in, or tell it why not, as Dask does when a name is taken: then it ends by itself.

        Local workers are forks of what the scheduler is a fork of, whatever was installed since.
        """
        name = str(told.get("name"))
        if not self._is_local(name) and (answer := self._vet(name, told.get("versions"))) is not None:
            await comm.write(answer)
            return
        await super().add_worker(comm, **told)

    def handle_worker_status_change(self, status: Any, worker: Any, stimulus_id: str) -> None:
        """Hold a new worker back until it was reached, and tell the hook of every change."""
        state = self.workers.get(worker) if isinstance(worker, str) else worker
        if state is None:
            return
        new = status if isinstance(status, str) else status.name
        if new == "running" and state.address not in self.reached:
            if state.address not in self._reaching:
                self._reaching[state.address] = asyncio.ensure_future(self._admit(state, stimulus_id))
            return
        before = state.status.name
        super().handle_worker_status_change(status, worker, stimulus_id)
        if state.status.name != before:
            self._status_hook(state.address, before, state.status.name)

    async def _admit(self, state: Any, stimulus_id: str) -> None:
        """Let a worker in if it answers; close it if not, since its results could never be fetched."""
        address = state.address
        reached = await self._reach(address)
        self._reaching.pop(address, None)
        if self.workers.get(address) is not state:
            return
        if reached:
            self.reached.add(address)
            self.handle_worker_status_change("running", state, stimulus_id)
        else:
            await self.remove_worker(address, expected=True, stimulus_id=f"offload-unreachable-{time.time()}")

    async def remove_worker(self, address: str, **kwargs: Any) -> Any:
        """Forget that this address was reached: the next worker there is another one."""
        self.reached.discard(address)
        if (task := self._reaching.pop(address, None)) is not None and task is not asyncio.current_task():
            task.cancel()
        return await super().remove_worker(address, **kwargs)

    async def restart_workers(self, workers: list[str] | None = None, **kwargs: Any) -> dict[str, str]:
        """Restart workers as with nannies: they leave, the supervisor starts them again, Dask waits for them."""
        asked = set(self.workers if workers is None else workers)
        self.restarting |= asked
        try:
            answers: dict[str, str] = await super().restart_workers(workers, **kwargs)
        finally:
            self.restarting -= asked
        return {address: "OK" if answer == "removed" else answer for address, answer in (answers or {}).items()}

    def identity(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Tell clients that local workers can be restarted, and give their HTML view a dashboard port to print."""
        identity: dict[str, Any] = super().identity(*args, **kwargs)
        for worker in identity["workers"].values():
            if worker["nanny"] is None and self._is_local(str(worker["name"])):
                worker["nanny"] = "supervisor"
        identity["services"] = {"dashboard": 0, **identity["services"]}
        return identity


class WithoutNannyAdvice(logging.Filter):
    """Drops Dask's warning that workers without a nanny stay away after a restart: ours come back."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return False for that one warning."""
        return "do not use a nanny and will be terminated" not in record.getMessage()
