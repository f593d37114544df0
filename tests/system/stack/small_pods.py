"""Pods of a few lines of Python on a virtual node, made by its user."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import httpx

from tests.stack.interlink.node import VirtualNode, until
from tests.stack.kubernetes.client import connect

_serial = itertools.count(1)
GRACE_S = 2


class SmallPod:
    """One pod, by its name."""

    def __init__(self, node: VirtualNode, client: httpx.Client, name: str) -> None:
        self.node, self.client, self.name = node, client, name
        self.path = f"/api/v1/namespaces/{node.namespace}/pods/{name}"

    def object(self) -> dict[str, Any] | None:
        answer = self.client.get(self.path)
        assert answer.status_code in (200, 404), answer.text
        return dict(answer.json()) if answer.status_code == 200 else None

    @property
    def state(self) -> dict[str, Any]:
        """State of the container as the API server has it; empty before there is one."""
        found = self.object()
        assert found is not None, f"{self.name} is gone"
        statuses = found["status"].get("containerStatuses") or [{}]
        return dict(statuses[0].get("state") or {})

    @property
    def phase(self) -> str:
        found = self.object()
        assert found is not None, f"{self.name} is gone"
        return str(found["status"]["phase"])

    @property
    def job_id(self) -> str | None:
        found = self.object()
        return ((found or {}).get("metadata", {}).get("annotations") or {}).get("JobID")

    def until(self, kind: str) -> dict[str, Any]:
        """Return the container's state of this kind (``waiting``, ``running``, ``terminated``) once it has it."""
        # Before its first look at the site the virtual kubelet shows a state of its own, and the phase Pending.
        found = until(lambda: self.phase != "Pending" and self.state.get(kind), wrong=f"{self.name} was not {kind}")
        return dict(found)

    def log(self, **options: Any) -> str:
        answer = self.client.get(f"{self.path}/log", params=options)
        assert answer.status_code == 200, answer.text
        return answer.text

    def follow(self) -> Iterator[str]:
        with self.client.stream("GET", f"{self.path}/log", params={"follow": "true"}) as answer:
            yield from answer.iter_lines()

    def delete(self) -> None:
        answer = self.client.request("DELETE", self.path, json={"gracePeriodSeconds": GRACE_S})
        assert answer.status_code in (200, 202, 404), answer.text

    def until_gone(self) -> None:
        """Wait until the API server and the site both have nothing of it that runs."""
        until(lambda: self.object() is None, wrong=f"{self.name} is still there")
        until(lambda: not self.jobs("queued", "running"), wrong=f"a job of {self.name} is still there")

    def jobs(self, *states: str) -> list[dict[str, Any]]:
        """Return the site's jobs of this pod in these states, by default in any."""
        return [j for j in self.node.jobs() if j["pod"] == self.name and (not states or j["state"] in states)]


class SmallPods:
    """Makes pods and remembers them."""

    def __init__(self, node: VirtualNode) -> None:
        self.node = node
        config = node.kubeconfig  # makes the account
        assert config.exists()
        self.client = connect(node.cluster.folder, node.cluster.token(f"user-of-{node.name}"))
        self._made: list[SmallPod] = []

    def run(self, script: str = "print('hello')", *, image: str = "good", gpus: int = 0, **spec: Any) -> SmallPod:
        """Make a pod that runs a script."""
        name = f"small-{next(_serial)}"
        limits = {"cpu": "1", "memory": "256Mi"} | ({"nvidia.com/gpu": str(gpus)} if gpus else {})
        container = {
            "name": "main", "image": image, "command": ["python3", "-c", script], "resources": {"limits": limits},
            "volumeMounts": spec.pop("mounts", []), "env": spec.pop("env", []),
        }  # fmt: skip
        body = {
            "metadata": {"name": name},
            "spec": {
                "nodeSelector": {"kubernetes.io/hostname": self.node.name}, "tolerations": [{"operator": "Exists"}],
                "restartPolicy": "Never", "automountServiceAccountToken": False, "enableServiceLinks": False,
                "terminationGracePeriodSeconds": GRACE_S, "containers": [container], **spec,
            },
        }  # fmt: skip
        answer = self.client.post(f"/api/v1/namespaces/{self.node.namespace}/pods", json=body)
        assert answer.status_code == 201, answer.text
        self._made.append(SmallPod(self.node, self.client, name))
        return self._made[-1]

    def asleep(self, **options: Any) -> SmallPod:
        """Make a pod that runs until somebody ends it, and wait until it does."""
        pod = self.run("import time; print('up', flush=True); time.sleep(3600)", **options)
        until(lambda: pod.jobs("running"), wrong=f"{pod.name}: {pod.state}")
        return pod

    def clear(self) -> None:
        """Delete all."""
        for pod in self._made:
            pod.delete()
        for pod in self._made:
            pod.until_gone()
        self._made.clear()

    def close(self) -> None:
        self.client.close()


Maker = Callable[..., SmallPod]
