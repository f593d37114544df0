"""See that the keeper's pod is there, and make it when it is not: look, act, look again until its door opens."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from typing import Any

import httpx

from .. import __version__
from ..api import locations
from ..api.models import KeeperHealth
from ..api.problems import BadInput, Conflict, NotFound, OffloadError, ProblemCode, Unavailable
from ..api.routes import API_VERSION
from ..api.start import older
from ..backends.kubernetes.api import KubeApi
from ..backends.kubernetes.options import KubernetesOptions
from . import here, identity, pod
from .files import read_placement
from .settings import Placement
from .sight import Sight, look
from .wire import Distrust, Wire

log = logging.getLogger(__name__)
LOOK_S = 0.3
#: A pod that waits for longer has events worth reading.
EVENTS_AFTER_S = 3.0


class Place:
    """The keeper's pod with its door open."""

    def __init__(self, wire: Wire, made: Mapping[str, Any], namespace: str, health: KeeperHealth) -> None:
        self.wire = wire
        self.made = made
        self.namespace = namespace
        self.health = health

    @property
    def name(self) -> str:
        """Name of the pod."""
        return str(self.made["metadata"]["name"])

    @property
    def by_older(self) -> bool:
        """Whether an older release than this one made the pod."""
        by = self.made["metadata"].get("annotations", {}).get(pod.RELEASE, __version__)
        return older(str(by), __version__)


