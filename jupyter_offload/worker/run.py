"""The life of a worker at a site: a nanny that finds its scheduler or says why not, and that ends by itself when it should.

The nanny keeps the memory limit and restarts its worker, as everywhere with Dask. What is added: it tries again while the relay
is away, hands its data on when the site ends it or its time is over, and never stays behind without a worker or a scheduler.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import dask.config
import distributed
from distributed.core import Status

from .endings import NOT_CONNECTED, Ended, say
from .inside import Worker
from .job import WorkerJob
from .why import last_heard, lost, refusal_of, why_not_connected

#: Data that was not handed on by then is computed again. Kubernetes kills 30 s after it asked.
HAND_OVER_S = 20.0
_CLOSE_S = 5.0
_PAUSE_S = 2.0
_LOOK_S = 1.0
#: A lifetime ends up to this part of it early, so that workers of one size do not all go at once.
_STAGGER, _STAGGER_MOST_S = 0.1, 60.0
#: What a shell says of a process that SIGTERM ended.
_BY_SIGTERM = 128 + signal.SIGTERM


class Nanny(distributed.Nanny):  # type: ignore[misc]
    """A nanny that remembers why its worker said it would go. (Dask reads configuration by the class name.)"""

    ended_because = ""

    def close_gracefully(self, reason: str = "nanny-close-gracefully") -> None:
        """Start the worker no more."""
        self.ended_because = self.ended_because or reason
        super().close_gracefully(reason=reason)


def run(job: WorkerJob, scratch: Path, began: float) -> int:
    """Run the worker until it ends; return the exit status.

    Args:
        job: what it is told.
        scratch: a private folder.
        began: ``time.monotonic`` of when the job began.

    Raises:
        Ended: it did not join its scheduler, or lost it.
    """
    dask.config.update(dask.config.config, job.dask_config, priority="new")
    # Counted from the start of the job, whatever Dask would count from the start of its worker.
    dask.config.set({"distributed.worker.lifetime.duration": None})
    return asyncio.run(_Life(job, scratch, began).run())


class _Life:
    def __init__(self, job: WorkerJob, scratch: Path, began: float) -> None:
        self._job = job
        self._scratch = scratch
        self._began = began
        self._told = asyncio.Event()
        self._status = 0

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._tell, _BY_SIGTERM, f"the site sent {number.name}")
        nanny = await self._unless_told(self._join())
        if nanny is None:
            return self._status
        say(f"joined {self._job.scheduler_address} as {nanny.worker_address}")
        if (left_s := self._left_s()) is not None:
            loop.call_later(left_s, self._tell, 0, "its lifetime is over")
        gone = await self._unless_told(self._until_gone(nanny))
        if gone is None:
            await self._hand_over(nanny)
            return self._status
        if gone:
            raise Ended(NOT_CONNECTED, gone, "Read its log; the scheduler's timeline may say more.")
        return 0

    def _tell(self, status: int, why: str) -> None:
        say(f"{why}; ending")
        self._status = status
        self._told.set()

    async def _unless_told(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Return the result of ``work``, or None when the worker was told to end before; then ``work`` is cancelled."""
        task, told = asyncio.ensure_future(work), asyncio.ensure_future(self._told.wait())
        await asyncio.wait([task, told], return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if task.done():
            return task.result()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, TimeoutError):
            await asyncio.wait_for(asyncio.shield(asyncio.gather(task, return_exceptions=True)), _CLOSE_S)
        return None

    def _left_s(self) -> float | None:
        lifetime_s = self._job.lifetime_s
        if lifetime_s is None:
            return None
        early_s = random.uniform(0, min(_STAGGER_MOST_S, lifetime_s * _STAGGER))  # noqa: S311  (no secret)
        return max(0.0, self._began + lifetime_s - early_s - time.monotonic())

    # ------------------------------------------------------------ joining
    async def _join(self) -> Nanny:
        """Return the nanny once its worker is registered. Tries again while there is time: a relay may be restarting."""
        deadline = self._began + self._job.death_timeout_s
        while True:
            nanny = self._nanny(max(1.0, deadline - time.monotonic()))
            try:
                await nanny.start()
            except asyncio.CancelledError:
                await nanny.close(timeout=_CLOSE_S)
                raise
            except Exception as error:
                await nanny.close(timeout=_CLOSE_S)
                if (refusal := refusal_of(error)) is not None:
                    raise Ended(refusal.code, refusal.message, refusal.hint) from error
                if time.monotonic() + _PAUSE_S >= deadline:
                    ending = await asyncio.to_thread(why_not_connected, self._job, error)
                    raise Ended(ending.code, ending.message, ending.hint) from error
                say(f"not connected yet ({last_heard(error)}); trying again")
                await asyncio.sleep(_PAUSE_S)
            else:
                nanny.death_timeout = self._job.death_timeout_s  # for the starts that follow
                return nanny

    def _nanny(self, death_timeout_s: float) -> Nanny:
        job = self._job
        return Nanny(
            job.scheduler_address,
            name=job.name,
            nthreads=job.cores,
            memory_limit=job.memory_limit_bytes,
            host=job.host,
            protocol=job.scheduler_address.partition("://")[0],
            local_directory=str(self._scratch),
            death_timeout=death_timeout_s,
            resources=dict(job.resources) or None,
            worker_class=Worker,
            dashboard=False,
            modules=list(job.modules),
        )

    # ------------------------------------------------------------ the end
    async def _until_gone(self, nanny: Nanny) -> str:
        """Return once the worker is over: why, as a sentence, or nothing when the scheduler wanted it."""
        alive_at = time.monotonic()
        while nanny.status != Status.closed:
            if nanny.is_alive():
                alive_at = time.monotonic()
            elif time.monotonic() - alive_at > self._job.death_timeout_s:
                await nanny.close(timeout=_CLOSE_S)
                return f"The worker died and could not be started again within {self._job.death_timeout_s:g} s."
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(nanny.finished(), _LOOK_S)
        return lost(nanny.ended_because)

    async def _hand_over(self, nanny: Nanny) -> None:
        """Move the worker's data to others, then close it."""
        address = nanny.worker_address
        nanny.close_gracefully(reason="site-ends-worker")
        if address is not None:
            try:
                moving = nanny.scheduler.retire_workers(
                    workers=[address], close_workers=False, remove=True, stimulus_id=f"offload-site-{time.time()}"
                )
                await asyncio.wait_for(moving, HAND_OVER_S)
            except Exception as error:  # whatever Dask does here, the worker has to go
                say(f"its data could not be handed on: {error or 'no time left'}")
        await nanny.close(timeout=_CLOSE_S, reason="site-ends-worker")
