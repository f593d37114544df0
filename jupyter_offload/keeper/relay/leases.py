"""A lease at the relay for each cluster: taken when it starts, renewed well before its end, given back when it is over.

Trying again is here and not in the cluster's own task, so that a relay that hangs holds up nothing. A lease that cannot be had
ends no cluster: workers wait, and the card says why.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from ...api.models import Reason
from ..store.records import Record
from .problems import RelayProblem, unreachable

log = logging.getLogger(__name__)
TIMEOUT_S = 20.0
#: Part of a lease after which it is renewed, different each time, so that a facility's keepers do not come all at once.
_RENEW = (0.3, 0.5)
_FIRST_RETRY_S, _LONGEST_RETRY_S = 0.5, 30.0
#: A renewal that fails is worth telling once this part of the lease is left.
_TELL = 0.34

#: Takes or renews the lease of a cluster; returns until when it is valid, in seconds since the epoch.
Admit = Callable[[Record], Awaitable[float]]
Withdraw = Callable[[Record], Awaitable[None]]


@dataclass
class _Lease:
    record: Record
    task: asyncio.Task[None] | None = None
    again: asyncio.Event = field(default_factory=asyncio.Event)
    admitted_at: float = 0
    expires_at: float = 0
    problem: Reason | None = None


class Leases:
    """Leases by cluster.

    Args:
        admit: takes or renews one.
        withdraw: gives one back.
        wake: has a cluster looked at, because something about its lease is new.
    """

    def __init__(self, admit: Admit, withdraw: Withdraw, wake: Callable[[str], None]) -> None:
        self._admit = admit
        self._withdraw = withdraw
        self._wake = wake
        self._leases: dict[str, _Lease] = {}
        self._withdrawing: dict[str, asyncio.Task[None]] = {}

    def keep(self, record: Record) -> None:
        """See that a cluster has a lease from now on; idempotent."""
        lease = self._leases.setdefault(record.id, _Lease(record))
        lease.record = record
        if lease.task is None:
            lease.task = asyncio.create_task(self._keep(lease), name=f"lease {record.id}")

    def problem(self, record_id: str) -> Reason | None:
        """Return why a cluster has no lease, or is about to lose it; None while all is well."""
        lease = self._leases.get(record_id)
        if lease is None or lease.problem is None:
            return None
        left_s, whole_s = lease.expires_at - time.time(), lease.expires_at - lease.admitted_at
        return lease.problem if left_s < whole_s * _TELL else None

    def take_again(self, record_id: str | None = None) -> None:
        """Take a lease anew: of one cluster, since there is something to tell, or all, since a new relay knows none."""
        for lease in self._leases.values():
            if record_id is None:
                lease.expires_at = 0
            if record_id in (None, lease.record.id):
                lease.again.set()

    async def give_back(self, record: Record) -> None:
        """Let the relay forget a cluster that is over. What cannot be told now is told later, until the lease is over."""
        lease = self._leases.pop(record.id, None)
        if lease is not None and lease.task is not None:
            lease.task.cancel()
            await asyncio.gather(lease.task, return_exceptions=True)
        until = max(lease.expires_at if lease else 0, time.time() + (record.relay.lease_s if record.relay else 0))
        if record.id not in self._withdrawing:
            task = asyncio.create_task(self._give_back(record, until), name=f"lease {record.id} ends")
            self._withdrawing[record.id] = task
            task.add_done_callback(lambda _: self._withdrawing.pop(record.id, None))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._withdrawing[record.id]), TIMEOUT_S / 4)

    async def stop(self) -> None:
        """Stop renewing; the leases go on until they are over, or the next keeper renews them."""
        tasks = [*(x.task for x in self._leases.values() if x.task is not None), *self._withdrawing.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._leases.clear()

    # ------------------------------------------------------------ one cluster
    async def _keep(self, lease: _Lease) -> None:
        retry_s = _FIRST_RETRY_S
        while True:
            lease.again.clear()
            try:
                expires_at = await self._attempt(lease.record)
            except RelayProblem as problem:
                self._note(lease, problem.reason)
                pause_s = random.uniform(retry_s / 2, retry_s)  # noqa: S311  (no secret hangs on it)
                retry_s = min(retry_s * 2, _LONGEST_RETRY_S)
            else:
                lease.admitted_at, lease.expires_at = time.time(), expires_at
                self._note(lease, None)
                pause_s = max(1.0, (expires_at - time.time()) * random.uniform(*_RENEW))  # noqa: S311
                retry_s = _FIRST_RETRY_S
            await _wait(lease.again, pause_s)

    async def _attempt(self, record: Record) -> float:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._admit(record)
        except TimeoutError as error:
            raise unreachable(f"The relay did not admit the cluster within {TIMEOUT_S:.0f} s.") from error
        except RelayProblem:
            raise
        except Exception as error:  # whatever it is: the lease must be tried for again
            expected = isinstance(error, OSError)
            log.warning("cluster %s has no lease", record.id, exc_info=None if expected else error)
            raise unreachable(
                f"The cluster cannot be admitted at the relay: {error or type(error).__name__}."
            ) from error

    def _note(self, lease: _Lease, problem: Reason | None) -> None:
        before, lease.problem = lease.problem, problem
        if before != problem:
            if problem is not None:
                log.warning("cluster %s: %s", lease.record.id, problem.message)
            self._wake(lease.record.id)

    async def _give_back(self, record: Record, until: float) -> None:
        pause_s = _FIRST_RETRY_S
        while True:
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    await self._withdraw(record)
            except (RelayProblem, OSError) as error:  # TimeoutError is an OSError
                if time.time() > until:
                    log.info("cluster %s: its lease is over", record.id)
                    return
                log.warning("cluster %s: the relay was not told that it is over: %s", record.id, error)
            else:
                return
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_RETRY_S)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
