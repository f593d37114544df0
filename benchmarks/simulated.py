"""A backend whose workers exist on paper only, to see how keeper and server carry thousands: only the site is simulated.

It reaches the keeper as any backend of others does, by an entry point; ``install`` writes the metadata for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from jupyter_offload.api.models import (
    Capacity,
    ClusterSpec,
    Finding,
    Health,
    HealthState,
    Preview,
    Profile,
    Worker,
    WorkerState,
)
from jupyter_offload.ports import Backend, ClusterContext, Owned, SaveHandle, WorkersSeen


def install(folder: Path) -> None:
    """Make the backend known to every Python that has ``folder`` in its path."""
    info = folder / "benchmark_site-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: benchmark-site\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[jupyter_offload.backends]\nsimulated = benchmarks.simulated:SimulatedBackend\n"
    )


class SimulatedBackend(Backend):
    """Every worker that is asked for is there at once, busy, and remembered in the handle."""

    name: ClassVar[str] = "simulated"

    async def health(self) -> Health:
        return Health(state=HealthState.healthy)

    async def capacity(self) -> Capacity:
        return Capacity()

    async def check(self) -> Sequence[Finding]:
        return [Finding(check="simulated", state="ok", message="Nothing can be wrong.")]

    def preview(self, spec: ClusterSpec, profile: Profile, python: str) -> Preview:
        return Preview(kind="command", text="(nothing)", spec=spec, profile=profile)

    async def submit(self, cluster: ClusterContext, workers: int, save: SaveHandle) -> None:
        await save({"workers": workers})

    async def observe(self, clusters: Sequence[ClusterContext]) -> Mapping[str, WorkersSeen]:
        return {c.id: WorkersSeen(workers=[_worker(c, i) for i in range(c.handle.get("workers", 0))]) for c in clusters}

    async def cancel(self, cluster: ClusterContext) -> Sequence[str]:
        return ()

    async def find_owned(self, owner: str) -> Sequence[Owned]:
        return []


def _worker(cluster: ClusterContext, number: int) -> Worker:
    return Worker(
        name=f"w{number}", state=WorkerState.connected, address=f"tls://10.0.{number // 250}.{number % 250}:40000",
        pid=1000 + number, cores=cluster.profile.cores, memory_bytes=cluster.profile.memory_bytes,
        memory_used_bytes=cluster.profile.memory_bytes // 3, cpu_fraction=0.97, tasks_done=12345, executing=1,
    )  # fmt: skip
