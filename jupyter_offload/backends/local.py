"""Workers on the keeper's own host, forked by the cluster's supervisor: nothing is submitted anywhere."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from ..api.models import (
    Capacity,
    ClusterSpec,
    FieldProblem,
    Finding,
    Health,
    HealthState,
    Preview,
    Profile,
    SiteDefinition,
    Worker,
    WorkerState,
)
from ..api.problems import BadInput, OffloadError, ProblemCode
from ..api.units import format_bytes, format_duration
from ..machine import usable_cores, usable_memory_bytes
from ..ports import Backend, Capability, ClusterContext, Owned, SaveHandle, WorkersSeen

DISK_LOW_BYTES = 2**30
MEMORY_LOW_BYTES = 256 * 2**20
CANCEL_TIMEOUT_S = 20.0
_FIELDS = frozenset(Worker.model_fields)


class LocalBackend(Backend):
    """The site ``local``. Its workers belong to each cluster's own supervisor, reached through ``control``."""

    name = "local"
    capabilities = frozenset({Capability.scale_down_choice, Capability.local_workers})

    def __init__(self, site: SiteDefinition) -> None:
        super().__init__(site)
        if site.options:
            names = ", ".join(sorted(site.options))
            problems = [
                FieldProblem(field=f"options.{o}", message=f"A local site has no option {o!r}.", hint="Delete it.")
                for o in sorted(site.options)
            ]
            raise BadInput(
                ProblemCode.invalid, f"A local site has no options ({names}).", field="options", errors=problems
            )
        self._starting: dict[tuple[str, str], float] = {}
        self._took_s: deque[float] = deque(maxlen=20)

    # ------------------------------------------------------------ the site
    async def health(self) -> Health:
        """Return whether disk and memory leave room for workers."""
        findings = await self.check()
        worst = next((f for f in findings if f.state == "error"), None)
        state = HealthState.healthy if worst is None else HealthState.unhealthy
        warning = worst or next((f for f in findings if f.state == "warning"), None)
        return Health(
            state=state,
            message=warning.message if warning else "",
            hint=warning.hint if warning else None,
            checked_at=datetime.now(UTC),
        )

    async def capacity(self) -> Capacity:
        """Return the cores and memory of this machine that this user may use, and how busy they are."""
        return await asyncio.to_thread(self._capacity)

    def _capacity(self) -> Capacity:
        cores, memory = usable_cores(), usable_memory_bytes()
        busy = psutil.cpu_percent(interval=0.1) / 100 * (os.cpu_count() or 1)
        return Capacity(
            cores_total=cores,
            cores_free=max(0, min(cores, round((os.cpu_count() or 1) - busy))),
            memory_total_bytes=memory,
            memory_free_bytes=min(memory, psutil.virtual_memory().available),
            expected_start_s=round(median(self._took_s), 3) if self._took_s else None,
        )

    async def check(self) -> Sequence[Finding]:
        """Look at the disk for spilled data and at the memory."""
        return await asyncio.to_thread(_check)

    def preview(self, spec: ClusterSpec, profile: Profile, python: str) -> Preview:
        """Return the processes that will run on this machine."""
        workers = spec.workers if spec.adaptive is None else spec.adaptive.maximum
        return Preview(
            kind="command", text=_preview(spec, profile, python), spec=spec, profile=profile,
            warnings=list(_warnings(workers, profile)),
        )  # fmt: skip

    # ------------------------------------------------------------ workers
    async def submit(self, cluster: ClusterContext, workers: int, save: SaveHandle) -> None:
        """Have the supervisor run ``workers`` workers; the scheduler moves data off before one is ended."""
        if cluster.control is not None:  # until then launch.json says how many
            await cluster.control.call("scale", workers=workers)

    async def observe(self, clusters: Sequence[ClusterContext]) -> Mapping[str, WorkersSeen]:
        """Ask each cluster's scheduler process, all at once; one that does not answer is not seen."""
        seen = await asyncio.gather(*(self._observe(c) for c in clusters))
        return {c.id: s for c, s in zip(clusters, seen, strict=True)}

    async def _observe(self, cluster: ClusterContext) -> WorkersSeen:
        if cluster.control is None:
            return WorkersSeen(visible=False)
        try:
            status = await cluster.control.call("status", events_since=0)
        except OffloadError:
            return WorkersSeen(visible=False)
        workers = [worker_of(w) for w in status["workers"]]
        self._note_arrivals(cluster.id, workers)
        return WorkersSeen(workers=workers)

    def _note_arrivals(self, cluster_id: str, workers: Sequence[Worker]) -> None:
        """Learn how long a worker takes from being started to being connected."""
        now = time.monotonic()
        for worker in workers:
            key = (cluster_id, worker.name)
            if worker.state is WorkerState.starting:
                self._starting.setdefault(key, now)
            elif (began := self._starting.pop(key, None)) is not None and worker.state is WorkerState.connected:
                self._took_s.append(now - began)

    async def cancel(self, cluster: ClusterContext) -> Sequence[str]:
        """End the workers. Without a control line their supervisor is over, and they with it."""
        self._starting = {key: at for key, at in self._starting.items() if key[0] != cluster.id}
        if cluster.control is None:
            return ()
        try:
            await cluster.control.call("scale", workers=0)
            async with asyncio.timeout(CANCEL_TIMEOUT_S):
                while left := (await cluster.control.call("status", events_since=0))["workers"]:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        except TimeoutError:
            return [f"worker {w['name']}" for w in left]
        return ()

    async def find_owned(self, owner: str) -> Sequence[Owned]:
        """Return nothing: local workers never outlive their supervisor, which the keeper itself looks after."""
        return ()


