"""One look at 200 pods of a real API server: what the keeper does every 5 s for a site, and what the panel is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

from ..report import Result, interleave
from ..stats import quantile
from ..workspace import workspace

PODS, LOOKS = 200, 20
UNITS = {"median": "ms", "95 %": "ms", "CPU": "ms", "workers": "KiB"}
_OWNER, _CLUSTER = "0123456789abcdef", "bench-cluster"


def run(rounds: int, say: Callable[[str], None]) -> Result:
    """Measure the bare list of pods, and our look at them with the state of each worker."""
    result = Result(f"One look at {PODS} pods that wait for a node (real API server)", UNITS)
    with ExitStack() as stack:
        place = stack.enter_context(workspace())
        from tests.stack.kubernetes import control_plane
        from tests.stack.kubernetes.client import Cluster

        folder = place.folder / "kubernetes"
        told = control_plane.up(folder, controllers=True)
        stack.callback(control_plane.down, folder)
        cluster = Cluster(folder, told["url"], told["namespace"])
        stack.callback(cluster.close)
        _make_pods(cluster)
        cases = {"the bare list": partial(_bare, cluster), "ours": partial(_ours, cluster, told["kubeconfig"])}
        interleave(cases, rounds, result, say)
    result.notes.append(
        "'workers' is the size of all workers of the answer as JSON. Each pod has been refused by the scheduler."
    )
    return result


def _make_pods(cluster: Any) -> None:
    from jupyter_offload.backends.kubernetes import names

    path = f"/api/v1/namespaces/{cluster.namespace}/pods"
    for number in range(PODS):
        worker = f"w{number:010d}"
        cluster.make(path, {
            "metadata": {"name": names.object_name(worker), "labels": names.labels(_OWNER, _CLUSTER, worker)},
            "spec": {
                "nodeSelector": {"kubernetes.io/hostname": "nowhere"}, "enableServiceLinks": False,
                "containers": [{"name": "worker", "image": "none", "command": ["true"]}],
            },
        })  # fmt: skip


def _summary(took: list[float], cpu_s: float, size: int) -> dict[str, float]:
    return {
        "median": quantile(took, 0.5),
        "95 %": quantile(took, 0.95),
        "CPU": 1000 * cpu_s / LOOKS,
        "workers": size / 1024,
    }


def _bare(cluster: Any) -> Mapping[str, float]:
    took, size, cpu = [], 0, time.process_time()
    for _ in range(LOOKS):
        began = time.perf_counter()
        answer = cluster.admin.get(f"/api/v1/namespaces/{cluster.namespace}/pods")
        answer.json()
        took.append(1000 * (time.perf_counter() - began))
        size = len(answer.content)
    return _summary(took, time.process_time() - cpu, size)


def _ours(cluster: Any, kubeconfig: str) -> Mapping[str, float]:
    return asyncio.run(_look(cluster, kubeconfig))


async def _look(cluster: Any, kubeconfig: str) -> Mapping[str, float]:
    from jupyter_offload.api.models import ClusterSpec, SiteDefinition
    from jupyter_offload.backends.kubernetes import KubernetesBackend
    from jupyter_offload.ports import ClusterContext

    site = SiteDefinition.model_validate({
        "name": "bench", "backend": "kubernetes", "profiles": [{"name": "one", "cores": 1, "memory_bytes": 2**30}],
        "images": [{"name": "a", "image": "a"}],
        "options": {"node_selector": {"pool": "none"}, "kubeconfig": kubeconfig, "namespace": cluster.namespace},
    })  # fmt: skip
    backend = await asyncio.to_thread(KubernetesBackend, site)
    workers = {f"w{n:010d}": {"asked_at": time.time()} for n in range(PODS)}
    spec = ClusterSpec(name="bench", site="bench", workers=PODS)
    context = ClusterContext(
        _CLUSTER, "bench", _OWNER, "me", spec, site.profiles[0], {"workers": workers, "target": PODS}, None
    )
    took, size, cpu = [], 0, time.process_time()
    try:
        for _ in range(LOOKS):
            began = time.perf_counter()
            seen = (await backend.observe([context]))[_CLUSTER]
            took.append(1000 * (time.perf_counter() - began))
            assert len(seen.workers) == PODS
            size = sum(len(w.model_dump_json()) for w in seen.workers)
    finally:
        await backend.close()
    return _summary(took, time.process_time() - cpu, size)
