"""A cluster on a real interLink virtual node, request to first result and its end, beside the bare time of a pod at the same site."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from tests.stack.interlink.accounts import make_user
from tests.stack.interlink.node import VirtualNode
from tests.stack.interlink.standard import standard_node
from tests.stack.kubernetes import control_plane
from tests.stack.kubernetes.client import Cluster

from ..doors import LIMIT_S, Offload, wait_for
from ..report import Result, interleave
from ..workspace import Workspace, until, workspace

COUNTS = (1, 2, 4, 8)
UNITS = {
    "scheduler": "s", "at the site": "s", "started": "s", "first result": "s", "all workers": "s", "gone": "s",
}  # fmt: skip
_POD = "bare"


def run(rounds: int, say: Callable[[str], None]) -> Result:
    """Measure the stages of clusters of 1 to 8 workers, and a pod by itself."""
    result = Result("A cluster on a virtual node (real Kubernetes and interLink, one machine)", UNITS)
    with ExitStack() as stack:
        place = stack.enter_context(workspace())
        node = _started(stack, place)
        cases: dict[str, Callable[[], Mapping[str, float]]] = {"a bare pod": partial(_bare_pod, node)}
        cases |= {f"ours, {n} workers": partial(_cluster, place, node, n) for n in COUNTS}
        interleave(cases, rounds, result, say)
    ratio = result.ratio("started", "ours, 1 workers", "a bare pod")
    if ratio is not None:
        result.notes.append(f"Request to the start of the first container takes {ratio:.1f} times that of a bare pod.")
    result.notes.append(
        "All from the request: the scheduler can be connected to; the site was asked for the first pod; its process runs;"
        " the first result of a task; all workers are connected. 'gone' is from the request to stop until pods,"
        " Secrets and jobs of the cluster are gone (pods have 2 s of grace). No image is pulled, and no queue is waited for."
    )
    return result


def _started(stack: ExitStack, place: Workspace) -> VirtualNode:
    """Start everything, and write what the keeper needs to know."""
    folder = place.folder / "kubernetes"
    told = control_plane.up(folder, controllers=True)
    stack.callback(control_plane.down, folder)
    cluster = Cluster(folder, told["url"], told["namespace"])
    node = standard_node(cluster, place.folder / "vk")
    stack.callback(node.down)
    node.up()
    kubeconfig = make_user(cluster, "alice", told["namespace"])
    node.until_ready()
    offload = place.folder / "config" / "offload"
    (offload / "sites").mkdir(parents=True)
    site = node.site_file(kubeconfig=str(kubeconfig))
    site["profiles"] = [{"name": "one", "cores": 1, "memory_bytes": "2 GiB", "maximum_workers": 16}]
    (offload / "sites" / "far.yaml").write_text(json.dumps(site))
    (offload / "relay.yaml").write_text("embedded: {host: 127.0.0.1, bind: 127.0.0.1}\n")
    return node


def _bare_pod(node: VirtualNode) -> dict[str, float]:
    """A pod of the same image that only sleeps, made by its administrator."""
    path = f"/api/v1/namespaces/{node.cluster.namespace}/pods"
    pod = {
        "metadata": {"name": _POD},
        "spec": {
            "restartPolicy": "Never", "automountServiceAccountToken": False, "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 2, "nodeSelector": {"kubernetes.io/hostname": node.name},
            "tolerations": [{"operator": "Exists"}],
            "containers": [{
                "name": "worker", "image": "good", "command": ["python3", "-S", "-m", "http.server", "--help"],
                "resources": {"limits": {"cpu": "1", "memory": "64Mi"}, "requests": {"cpu": "1", "memory": "64Mi"}},
            }],
        },
    }  # fmt: skip
    known = _jobs(node)
    began = time.time()
    node.cluster.make(path, pod)
    at_site, started = _of_job(node, known)
    node.cluster.admin.delete(f"{path}/{_POD}")
    asked = time.time()
    until(lambda: node.cluster.admin.get(f"{path}/{_POD}").status_code == 404, LIMIT_S)
    return {"at the site": at_site - began, "started": started - began, "gone": time.time() - asked}


def _jobs(node: VirtualNode) -> set[str]:
    return {folder.name for folder in (node.folder / "jobs").glob("*")}


def _of_job(node: VirtualNode, known: set[str]) -> tuple[float, float]:
    """Return when the site was asked for the first job that is not known, and when its process began."""

    def first() -> tuple[float, float] | None:
        found = []
        for folder in (node.folder / "jobs").iterdir():
            started = _read(folder / "started.json") or _read(folder / "ended.json")
            if folder.name not in known and started is not None:
                found.append((_read(folder / "pod.json")["submitted"], started["began"]))  # type: ignore[index]
        return min(found, key=lambda times: times[1], default=None)

    answer = until(first, LIMIT_S)
    assert answer is not None
    return answer


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return found


def _cluster(place: Workspace, node: VirtualNode, workers: int) -> dict[str, float]:
    known = _jobs(node)
    door = Offload(place, workers=workers, site="far")
    door.http()
    began = time.time()
    door.create()
    connectable = time.time()
    with door.client as client:
        client.submit(abs, -1, pure=False).result(timeout=LIMIT_S)
        first_result = time.time()
        wait_for(client, workers)
        everybody = time.time()
    at_site, started = _of_job(node, known)
    asked = time.time()
    door.ask("DELETE", f"/clusters/{door.id}")
    until(lambda: _gone(node, door.id), LIMIT_S, 0.05)
    gone = time.time() - asked
    door.delete()
    return {
        "scheduler": connectable - began, "at the site": at_site - began, "started": started - began,
        "first result": first_result - began, "all workers": everybody - began, "gone": gone,
    }  # fmt: skip


def _gone(node: VirtualNode, cluster: str) -> bool:
    selector = {"labelSelector": f"offload.dask.org/cluster={cluster}"}
    left = [node.cluster.admin.get(f"/api/v1/{kind}", params=selector).json()["items"] for kind in ("pods", "secrets")]
    return not any(left) and not node.running()
