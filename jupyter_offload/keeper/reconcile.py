"""The only place that acts: look, decide, save, act, for each cluster until nothing remains to be done.

Every unfinished cluster has a task of its own, so that one that hangs delays no other. It is woken by changes (a route
saved one, the scheduler process answered ``wait``, the site was seen anew) and by time. Sites that must be asked about all
their clusters at once are looked at by ``SiteEyes``. Retries are the next round and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..api.models import Desired, TimelineEntry
from ..api.problems import NotFound, OffloadError
from ..ports import Backend, Capability, ClusterContext, Handle, WorkersSeen
from . import endings, folders
from .lifecycle import NOT_SEEN, SERVER_ENDED, Action, Do, Limits, Observation, Sight, next_action
from .live import Live
from .own_schedulers import OwnSchedulers
from .recording import apply
from .relay.problems import RelayProblem
from .relay.relays import Relays
from .schedulers import LaunchFailed, Schedulers, SchedulerSeen, why_not
from .site_eyes import SeenControl, SiteEyes, context_of
from .store import Store
from .store.records import Record

log = logging.getLogger(__name__)
SITE_TIMEOUT_S = 30.0
#: How old the picture of one cluster may be for somebody who asks for it, and how long he waits for a newer one.
FRESH_S = 0.1
LOOK_WAIT_S = 0.5
WATCHED_S = 10.0
FindBackend = Callable[[str], Backend | None]


@dataclass(frozen=True)
class Pace:
    """How often to look when nothing wakes the loop, in seconds."""

    quiet_s: float = 5
    adaptive_s: float = 1
    unseen_s: float = 2
    broken_s: float = 1
    longest_s: float = 60
    watched_s: float = 1


class Reconciler:
    """Moves every cluster towards what its owner wants.

    Args:
        store: the records.
        schedulers: the scheduler processes.
        backend: returns the backend of a site, None where the site is not declared or broken.
    """

    def __init__(
        self,
        store: Store,
        schedulers: Schedulers,
        backend: FindBackend,
        *,
        limits: Limits = Limits(),  # noqa: B008
        pace: Pace = Pace(),
    ) -> None:
        self._store = store
        self._schedulers = schedulers
        self._backend = backend
        self._limits = limits
        self._pace = pace
        self.relays = Relays(store, self.wake)
        self._own = OwnSchedulers(backend, store)
        self._live: dict[str, Live] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._watched_until = 0.0
        self.eyes = SiteEyes(backend, self._clusters_at, self.wake)

    # ------------------------------------------------------------ for the others
    def live(self, record_id: str) -> Live | None:
        """Return what is seen of a cluster just now."""
        return self._live.get(record_id)

    async def start(self, first_look_s: float = 2) -> None:
        """Take up every cluster that is not settled, and wait a moment for the first look at each."""
        self.relays.start()
        for record in self._store.all():
            self.wake(record.id)
        looks = [asyncio.ensure_future(live.looked.wait()) for live in self._live.values()]
        if looks:
            _, late = await asyncio.wait(looks, timeout=first_look_s)
            for look in late:
                look.cancel()

    def wake(self, record_id: str) -> None:
        """Have a cluster looked at now."""
        record = self._store.get(record_id)
        if record is None or (record.settled and not record.forget):
            return
        live = self._live.setdefault(record_id, Live())
        live.woken.set()
        if record_id not in self._tasks:
            task = asyncio.create_task(self._tend(record_id, live), name=f"cluster {record_id}")
            self._tasks[record_id] = task
            task.add_done_callback(lambda _: self._tasks.pop(record_id, None))

    def watched(self) -> None:
        """Somebody looks at all clusters: look more often for a while, since usage numbers wake nobody."""
        self._watched_until = time.monotonic() + WATCHED_S

    async def look_again(self, record_id: str) -> None:
        """Have a running cluster looked at, unless that has just been done, and wait for it a moment."""
        live = self._live.get(record_id)
        if live is None or live.status is None or time.monotonic() - live.looked_at < FRESH_S:
            return
        live.looked.clear()
        self.wake(record_id)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(live.looked.wait(), LOOK_WAIT_S)

    async def forgotten(self, record_id: str) -> None:
        """Wait, for a moment, until a cluster that is to be forgotten is."""
        task = self._tasks.get(record_id)
        if task is not None:
            await asyncio.wait([task], timeout=5)

    def busy(self) -> bool:
        """Whether any cluster needs the keeper."""
        return bool(self._tasks)

    async def end_all(self, timeout_s: float) -> None:
        """End every cluster of this host because the Jupyter server ends; wait for it up to ``timeout_s``."""
        for record in self._store.all():
            if not record.finished:
                await self._store.update(record.id, lambda r: (r.model_copy(update={
                    "desired": Desired.stopped, "stop_reason": r.stop_reason or SERVER_ENDED}), ()))  # fmt: skip
                self.wake(record.id)
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=timeout_s)

    async def stop(self) -> None:
        """Stop acting; clusters go on."""
        await self.eyes.stop()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.relays.stop()
        self._own.close()

    def _clusters_at(self, site: str) -> list[ClusterContext]:
        return [
            context_of(r, self._schedulers.control(r) if r.scheduler else None, self.relays.dial_out(r))
            for r in self._store.all()
            if r.spec.site == site and not r.settled and r.launched_at is not None
        ]

    # ------------------------------------------------------------ one cluster
    async def _tend(self, record_id: str, live: Live) -> None:
        while (record := self._store.get(record_id)) is not None and not record.settled:
            live.woken.clear()
            try:
                await self._round(record, live)
                live.failures = 0
            except NotFound:
                break
            except Exception as error:  # the loop is the retry: whatever broke is tried again, ever more rarely
                live.failures += 1
                expected = isinstance(error, (OffloadError, OSError))
                log.warning("cluster %s: %s", record_id, error, exc_info=None if expected else error)
            live.looked_at = time.monotonic()
            live.looked.set()
            await self._pause(record_id, live)
        live.looked.set()
        await self._schedulers.forget(record_id)
        if record is not None and record.forget:
            await asyncio.to_thread(folders.forget, record)
            await self._store.delete(record_id)
        elif record is not None and record.settled:
            await asyncio.to_thread(folders.keep_last_record, record)
        self._live.pop(record_id, None)

    async def _round(self, record: Record, live: Live) -> None:
        seen = await (self._own if record.own_scheduler else self._schedulers).look(record)
        observation = await self._observe(record, live, seen)
        now = time.time()
        decided: list[Action] = []

        def edit(newest: Record) -> tuple[Record, list[TimelineEntry]]:
            action = next_action(newest, observation, now, self._limits)
            decided.append(action)
            return apply(newest, action, seen, observation, now)

        saved = await self._store.update(record.id, edit)
        if not saved.finished:
            self.relays.keep(saved)
        await self._act(saved, live, decided[-1])

    async def _observe(self, record: Record, live: Live, seen: SchedulerSeen) -> Observation:
        backend = self._backend(record.spec.site)
        workers, held = await self._workers(record, backend, seen)
        if live.problem and workers.visible:
            workers = replace(workers, problem=live.problem)
        live.sight, live.status, live.workers = seen.sight, seen.status, workers
        live.connectable = seen.sight is Sight.ready and (seen.address is not None or not record.own_scheduler)
        live.dashboard = live.connectable and (Path(record.runtime) / "dashboard.sock").exists()
        target = seen.status.get("adaptive_target") if seen.status else None
        below = target is not None and record.spec.adaptive is not None and target < record.workers_requested
        now = time.time() if not record.own_scheduler else 0.01  # a site that adapts has waited long enough
        live.surplus_since = (live.surplus_since or now) if below else None
        return Observation(
            sight=seen.sight, exit=seen.exit, scheduler_address=seen.address, idle_since=live.idle_since,
            adaptive_target=target, surplus_since=live.surplus_since, held=held, workers=workers,
            site_known=backend is not None, launch_error=live.launch_error,
            relay=self.relays.problem(record, seen.status),
            ending=live.ending_problem,
            scheduler_problem=seen.problem or (live.problem if seen.sight is Sight.nothing else None),
        )  # fmt: skip

    async def _workers(
        self, record: Record, backend: Backend | None, seen: SchedulerSeen
    ) -> tuple[WorkersSeen, int | None]:
        if backend is None or seen.status is None:
            return NOT_SEEN, None
        if Capability.local_workers in backend.capabilities:
            # The scheduler process has just told all there is to see.
            context = context_of(record, SeenControl(self._schedulers.control(record), seen.status))
            workers = (await backend.observe([context])).get(record.id, NOT_SEEN)
            return workers, int(seen.status["target"])
        workers = self.eyes.seen(record.spec.site, record.id)
        if record.own_scheduler:
            return workers, seen.status["target"]
        there = sum(w.state != "lost" for w in workers.workers) if workers.visible else None
        return workers, there

    # ------------------------------------------------------------ acting
    async def _act(self, record: Record, live: Live, action: Action) -> None:
        if action.do is Do.launch:
            await self._launch(record, live, action.workers)
        elif action.do is Do.submit:
            await self._submit(record, live, action.workers)
        elif action.do is Do.end:
            await self._end(record, live)

    async def _launch(self, record: Record, live: Live, workers: int) -> None:
        if record.own_scheduler:
            await self._launch_there(record, live, workers)
            return
        try:
            record = await self._bind(record)
            backend = self._backend(record.spec.site)
            local = backend is not None and Capability.local_workers in backend.capabilities
            supervisor = await self._schedulers.launch(record, workers if local else 0)
        except (LaunchFailed, RelayProblem) as error:
            live.launch_error = error.reason
            live.woken.set()
            return
        if supervisor is not None:
            await self._store.update(record.id, lambda r: (r.model_copy(update={"supervisor": supervisor}), ()))

    async def _launch_there(self, record: Record, live: Live, workers: int) -> None:
        backend = self._backend(record.spec.site)
        if backend is None:
            return
        try:
            await self._own.launch(record, backend, workers)
        except (OffloadError, TimeoutError) as error:
            live.problem = endings.not_done(error, SITE_TIMEOUT_S)
            if isinstance(error, OffloadError) and not error.transient:
                live.launch_error = live.problem
                live.woken.set()
                return
            raise
        live.problem = None
        live.woken.set()

    async def _bind(self, record: Record) -> Record:
        """Choose the relay of a cluster whose workers can only dial out; it keeps it to its end."""
        backend = self._backend(record.spec.site)
        if backend is None or Capability.dial_out not in backend.capabilities or record.relay is not None:
            return record
        try:
            use = await self.relays.bind(record)
        except OSError as error:
            raise LaunchFailed(why_not(record, error)) from error
        bound = await self._store.update(record.id, lambda r: (r.model_copy(update={"relay": use}), ()))
        self.relays.keep(bound)
        return bound

    async def _submit(self, record: Record, live: Live, workers: int) -> None:
        backend = self._backend(record.spec.site)
        if backend is None:
            return

        async def save(handle: Handle) -> None:
            await self._store.update(record.id, lambda r: (r.model_copy(update={"handle": handle}), ()))

        context = context_of(record, self._schedulers.control(record), self.relays.dial_out(record))
        try:
            async with asyncio.timeout(SITE_TIMEOUT_S):
                await backend.submit(context, workers, save)
        except (OffloadError, TimeoutError) as error:
            live.problem = endings.not_done(error, SITE_TIMEOUT_S)
            raise
        live.problem = None
        if record.own_scheduler:
            await self._own.submitted(record, workers)
        self.eyes.wake(record.spec.site)
        live.woken.set()

    async def _end(self, record: Record, live: Live) -> None:
        if not await (self._own if record.own_scheduler else self._schedulers).end(record):
            live.failures += 1
            return
        try:
            left = await self._cancel(record)
        except (OffloadError, TimeoutError) as error:
            live.ending_problem = endings.cannot_ask(error, SITE_TIMEOUT_S)
            live.left = live.left or [endings.UNSEEN]
            raise
        live.left_since = (live.left_since or time.time()) if left else None
        live.left = list(left)
        live.ending_problem = endings.left_at_site(left, time.time() - (live.left_since or time.time()))
        if left:
            return
        await self.relays.give_back(record)
        await self._store.update(record.id, lambda r: (r.model_copy(update={"cleaned": True}), ()))
        live.woken.set()

    async def _cancel(self, record: Record) -> Sequence[str]:
        backend = self._backend(record.spec.site)
        if backend is None:
            return [endings.not_declared(record)] if record.handle else ()
        async with asyncio.timeout(SITE_TIMEOUT_S):
            return await backend.cancel(context_of(record, None, self.relays.dial_out(record)))

    # ------------------------------------------------------------ waiting
    async def _pause(self, record_id: str, live: Live) -> None:
        """Wait until something is worth another look."""
        record = self._store.get(record_id)
        if record is None or record.settled or live.woken.is_set():
            return
        if record.own_scheduler and not live.failures:
            watched = time.monotonic() < self._watched_until or live.sight is not Sight.ready
            if watched:
                self.eyes.wake(record.spec.site)
            await self._sleep(live, self._pace.watched_s if watched else self._pace.quiet_s)
        elif live.failures:
            await self._sleep(live, min(self._pace.longest_s, self._pace.broken_s * 2 ** min(live.failures - 1, 8)))
        elif live.sight in (Sight.nothing, Sight.starting) and not record.finished:
            await self._sleep_until_ready(record, live)
        elif live.sight is Sight.ready and live.status is not None:
            await self._sleep_or_wait(record, live, int(live.status["sequence"]))
        else:
            await self._sleep(live, self._pace.unseen_s)

    @staticmethod
    async def _sleep(live: Live, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(live.woken.wait(), seconds)

    async def _sleep_until_ready(self, record: Record, live: Live) -> None:
        """Notice at once when the scheduler listens or gave up, and every second look at its process."""
        runtime = Path(record.runtime)
        pause = 0.004
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline and not live.woken.is_set():
            if (runtime / "ready.json").exists() or (runtime / "exit.json").exists():
                return
            await self._sleep(live, pause)
            age = time.time() - (record.launched_at or 0)
            pause = 0.004 if age < 2 else 0.05

    async def _sleep_or_wait(self, record: Record, live: Live, sequence: int) -> None:
        seconds = self._pace.quiet_s if record.spec.adaptive is None else self._pace.adaptive_s
        if time.monotonic() < self._watched_until:
            seconds = min(seconds, self._pace.watched_s)
        line = self._schedulers.control(record)
        waiting: asyncio.Task[Any] = asyncio.create_task(line.call("wait", since=sequence, timeout_s=seconds))
        woken = asyncio.create_task(live.woken.wait())
        try:
            await asyncio.wait({waiting, woken}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done() and waiting.exception() is not None:
                await self._sleep(live, 0.05)  # the line broke: the look will tell why, but never in a tight loop
        finally:
            for task in (waiting, woken):
                task.cancel()
            await asyncio.gather(waiting, woken, return_exceptions=True)