def worker_of(status: Mapping[str, Any]) -> Worker:
    """Return a worker from a scheduler process's status; what a newer one says besides is left out."""
    return Worker.model_validate({k: v for k, v in status.items() if k in _FIELDS})


def _check() -> list[Finding]:
    findings = []
    folder = Path(tempfile.gettempdir())
    free = shutil.disk_usage(folder).free
    disk = f"{format_bytes(free)} free in {folder}, where workers put data that does not fit into memory."
    low = "warning" if free < DISK_LOW_BYTES else "ok"
    state = "error" if free < DISK_LOW_BYTES // 10 else low
    hint = None if state == "ok" else f"Free space there, or set TMPDIR to a larger local disk. See: df -h {folder}"
    findings.append(Finding.model_validate({"check": "disk", "state": state, "message": disk, "hint": hint}))
    available = min(usable_memory_bytes(), psutil.virtual_memory().available)
    memory = f"{format_bytes(available)} of memory available."
    state = "ok" if available >= MEMORY_LOW_BYTES else "warning"
    hint = None if state == "ok" else "Stop something else first; workers may be ended for lack of memory."
    findings.append(Finding.model_validate({"check": "memory", "state": state, "message": memory, "hint": hint}))
    return findings


def _warnings(workers: int, profile: Profile) -> Sequence[str]:
    warnings = []
    cores, memory = usable_cores(), usable_memory_bytes()
    if workers * profile.cores > cores:
        warnings.append(f"{workers} workers have {workers * profile.cores} threads; this machine has {cores} cores.")
    if workers * profile.memory_bytes > memory:
        warnings.append(
            f"{workers} workers may take {format_bytes(workers * profile.memory_bytes)}; this machine has"
            f" {format_bytes(memory)}."
        )
    return warnings


def _preview(spec: ClusterSpec, profile: Profile, python: str) -> str:
    number = f"{spec.workers}"
    if spec.adaptive is not None:
        number = f"{spec.adaptive.minimum} to {spec.adaptive.maximum}"
    ends = [f"{name} {format_duration(s)}" for name, s in
            (("idle for", spec.idle_timeout_s), ("lifetime", spec.lifetime_s)) if s]  # fmt: skip
    lines = [
        f"# processes on this machine, run by {python}",
        "dask scheduler --protocol tls --host 127.0.0.1   # certificates of its own; dashboard on a private socket",
        f"dask worker --nthreads {profile.cores} --memory-limit {profile.memory_bytes}"
        f" --local-directory <private folder in {tempfile.gettempdir()}>   # times {number}",
        f"# ends by itself: {', '.join(ends) or 'never'}",
    ]
    lines += [f"export {name}=..." for name in spec.env]  # values may be secret
    lines += [f"import {module}" for module in spec.modules]
    return "\n".join(lines) + "\n"
