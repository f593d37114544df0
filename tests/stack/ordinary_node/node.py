"""The node: its object with a heartbeat, the pods bound to it, and the names of services."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import itertools
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import httpx

from .api import JSON, Api
from .container import now
from .environment import Images
from .names import hosts_of_services
from .pod import Pod

_LOOK_S, _HEARTBEAT_S = 0.25, 5.0


@dataclass(frozen=True)
class NodeSpec:
    """What the node says of itself; quantities as Kubernetes writes them."""

    name: str
    resources: dict[str, str]
    labels: dict[str, str] = field(default_factory=dict)
    taints: list[JSON] = field(default_factory=list)
    architecture: str = "amd64"


class Node:
    """An ordinary node whose pods are processes of this machine.

    Args:
        api: the API server.
        spec: what it says of itself.
        folder: for the files of its pods; emptied.
        images: what containers find.
        network: the addresses of its pods, in 127.0.0.0/8.
        kubelet_port: where it serves logs.
    """

    def __init__(self, api: Api, spec: NodeSpec, folder: Path, images: Images, network: str, kubelet_port: int) -> None:
        self.pods: dict[str, Pod] = {}
        self._api, self._spec, self._folder, self._images = api, spec, folder, images
        self._kubelet_port = kubelet_port
        self._addresses = itertools.cycle(str(each) for each in ipaddress.ip_network(network).hosts())
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)

    async def run(self) -> None:
        """Be a node until cancelled."""
        await asyncio.gather(self._heartbeat(), self._follow())

    async def _heartbeat(self) -> None:
        labels = {
            "kubernetes.io/hostname": self._spec.name, "kubernetes.io/os": "linux",
            "kubernetes.io/arch": self._spec.architecture, **self._spec.labels,
        }  # fmt: skip
        node = {"metadata": {"name": self._spec.name, "labels": labels}, "spec": {"taints": self._spec.taints}}
        since = now()
        while True:
            try:
                if not await self._api.patch_status(f"/api/v1/nodes/{self._spec.name}", self._status(since)):
                    await self._api.create("/api/v1/nodes", node)
                    continue
            except httpx.HTTPError as error:
                print(f"node: {error}", flush=True)
            await asyncio.sleep(_HEARTBEAT_S)

    def _status(self, since: str) -> JSON:
        # Ready comes last: a node that is ready gets pods
        conditions = [
            {"type": kind, "status": "True" if kind == "Ready" else "False", "reason": "KubeletReady" if kind == "Ready" else "Enough",
             "message": "kubelet is posting ready status", "lastHeartbeatTime": now(), "lastTransitionTime": since}
            for kind in ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")
        ]  # fmt: skip
        return {
            "capacity": self._spec.resources,
            "allocatable": self._spec.resources,
            "conditions": conditions,
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._kubelet_port}},
            "nodeInfo": {
                "architecture": self._spec.architecture, "operatingSystem": "linux", "kubeletVersion": "v1.36.3",
                "machineID": "", "systemUUID": "", "bootID": "", "kernelVersion": "", "osImage": "test stack",
                "containerRuntimeVersion": "processes://1", "kubeProxyVersion": "",
            },
        }  # fmt: skip

    async def _follow(self) -> None:
        """Look at the pods bound to this node and at all services, a few times a second."""
        while True:
            try:
                bound = await self._api.get("/api/v1/pods", fieldSelector=f"spec.nodeName={self._spec.name}")
                assert bound is not None
                self._take(bound["items"])
                await self._show_names(bound["items"])
            except httpx.HTTPError as error:
                print(f"pods: {error}", flush=True)
            await asyncio.sleep(_LOOK_S)

    def _take(self, bound: list[JSON]) -> None:
        there = {each["metadata"]["uid"]: each for each in bound}
        for uid, found in there.items():
            meta = found["metadata"]
            if uid not in self.pods:
                if found.get("status", {}).get("phase") in ("Succeeded", "Failed") and "deletionTimestamp" not in meta:
                    continue
                self.pods[uid] = Pod(
                    self._api, found, self._folder / uid, next(self._addresses), self._images, self._tell
                )  # fmt: skip
            if "deletionTimestamp" in meta:
                self.pods[uid].end(meta.get("deletionGracePeriodSeconds"))
        for uid in set(self.pods) - set(there):  # deleted by force
            gone = self.pods.pop(uid)
            task = asyncio.create_task(gone.stop(0))
            task.add_done_callback(lambda _, uid=uid: shutil.rmtree(self._folder / uid, ignore_errors=True))

    async def _show_names(self, mine: list[JSON]) -> None:
        if not self.pods:
            return
        services = await self._api.get("/api/v1/services")
        everywhere = await self._api.get("/api/v1/pods")
        assert services is not None
        assert everywhere is not None
        for pod in self.pods.values():
            namespace = pod.pod["metadata"]["namespace"]
            pod.hosts.show(hosts_of_services(services["items"], everywhere["items"], namespace))

    async def _tell(self, pod: JSON, reason: str, message: str) -> None:
        """Write an event about a pod, a warning."""
        meta = pod["metadata"]
        about = {
            "kind": "Pod",
            "apiVersion": "v1",
            "name": meta["name"],
            "namespace": meta["namespace"],
            "uid": meta["uid"],
        }
        event = {
            "metadata": {"name": f"{meta['name']}.{uuid4().hex[:12]}", "namespace": meta["namespace"]},
            "involvedObject": about, "reason": reason, "message": message, "type": "Warning", "count": 1,
            "firstTimestamp": now(), "lastTimestamp": now(), "source": {"component": "kubelet", "host": self._spec.name},
        }  # fmt: skip
        with contextlib.suppress(httpx.HTTPError):
            await self._api.create(f"/api/v1/namespaces/{meta['namespace']}/events", event)

    async def stop(self) -> None:
        """End the processes of all pods; their objects stay, as those of a node that went away."""
        await asyncio.gather(*(each.stop(0) for each in self.pods.values()))
