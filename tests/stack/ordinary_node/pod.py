"""One pod on the node, from its volumes to its end, and the status that a kubelet would write of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx

from .api import JSON, Api
from .container import Container, View, now
from .environment import CannotPull, Images, environment, expanded
from .names import HostsFile
from .probes import period_s, probe
from .volumes import NotYet, make_volumes

_AGAIN_S = 1.0
_GRACE_S = 30


class Pod:
    """A pod that was bound to the node.

    Args:
        api: the API server.
        pod: as the API server has it.
        folder: for its files.
        address: its own, on this machine.
        images: what its containers find.
        event: tells the user something: reason and message.
    """

    def __init__(
        self, api: Api, pod: JSON, folder: Path, address: str, images: Images, event: Callable[[JSON, str, str], Awaitable[None]]
    ) -> None:  # fmt: skip
        self.pod = pod
        self.address = address
        meta, spec = pod["metadata"], pod["spec"]
        self.path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        self._api, self._folder, self._images, self._event = api, folder, images, event
        folder.mkdir(parents=True)
        self.hosts = HostsFile(folder / "hosts", f"{address} {spec.get('hostname') or meta['name']}")
        self._dirty = asyncio.Event()
        restart = spec.get("restartPolicy", "Always")
        initial = "OnFailure" if restart == "Always" else restart
        self.first = [self._container(each, initial) for each in spec.get("initContainers", [])]
        self.containers = [self._container(each, restart) for each in spec["containers"]]
        self._initialized = not self.first
        self._started_at = now()
        self._changed_at: dict[str, tuple[str, str]] = {}
        self._tasks = [asyncio.create_task(self._live()), asyncio.create_task(self._report())]
        self._ending: asyncio.Task[None] | None = None

    def _container(self, spec: JSON, restart: str) -> Container:
        return Container(spec, restart, self._folder / "containers" / spec["name"], self._dirty.set)

    def find(self, name: str) -> Container | None:
        return next((each for each in [*self.first, *self.containers] if each.name == name), None)

    async def _live(self) -> None:
        self._dirty.set()
        self.pod.setdefault("status", {})["podIP"] = self.address
        mounted = await self._volumes()
        for container in self.first:
            await self._run(container, mounted)
            if container.exit_code != 0:
                return
        self._initialized = True
        self._dirty.set()
        await asyncio.gather(*(self._run(each, mounted) for each in self.containers))

    async def _volumes(self) -> dict[str, Path]:
        while True:
            try:
                return await make_volumes(self._api, self.pod, self._folder / "volumes")
            except NotYet as error:
                await self._event(self.pod, "FailedMount", f"MountVolume.SetUp failed: {error}")
            except httpx.HTTPError as error:
                print(f"{self.path}: {error}", flush=True)
            await asyncio.sleep(_AGAIN_S)

    async def _run(self, container: Container, mounted: dict[str, Path]) -> None:
        spec = container.spec
        while True:
            try:
                path = self._images.path(spec["image"])
                env = await environment(self._api, self.pod, spec, path)
                break
            except CannotPull as error:
                waits = container.state.get("waiting", {}).get("reason")
                if waits != "ErrImagePull":
                    container.wait_for("ErrImagePull", str(error))
                    await self._event(self.pod, "Failed", f"Error: ErrImagePull: {error}")
                else:
                    container.wait_for("ImagePullBackOff", f'Back-off pulling image "{spec["image"]}"')
            except NotYet as error:
                container.wait_for("CreateContainerConfigError", str(error))
            except httpx.HTTPError as error:
                print(f"{self.path}: {error}", flush=True)
            await asyncio.sleep(_AGAIN_S)
        words = [*(spec.get("command") or []), *(spec.get("args") or [])]
        view = View(self.pod["metadata"]["name"], self._mounts(spec, mounted), env, spec.get("workingDir") or "/")
        probing = asyncio.create_task(self._probe(container, view))
        try:
            await container.run(view, [expanded(word, env) for word in words])
        finally:
            probing.cancel()

    def _mounts(self, spec: JSON, mounted: dict[str, Path]) -> list[JSON]:
        mounts: list[JSON] = [{"source": str(self.hosts.path), "target": "/etc/hosts"}]
        for each in spec.get("volumeMounts") or []:
            source = mounted[each["name"]] / each.get("subPath", "")
            mounts.append(
                {"source": str(source), "target": each["mountPath"], "read_only": each.get("readOnly", False)}
            )
        return mounts

    async def _probe(self, container: Container, view: View) -> None:
        spec = container.spec.get("readinessProbe")
        while spec is not None:
            if "running" in container.state:
                passed = await probe(spec, container.spec, self.address, view, container.folder)
                if passed != container.ready and "running" in container.state:
                    container.ready = passed
                    self._dirty.set()
            await asyncio.sleep(period_s(spec))

    async def _report(self) -> None:
        """Write the status whenever it changed."""
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            try:
                await self._api.patch_status(self.path, self.status())
            except httpx.HTTPError as error:
                print(f"{self.path}: status: {error}", flush=True)
                self._dirty.set()
                await asyncio.sleep(_AGAIN_S)

    def phase(self) -> str:
        if any(each.is_over and each.exit_code for each in self.first):
            return "Failed"
        if all(each.is_over for each in self.containers):
            return "Failed" if any(each.exit_code for each in self.containers) else "Succeeded"
        begun = any("running" in each.state or each.is_over or each.restarts for each in self.containers)
        return "Running" if begun else "Pending"

    def status(self) -> JSON:
        """Return the pod's status, with every condition that a kubelet sets."""
        ready = self._initialized and all(each.status()["ready"] for each in self.containers)
        others = [
            each for each in self.pod.get("status", {}).get("conditions") or [] if each["type"] == "DisruptionTarget"
        ]
        conditions = [
            self._condition("PodReadyToStartContainers", True),
            self._condition("Initialized", self._initialized),
            self._condition("Ready", ready),
            self._condition("ContainersReady", ready),
            self._condition("PodScheduled", True),
        ]
        return {
            "phase": self.phase(),
            "conditions": conditions + others,
            "hostIP": "127.0.0.1",
            "hostIPs": [{"ip": "127.0.0.1"}],
            "podIP": self.address,
            "podIPs": [{"ip": self.address}],
            "startTime": self._started_at,
            "initContainerStatuses": [each.status() for each in self.first],
            "containerStatuses": [each.status() for each in self.containers],
            "qosClass": self.pod.get("status", {}).get("qosClass"),
        }

    def _condition(self, kind: str, holds: bool) -> JSON:
        value = "True" if holds else "False"
        if self._changed_at.get(kind, ("", ""))[0] != value:
            self._changed_at[kind] = (value, now())
        condition = {"type": kind, "status": value, "lastTransitionTime": self._changed_at[kind][1]}
        if kind in ("Ready", "ContainersReady") and not holds:
            over = self.phase() in ("Succeeded", "Failed")
            condition["reason"] = "PodCompleted" if over else "ContainersNotReady"
        return condition

    def end(self, grace_s: float | None) -> None:
        """Begin to end it, unless that has begun: the API server forgets it once its processes are gone."""
        if self._ending is None:
            self._ending = asyncio.create_task(self._end(_GRACE_S if grace_s is None else grace_s))

    async def _end(self, grace_s: float) -> None:
        await self.stop(grace_s)
        while True:
            with contextlib.suppress(httpx.HTTPError):
                await self._api.patch_status(self.path, self.status())
                await self._api.delete_now(self.path, self.pod["metadata"]["uid"])
                return
            await asyncio.sleep(_AGAIN_S)

    async def stop(self, grace_s: float) -> None:
        """End its processes, and say nothing more of it."""
        await asyncio.gather(*(each.stop(grace_s) for each in [*self.first, *self.containers]))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # one more start may have been under way
        await asyncio.gather(*(each.stop(0) for each in [*self.first, *self.containers]))