class Attempt:
    """One attempt to have a place; ``stage`` says how far it is."""

    def __init__(self) -> None:
        self.stage = "it is looked for"
        self.hint: str | None = None
        self._handed_over = False
        self._mended = False
        self._made: set[str] = set()
        self._began = time.monotonic()

    async def place(self) -> Place:
        """Return the place, once its door is open.

        Raises:
            Unavailable: it cannot be had, and why.
        """
        self._placement = await asyncio.to_thread(read_placement)
        options = KubernetesOptions(
            kubeconfig=self._placement.kubeconfig, context=self._placement.context, namespace=self._placement.namespace
        )
        self._api = await asyncio.to_thread(KubeApi.of, options)
        try:
            self._authority = await asyncio.to_thread(identity.authority)
            return await self._until_open()
        except Unavailable:
            raise
        except (BadInput, OffloadError) as error:
            raise Unavailable(
                error.code, f"The keeper's pod cannot be made: {error.message}", field=error.field, hint=error.hint
            ) from error
        except OSError as error:
            raise Unavailable(
                ProblemCode.disk_full if error.errno in (28, 122) else ProblemCode.keeper_unreachable,
                f"The keeper's keys cannot be kept: {error}.",
            ) from error
        finally:
            await self._api.close()

    async def _until_open(self) -> Place:
        needed = self._placement.image is None or self._placement.volumes is None
        self._here = await here.find(self._api, needed=needed)
        self._wanted = pod.pod(self._placement, self._here)
        self._name = pod.name_of(self._here.owner)
        while True:
            found = await self._get()
            place = await self._step(found)
            if place is not None:
                return place
            if time.monotonic() - self._began > self._placement.start_timeout_s:
                raise Unavailable(
                    ProblemCode.keeper_unreachable,
                    f"The keeper's pod {self._name} did not come within {self._placement.start_timeout_s} s: {self.stage}.",
                    hint=self.hint or f"See: kubectl -n {self._api.namespace} describe pod {self._name}",
                )
            await asyncio.sleep(LOOK_S)

    async def _step(self, found: dict[str, Any] | None) -> Place | None:
        if found is None:
            self.stage = "it is being made"
            await self._make()
            return None
        sight = look(found, await self._events(found))
        self.stage, self.hint = sight.stage, sight.hint
        if sight.going:
            return None
        if sight.over or sight.trouble is not None:
            await self._clear_away(found, sight)
            return None
        if sight.address is None:
            await self._mend(found)
            return None
        return await self._enter(found, sight.address)

    async def _clear_away(self, found: dict[str, Any], sight: Sight) -> None:
        """Delete what has ended, or will never begin but another one may."""
        meta = found["metadata"]
        mine = meta["uid"] in self._made
        same = meta.get("annotations", {}).get(pod.MADE_FROM) == self._wanted["metadata"]["annotations"][pod.MADE_FROM]
        if (sight.over and sight.failed and mine) or (not sight.over and same):
            raise Unavailable(
                ProblemCode.keeper_unreachable, f"The keeper's pod {self._name} failed. {sight.trouble}",
                hint=sight.hint or f"See: kubectl -n {self._api.namespace} logs {self._name}",
            )  # fmt: skip
        log.info("pod %s is over or of no use, and deleted: %s", self._name, sight.trouble)
        await self._delete(meta["uid"])

    # ------------------------------------------------------------ the door
    async def _enter(self, found: dict[str, Any], address: str) -> Place | None:
        port = _port_of(found, self._placement)
        wire = await asyncio.to_thread(Wire, (address, port), self._authority)
        try:
            health = await wire.health()
        except Distrust as error:
            await wire.close()
            raise Unavailable(
                ProblemCode.keeper_unreachable,
                f"What answers at the door of pod {self._name} ({address}:{port}) does not belong to this data folder: {error}.",
                hint=f"If its clusters are not needed: kubectl -n {self._api.namespace} delete pod {self._name}",
            ) from error
        except httpx.TransportError as error:
            await wire.close()
            running_s = time.monotonic() - self._began
            if running_s > 10:
                self.hint = (
                    f"A network policy may be between: this host must reach {address}:{port} ({type(error).__name__})."
                )
            return None
        if await self._is_to_be_replaced(wire, found, health):
            await wire.close()
            return None
        return Place(wire, found, self._api.namespace, health)

    async def _is_to_be_replaced(self, wire: Wire, found: dict[str, Any], health: KeeperHealth) -> bool:
        """Hand over from an older release, if nothing would end by that: all its clusters are in the pod."""
        place = Place(wire, found, self._api.namespace, health)
        if self._handed_over:
            self.stage = "the keeper of an older release makes room"
            return True
        if place.by_older and health.clusters_active == 0:
            log.info("release %s hands over to %s", health.version, __version__)
            await hand_over(place)
            self._handed_over = True
            return True
        if health.api < API_VERSION:
            if health.clusters_active == 0:
                raise Unavailable(
                    ProblemCode.keeper_outdated,
                    f"The image of the keeper's pod has release {health.version}, which this one, {__version__}, cannot talk to.",
                    field="image", hint="Write a newer image into placement.yaml.",
                )  # fmt: skip
            raise Unavailable(
                ProblemCode.keeper_outdated,
                f"The keeper in pod {self._name} is of release {health.version}, which this one, {__version__}, cannot talk to,"
                f" and {health.clusters_active} of its clusters still run.",
                hint=f"To end them and it: kubectl -n {self._api.namespace} delete pod {self._name}",
            )
        return False

    # ------------------------------------------------------------ objects
    def _path(self, kind: str, name: str = "") -> str:
        return self._api.path(kind, name)

    async def _get(self) -> dict[str, Any] | None:
        try:
            found = await self._api.request("GET", self._path("pods", self._name))
        except NotFound:
            self._handed_over = False
            return None
        if self._handed_over and (found.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            self._handed_over = False
        return found

    async def _events(self, found: dict[str, Any]) -> list[dict[str, Any]]:
        if time.monotonic() - self._began < EVENTS_AFTER_S or (found.get("status") or {}).get("phase") != "Pending":
            return []
        try:
            selector = f"involvedObject.uid={found['metadata']['uid']}"
            listed = await self._api.request("GET", self._path("events"), params={"fieldSelector": selector})
        except OffloadError:
            return []  # they only help to explain
        return list(listed.get("items") or [])

    async def _make(self) -> None:
        """Make the Secret, then the pod, then have the Secret go with the pod. Another server of this user may do the same."""
        path = self._path("secrets", self._name)
        secret = await asyncio.to_thread(self._new_secret)
        with contextlib.suppress(NotFound):
            await self._api.request("DELETE", path)
        try:
            await self._api.request("POST", self._path("secrets"), body=secret)
        except Conflict:
            return
        try:
            made: dict[str, Any] | None = await self._api.request(
                "POST", self._path("pods"), body=self._wanted, params={"fieldValidation": "Strict"}
            )
        except Conflict:
            made = (
                await self._get()
            )  # another's, who may have found no Secret to give it, since this one took its place
        except BadInput:  # a clear no; after silence nobody knows whether there is a pod now, which needs its Secret
            with contextlib.suppress(OffloadError):
                await self._api.request("DELETE", path)
            raise
        else:
            assert made is not None
            log.info("pod %s was made in %s", self._name, self._api.namespace)
            self._made.add(made["metadata"]["uid"])
        if made is not None:
            owner = {"apiVersion": "v1", "kind": "Pod", "name": self._name, "uid": made["metadata"]["uid"]}
            with contextlib.suppress(NotFound):
                await self._api.request("PATCH", path, body={"metadata": {"ownerReferences": [owner]}})

    async def _mend(self, found: dict[str, Any]) -> None:
        """Give a pod that waits for long its Secret, in case the one who made the pod died between, or was cut off."""
        if self._mended or time.monotonic() - self._began < EVENTS_AFTER_S:
            return
        self._mended = True
        secret = await asyncio.to_thread(self._new_secret)
        owner = {"apiVersion": "v1", "kind": "Pod", "name": self._name, "uid": found["metadata"]["uid"]}
        secret["metadata"]["ownerReferences"] = [owner]
        with contextlib.suppress(Conflict):
            await self._api.request("POST", self._path("secrets"), body=secret)
            log.info("pod %s had no Secret", self._name)

    def _new_secret(self) -> dict[str, Any]:
        return pod.secret(self._here.owner, self._authority.pem, self._authority.door())

    async def _delete(self, uid: str) -> None:
        with contextlib.suppress(NotFound, Conflict):
            await self._api.request("DELETE", self._path("pods", self._name), body={"preconditions": {"uid": uid}})


def _port_of(found: Mapping[str, Any], placement: Placement) -> int:
    """Return the port of the door of a pod, which may have been made with other settings."""
    ports = [p for c in found["spec"]["containers"] for p in c.get("ports") or [] if p.get("name") == "door"]
    return int(ports[0]["containerPort"]) if ports else placement.port


async def hand_over(place: Place) -> None:
    """Have the keeper end, and its pod with it."""
    try:
        await place.wire.send("POST", "/hand-over", {}, b"")
    except httpx.TransportError as error:
        log.info("while handing over: %s", error)


async def renew_certificate(place: Place) -> None:
    """Give the door of a running pod a new certificate by its Secret; the kubelet brings it there within about a minute.

    Raises:
        OffloadError: the Secret cannot be written.
    """
    placement = await asyncio.to_thread(read_placement)
    api = await asyncio.to_thread(
        KubeApi.of,
        KubernetesOptions(kubeconfig=placement.kubeconfig, context=placement.context, namespace=place.namespace),
    )
    try:
        authority = await asyncio.to_thread(identity.authority)
        new = await asyncio.to_thread(authority.door)
        data = pod.secret(locations.owner_id(), authority.pem, new)["data"]
        await api.request("PATCH", api.path("secrets", place.name), body={"data": data})
        log.info("the door of pod %s gets a new certificate", place.name)
    finally:
        await api.close()
