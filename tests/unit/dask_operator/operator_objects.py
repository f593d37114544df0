"""Objects as the operator and a kubelet leave them."""

from __future__ import annotations

import time
from typing import Any

from jupyter_offload.backends.dask_operator.snapshot import Snapshot

JSON = dict[str, Any]
NAME, SPACE = "ours-0123456789ab", "jupyter"


def meta(name: str, component: str = "", cluster: str = NAME, **more: Any) -> JSON:
    labels = {"dask.org/cluster-name": cluster, **({"dask.org/component": component} if component else {})}
    return {"name": name, "namespace": SPACE, "uid": f"uid-of-{name}", "labels": labels,
            "creationTimestamp": "2026-11-27T10:00:00Z", **more}  # fmt: skip


def pod(
    worker: str = "w1", *, state: JSON | None = None, phase: str = "Running", restarts: int = 0, last: JSON | None = None,
    node: str | None = "n1", conditions: list[JSON] | None = None, component: str = "worker", **more: Any,
) -> JSON:  # fmt: skip
    container = {
        "name": "main", "image": "dask:1", "env": [{"name": "DASK_WORKER_NAME", "value": worker}],
        "resources": {"limits": {"cpu": "2", "memory": "1Gi"}},
    }  # fmt: skip
    status = {
        "state": state or {"running": {}},
        "restartCount": restarts,
        "lastState": {"terminated": last} if last else {},
    }
    return {
        "metadata": meta(f"{worker}-abc", component, **more),
        "spec": {"containers": [container], **({"nodeName": node} if node else {})},
        "status": {"phase": phase, "podIP": "10.1.2.3", "containerStatuses": [status] if node else [],
                   "conditions": conditions or []},
    }  # fmt: skip


def waiting(reason: str, message: str = "") -> JSON:
    return {"waiting": {"reason": reason, "message": message}}


UNSCHEDULED = [
    {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."}
]
READY = [{"type": "Ready", "status": "True"}]


def deployment(name: str = "w1", component: str = "worker", failure: str | None = None) -> JSON:
    conditions = [{"type": "ReplicaFailure", "status": "True", "message": failure}] if failure else []
    return {
        "metadata": meta(name, component), "status": {"conditions": conditions},
        "spec": {"template": {"spec": {"containers": [{"resources": {"limits": {"cpu": "2", "memory": "1Gi"}}}]}}},
    }  # fmt: skip


def snapshot(*pods: JSON, deployments: tuple[JSON, ...] = (), services: tuple[JSON, ...] = ()) -> Snapshot:
    return Snapshot(SPACE, time.monotonic(), pods=pods, deployments=deployments, services=services)
