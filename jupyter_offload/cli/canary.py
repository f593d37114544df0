"""``jupyter offload doctor --canary SITE``: one real worker at a site, and how far it came."""

from __future__ import annotations

import argparse
import secrets
import time
from collections.abc import Iterator
from datetime import datetime

from ..api import asking, text
from ..api.client import AsyncKeeperClient
from ..api.following import follow
from ..api.models import (
    Cluster,
    ClusterSpec,
    Finding,
    LogChunk,
    LogSources,
    Timeline,
    Worker,
    WorkerStage,
    WorkerState,
)
from ..api.problems import OffloadError
from ..api.units import format_duration
from . import FAILED, OK
from .checks import print_findings
from .output import Output

#: How often a worker may be lost before it is clear that the site is at fault.
_LOSSES = 2
#: How much of timeline and log is shown when it fails.
_LINES, _LOG_BYTES = 8, 4096
#: How long the site may take to let go of it.
_PATIENCE_S = 120.0


async def canary(client: AsyncKeeperClient, output: Output, arguments: argparse.Namespace) -> int:
    """Make a cluster with one worker, report each stage, and take it away again whatever happens."""
    timeout_s = asking.seconds(arguments.timeout, "timeout")
    spec = ClusterSpec(
        name=f"canary-{secrets.token_hex(3)}", site=arguments.canary, profile=arguments.profile, workers=1,
        idle_timeout_s=600, lifetime_s=None,
    )  # fmt: skip
    cluster = await asking.create(client, spec)
    watch = _Watch(time.monotonic())
    findings: list[Finding] = []
    try:
        findings = await _watched(client, cluster, watch, timeout_s, output)
    finally:
        findings += await _taken_away(client, cluster, output)
    if output.as_json:
        output.model({"findings": [f.model_dump(mode="json") for f in findings]})
    else:
        print_findings(output, [(arguments.canary, f) for f in findings])
    return FAILED if any(f.state == "error" for f in findings) else OK


class _Watch:
    """When each stage was first seen, in seconds since the request."""

    def __init__(self, began: float) -> None:
        self._began = began
        self.stages: dict[str, float] = {}
        self.lost: dict[str, Worker] = {}

    def see(self, cluster: Cluster) -> Worker | None:
        """Take in a look; return the worker once it is proven."""
        for worker in cluster.worker_list:
            if worker.state is WorkerState.lost:
                self.lost[worker.name] = worker
            elif worker.stage is not None:
                self.stages.setdefault(worker.stage.value, time.monotonic() - self._began)
            if worker.state is WorkerState.connected:
                self.stages.setdefault(WorkerStage.proven.value, time.monotonic() - self._began)
                return worker
        return None


async def _watched(
    client: AsyncKeeperClient, cluster: Cluster, watch: _Watch, timeout_s: float | None, output: Output
) -> list[Finding]:
    began = time.monotonic()
    async for now in follow(client, cluster.id, tick_s=0.5):
        worker = watch.see(now)
        if worker is not None:
            return [*_stages(watch), *_worker(worker)]
        waited = time.monotonic() - began
        late = timeout_s is not None and waited > timeout_s
        if text.is_final(now) or len(watch.lost) >= _LOSSES or late:
            return [*_stages(watch), *await _failed(client, now, watch, waited)]
        output.progress(now, waited)
    raise AssertionError  # follow never ends by itself


def _stages(watch: _Watch) -> Iterator[Finding]:
    told = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in watch.stages.items())
    if told:
        yield Finding(check="stages", state="ok", message=f"Since the request: {told}.")


def _worker(worker: Worker) -> Iterator[Finding]:
    trip = f"{worker.round_trip_s * 1000:.1f} ms" if worker.round_trip_s is not None else "done"
    yield Finding(check="round trip", state="ok", message=f"{trip} from the scheduler to the worker and back.")
    number = f", {worker.site_id} at the site" if worker.site_id else ""
    size = f"{worker.cores} cores" if worker.cores != 1 else "1 core"
    yield Finding(check="worker", state="ok", message=f"{worker.name} at {worker.address}{number}, {size}.")
    if worker.versions:
        told = ", ".join(f"{name} {version}" for name, version in sorted(worker.versions.items()))
        yield Finding(check="versions", state="ok", message=f"{told}; they fit the scheduler's.")


async def _failed(client: AsyncKeeperClient, cluster: Cluster, watch: _Watch, waited_s: float) -> list[Finding]:
    waits = [w for w in cluster.worker_list if w.message]
    worker = next(iter(watch.lost.values()), waits[0] if waits else None)
    message, hint = cluster.reason.message, cluster.reason.hint
    if worker is not None and worker.message:
        message, hint = worker.message, worker.hint or hint
    told = f"No worker came in {format_duration(round(waited_s))}. {message}"
    found = [Finding(check="worker", state="error", message=told, hint=hint or "Look at the timeline below.")]
    try:
        timeline = await client.call("clusterTimeline", Timeline, id=cluster.id)
        log_end = await _log_end(client, cluster)
    except OffloadError:
        return found
    lines = [f"{_clock(e.at)} {text.one_line(e.message)}" for e in timeline.entries[-_LINES:]]
    found.append(Finding(check="timeline", state="warning", message=" | ".join(lines), hint="What happened last."))
    return [*found, *log_end]


async def _log_end(client: AsyncKeeperClient, cluster: Cluster) -> list[Finding]:
    """Return the end of the scheduler's log: what it says of workers that it turned away."""
    sources = await client.call("listLogs", LogSources, id=cluster.id)
    found = []
    for source in (s for s in sources.sources if s.role == "scheduler"):
        chunk = await client.call(
            "readLog", LogChunk, id=cluster.id, source=source.name, offset=-_LOG_BYTES, limit=_LOG_BYTES
        )
        lines = [line.strip() for line in chunk.text.splitlines() if line.strip()][-_LINES:]
        if lines:
            found.append(Finding(check=f"log of {source.name}", state="warning", message=" | ".join(lines)))
    return found


def _clock(at: datetime) -> str:
    return at.astimezone().strftime("%H:%M:%S")


async def _taken_away(client: AsyncKeeperClient, cluster: Cluster, output: Output) -> list[Finding]:
    began = time.monotonic()
    await asking.stop(client, cluster)
    async for now in follow(client, cluster.id, tick_s=0.5):
        waited = time.monotonic() - began
        if text.is_final(now) and not now.left_at_site:
            took = format_duration(round(waited)) if waited >= 1 else "a moment"
            return [Finding(check="end", state="ok", message=f"Everything of it was gone after {took}.")]
        if waited > _PATIENCE_S:
            return [Finding(check="end", state="error", message=f"After {format_duration(round(waited))}:"
                            f" {now.reason.message}", hint=now.reason.hint)]  # fmt: skip
        output.progress(now, waited)
    raise AssertionError
