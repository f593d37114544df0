"""Nodes as API servers show them. ``of_2025_07`` was captured from a real interLink; the others differ from it as their versions do."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from jupyter_offload.backends.kubernetes.ping import ANNOTATION

_CAPTURED = json.loads((Path(__file__).parent / "node-interlink-2025-07.json").read_text())
#: The heartbeat of the captured node, seconds since the epoch.
BEAT_AT = 1795779402.0
BEAT = "2026-11-27T11:36:42Z"

SINFO = "PARTITION AVAIL  TIMELIMIT   NODES(A/I/O/T) NODELIST\ncpu*         up   infinite          0/2/0/2 cpu[1-2]\n"


def of_2025_07(**changes: Any) -> dict[str, Any]:
    """Between 0.5.0 and 0.5.2: newer label, ping annotation, InterlinkConnectivity."""
    node = copy.deepcopy(_CAPTURED)
    return _changed(node, **changes)


def of_0_3_7(**changes: Any) -> dict[str, Any]:
    """The old label, ``os=linux``, no ping annotation, no InterlinkConnectivity."""
    node = of_2025_07()
    labels = node["metadata"]["labels"]
    del labels["virtual-node.interlink/type"]
    labels |= {"type": "virtual-kubelet", "kubernetes.io/os": "linux"}
    return _changed(_without_ping(node), **changes)


def of_0_4_0(**changes: Any) -> dict[str, Any]:
    """As INFN's fork of 0.4.0-pre2: the newer label, fiction as capacity, a taint of its own, no ping annotation."""
    node = of_2025_07()
    node["metadata"]["labels"]["kubernetes.io/os"] = "linux"
    amounts = {"cpu": "1000", "memory": "16000Gi", "pods": "1000"}
    node["status"] |= {"capacity": amounts, "allocatable": amounts}
    return _changed(_without_ping(node), **changes)


def of_0_5_2(ping: str = SINFO, **changes: Any) -> dict[str, Any]:
    """With the plain table of Slurm's ``sinfo -s`` as its answer."""
    return _changed(of_2025_07(ping=ping), **changes)


def of_0_6_2(**changes: Any) -> dict[str, Any]:
    """Its answer's ``resources`` are its allocatable; they do not say what is free."""
    resources = {"cpu": "48", "memory": "100Gi", "pods": "50", "accelerators": []}
    node = of_2025_07(ping=json.dumps({"status": "ok", "resources": resources}))
    amounts = {"cpu": "48", "memory": "100Gi", "pods": "50", "nvidia.com/gpu": "2"}
    node["status"] |= {"capacity": amounts, "allocatable": amounts}
    return _changed(node, **changes)


def ordinary(name: str = "worker-1", **changes: Any) -> dict[str, Any]:
    """A node with a kubelet."""
    node = {
        "metadata": {
            "name": name, "uid": name, "annotations": {},
            "labels": {"kubernetes.io/hostname": name, "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux", "pool": "dask"},
        },
        "spec": {},
        "status": {
            "allocatable": {
                "cpu": "31850m", "memory": "128Gi", "pods": "110", "ephemeral-storage": "100Gi", "hugepages-2Mi": "0",
            },
            "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": BEAT, "reason": "KubeletReady"}],
            "nodeInfo": {"architecture": "amd64"},
        },
    }  # fmt: skip
    return _changed(node, **changes)


def _without_ping(node: dict[str, Any]) -> dict[str, Any]:
    node["metadata"]["annotations"].pop(ANNOTATION)
    node["status"]["conditions"] = [c for c in node["status"]["conditions"] if c["type"] != "InterlinkConnectivity"]
    return node


def _changed(
    node: dict[str, Any], *, ping: str | None = None, ready: str | None = None, beat: str | None = None,
    link: tuple[str, str] | None = None, allocatable: dict[str, str] | None = None, labels: dict[str, str] | None = None,
    taints: list[dict[str, str]] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Change what tests change; ``link`` is status and message of InterlinkConnectivity."""
    status = node["status"]
    for condition in status["conditions"]:
        if condition["type"] == "Ready" and ready is not None:
            condition |= {"status": ready}
        if condition["type"] == "InterlinkConnectivity" and link is not None:
            condition |= {"status": link[0], "message": link[1]}
        if beat is not None:
            condition |= {"lastHeartbeatTime": beat, "lastTransitionTime": beat}
    if ping is not None:
        node["metadata"]["annotations"][ANNOTATION] = ping
    status["allocatable"] = status["allocatable"] | (allocatable or {})
    node["metadata"]["labels"] |= labels or {}
    node["spec"]["taints"] = node["spec"].get("taints", []) if taints is None else taints
    return node
