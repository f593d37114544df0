"""Start, end, and stand in the pod network of an ordinary node, from a test."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..kubernetes.client import Cluster
from ..processes import DidNotStart, Processes

_ROOT = Path(__file__).parents[3]
_START_TIMEOUT_S, _STOP_TIMEOUT_S = 60, 30
_PROCESS = "ordinary-node"


class NotPermitted(RuntimeError):
    """This process may not make namespaces, so that a pod could have no files at paths of its own."""


def can_run() -> bool:
    """Tell whether this process may make the namespaces that pods need."""
    words = (
        ["unshare", "--mount", "--uts"] if os.getuid() == 0 else ["unshare", "--mount", "--uts", "--map-current-user"]
    )
    try:
        return subprocess.run([*words, "true"], capture_output=True, timeout=_START_TIMEOUT_S).returncode == 0
    except OSError:
        return False


@dataclass
class OrdinaryNode:
    """An ordinary node of a control plane.

    Args:
        kubernetes: the control plane, with its scheduler and controllers.
        folder: for its files; created.
        name: the node's.
        resources: quantities; ``cpu``, ``memory``, ``pods`` and others.
        images: names of images, and the folder in which programs are looked for first; any other image has ``default_image``.
    """

    kubernetes: Cluster
    folder: Path
    name: str = "ordinary"
    resources: dict[str, str] = field(default_factory=lambda: {"cpu": "16", "memory": "32Gi", "pods": "50"})
    labels: dict[str, str] = field(default_factory=dict)
    taints: list[dict[str, Any]] = field(default_factory=list)
    images: dict[str, str] = field(default_factory=dict)
    default_image: str = str(Path(sys.executable).parent)

    def start(self) -> None:
        """Start it and wait until the API server calls it ready. What ran before is over.

        Raises:
            NotPermitted: no namespaces for this user on this machine.
            DidNotStart: it ended, or it was not ready in time.
        """
        if not can_run():
            raise NotPermitted(
                "pods need namespaces: be root, or allow user namespaces (kernel.unprivileged_userns_clone)"
            )
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        what = {
            "control_plane": str(self.kubernetes.folder),
            "folder": str(self.folder),
            "default_image": self.default_image,
            "images": self.images,
            # of two nodes on one machine, each has a network of its own
            "network": f"127.{random.randint(1, 254)}.{random.randint(0, 255)}.0/24",
            "node": {"name": self.name, "resources": self.resources, "labels": self.labels, "taints": self.taints},
        }
        command = ["env", f"PYTHONPATH={_ROOT}", sys.executable, "-m", "tests.stack.ordinary_node", json.dumps(what)]
        self._processes.start(_PROCESS, command)
        self._processes.wait_until(_PROCESS, self.is_ready, _START_TIMEOUT_S)

    @property
    def _processes(self) -> Processes:
        if not hasattr(self, "_started"):
            self._started = Processes(self.folder)
        return self._started

    def is_ready(self) -> bool:
        answer = self.kubernetes.admin.get(f"/api/v1/nodes/{self.name}")
        if answer.status_code != 200:
            return False
        node = answer.json()
        ready = any(
            each["type"] == "Ready" and each["status"] == "True" for each in node["status"].get("conditions", [])
        )
        return ready and not any("not-ready" in each["key"] for each in node["spec"].get("taints", []))

    def stop(self) -> None:
        """End it and its pods' processes; its object and theirs go too. Idempotent."""
        self._processes.stop([_PROCESS], _STOP_TIMEOUT_S)
        for pod in self.pods():
            meta = pod["metadata"]
            path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
            self.kubernetes.admin.request("DELETE", path, json={"gracePeriodSeconds": 0})
        self.kubernetes.admin.delete(f"/api/v1/nodes/{self.name}")

    def kill(self) -> None:
        """Kill it, and with it its pods' processes, as when a machine loses its power. Objects stay."""
        process = self._processes.find(_PROCESS)
        if process is not None:
            process.kill()
            process.wait(_STOP_TIMEOUT_S)

    def suspend(self) -> None:
        """It says and does nothing more; its pods go on, as on a machine that lost its line."""
        process = self._processes.find(_PROCESS)
        if process is None:
            raise DidNotStart(f"{self.name} does not run")
        process.suspend()

    def resume(self) -> None:
        """End what ``suspend`` began."""
        process = self._processes.find(_PROCESS)
        if process is not None:
            process.resume()

    def pods(self) -> list[dict[str, Any]]:
        """Return the pods bound to it, of all namespaces."""
        answer = self.kubernetes.admin.get("/api/v1/pods", params={"fieldSelector": f"spec.nodeName={self.name}"})
        found: list[dict[str, Any]] = answer.raise_for_status().json()["items"]
        return found

    def logs(self, namespace: str, pod: str) -> str:
        """Return what the first container of a pod wrote, as the API server gives it."""
        answer = self.kubernetes.admin.get(f"/api/v1/namespaces/{namespace}/pods/{pod}/log")
        return answer.text

    def until(self, what: Callable[[], Any], timeout_s: float = 60) -> Any:
        """Look until something is true, and return it."""
        deadline = time.monotonic() + timeout_s
        while not (found := what()):
            assert time.monotonic() < deadline, f"it did not happen in {timeout_s:.0f} s: {self._states()}"
            time.sleep(0.1)
        return found

    def _states(self) -> list[tuple[str, Any]]:
        return [(each["metadata"]["name"], each.get("status", {}).get("containerStatuses")) for each in self.pods()]
