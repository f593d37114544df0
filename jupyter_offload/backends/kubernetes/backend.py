"""The backend ``kubernetes``: each worker is a pod with a Secret of its own, on a virtual node or on ordinary ones."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import yaml

from ...api.models import (
    Capacity,
    ClusterSpec,
    Finding,
    Health,
    Preview,
    Profile,
    SiteDefinition,
    WorkerImage,
)
from ...api.problems import BadInput, OffloadError, ProblemCode
from ...ports import Backend, Capability, ClusterContext, Owned, SaveHandle, WorkersSeen
from . import discovery, names
from .contract import violations
from .fleet import Fleet
from .pods import PodRequest, pod_of
from .remains import Remains
from .shaping import Shaping
from .site_side import SiteSide
from .tracking import Track

log = logging.getLogger(__name__)
_LOG_LINES, _LOG_BYTES, _LOG_TIMEOUT_S = 40, 16384, 5.0
_AT_ONCE = 8


class KubernetesBackend(Backend):
    """A site whose workers are pods. Construct in a thread: it reads the kubeconfig.

    Raises:
        BadInput: the options are wrong; ``errors`` lists every mistake.
    """

    name = "kubernetes"
    capabilities = frozenset({Capability.dial_out, Capability.scale_down_choice})

    def __init__(self, site: SiteDefinition) -> None:
        super().__init__(site)
        self._side = SiteSide(site)
        self._virtual = self._side.options.node is not None
        self._fleets: dict[str, Fleet] = {}
        self._burying: set[asyncio.Task[None]] = set()
        self._took_s: deque[float] = deque(maxlen=20)
        self._remains = Remains(self._side)
        self._shaping = Shaping(self._side, self._remains, virtual=self._virtual)

    @classmethod
    async def discover(cls, definition: SiteDefinition) -> Sequence[SiteDefinition] | None:
        """Return a site for each virtual node where the definition asks for that (see ``ports.py``)."""
        return await discovery.discover(definition)

    # ------------------------------------------------------------ the site
    async def health(self) -> Health:
        """Return whether the site takes work now."""
        return await self._side.health()

    async def capacity(self) -> Capacity:
        """Return what the site has and, where it tells, what is free."""
        capacity = await self._side.capacity()
        took_s = round(median(self._took_s), 1) if self._took_s else None
        return capacity.model_copy(update={"expected_start_s": took_s})

    async def unavailable(self) -> Mapping[str, str]:
        """Return the profiles that cannot be had now, each with the reason."""
        return await self._side.unavailable()

    def architectures(self) -> Sequence[str]:
        """Return the architectures of the site's nodes as last seen."""
        return self._side.architectures()

    async def check(self) -> Sequence[Finding]:
        """Return what the doctor says of this site."""
        return await self._side.check()

    def preview(self, spec: ClusterSpec, profile: Profile, python: str) -> Preview:
        """Return the pod of one worker, as it will be but for its name; what is in its Secret is named only."""
        worker = names.new_worker()
        pod = pod_of(self._request(spec, profile, worker, "<you>", "<this cluster>", spec.name))
        number = f"{spec.workers}"
        if spec.adaptive is not None:
            number = f"{spec.adaptive.minimum} to {spec.adaptive.maximum}"
        head = (
            f"# {number} of these, each with a Secret: the worker's certificate, its settings"
            f"{', environment variables' if spec.env else ''} and the code that brings it to the scheduler\n"
        )
        warnings = violations(pod) if self._virtual else []
        text = head + yaml.safe_dump(pod, sort_keys=False).replace(worker, "<worker>")
        return Preview(kind="pod", text=text, spec=spec, profile=profile, warnings=warnings)

    def _request(
        self, spec: ClusterSpec, profile: Profile, worker: str, owner: str, cluster: str, cluster_name: str
    ) -> PodRequest:
        return PodRequest(
            worker=worker, owner=owner, cluster=cluster, cluster_name=cluster_name, profile=profile,
            image=image_of(self.site, spec), placement=self._side.expected_placement(), options=self._side.options,
            virtual=self._virtual,
        )  # fmt: skip

    # ------------------------------------------------------------ workers
    def _fleet(self, cluster: ClusterContext) -> Fleet:
        return self._fleets.setdefault(cluster.id, Fleet(self._side.options, virtual=self._virtual))

    async def submit(self, cluster: ClusterContext, workers: int, save: SaveHandle) -> None:
        """Ask for workers that are missing, retire those that are too many, and replace what was lost."""
        image = image_of(self.site, cluster.spec)
        await self._shaping.shape(cluster, self._fleet(cluster), image, workers, save)

    async def observe(self, clusters: Sequence[ClusterContext]) -> Mapping[str, WorkersSeen]:
        """Look at all pods of these clusters at once, and ask each cluster's scheduler."""
        if not clusters:
            return {}
        owner = clusters[0].owner
        try:
            placement, pods = await asyncio.gather(self._side.placement(), self._remains.pods(owner=owner))
        except OffloadError as error:
            log.info("site %s cannot be seen: %s", self.site.name, error)
            return {c.id: WorkersSeen(visible=False) for c in clusters}
        statuses = await asyncio.gather(*(_status(c) for c in clusters))
        found = {}
        for cluster, status in zip(clusters, statuses, strict=True):
            own = {names.worker_of(p) or "": p for p in pods if names.cluster_of(p) == cluster.id}
            fleet, now = self._fleet(cluster), time.time()
            over = fleet.take_in(cluster.handle, own, status, now)
            await self._read_last_words(fleet, over, own)
            self._bury_lost(cluster, fleet, own)
            self._took_s.extend(fleet.arrivals)
            fleet.arrivals.clear()
            found[cluster.id] = fleet.seen(cluster.handle, cluster.profile, placement.problem, now)
        return found

    async def _read_last_words(
        self, fleet: Fleet, over: Sequence[Track], pods: Mapping[str, Mapping[str, Any]]
    ) -> None:
        limit = asyncio.Semaphore(_AT_ONCE)

        async def read(track: Track) -> None:
            assert track.sight is not None
            async with limit:
                tail = await self._log_tail(pods[track.name])
            fleet.ended(track, tail, time.time())

        await asyncio.gather(*(read(t) for t in over))

    async def _log_tail(self, pod: Mapping[str, Any]) -> str:
        params = {
            "tailLines": _LOG_LINES,  # and no limitBytes: interLink refuses both at once
            "insecureSkipTLSVerifyBackend": "true",  # virtual kubelets sign their certificate themselves
        }  # fmt: skip
        try:
            path = self._side.api.path("pods", pod["metadata"]["name"], "log")
            return (await self._side.api.text(path, params, timeout_s=_LOG_TIMEOUT_S))[-_LOG_BYTES:]
        except OffloadError as error:
            log.info("no log of %s: %s", pod["metadata"]["name"], error)
            return ""

    def _bury_lost(self, cluster: ClusterContext, fleet: Fleet, pods: Mapping[str, Mapping[str, Any]]) -> None:
        """Delete the pods of lost workers soon, whether they are replaced or not."""
        lost = [n for n, t in fleet.tracks.items() if t.lost is not None and n in pods]
        over = [n for n in (*lost, *fleet.strays) if "deletionTimestamp" not in pods[n]["metadata"]]
        if over:
            task = asyncio.create_task(self._remains.bury(cluster, over))
            self._burying.add(task)
            task.add_done_callback(self._burying.discard)

    # ------------------------------------------------------------ the end
    async def cancel(self, cluster: ClusterContext) -> Sequence[str]:
        """Delete every pod and Secret with the cluster's label; return those that are still there."""
        left = await self._remains.delete_all(cluster)
        if not left:
            self._fleets.pop(cluster.id, None)
        return left

    async def find_owned(self, owner: str) -> Sequence[Owned]:
        """Return every pod and Secret with this owner's label."""
        return await self._remains.owned(owner)

    async def delete_owned(self, owned: Owned) -> bool:
        """Delete a pod or Secret; True once it is gone."""
        return await self._remains.delete_owned(owned)

    async def close(self) -> None:
        """Let go of the API server; pods go on."""
        for task in list(self._burying):
            task.cancel()
        await asyncio.gather(*self._burying, return_exceptions=True)
        await self._side.close()


async def _status(cluster: ClusterContext) -> Mapping[str, Any] | None:
    if cluster.control is None:
        return None
    try:
        return await cluster.control.call("status", events_since=0)
    except OffloadError:
        return None


def image_of(site: SiteDefinition, spec: ClusterSpec) -> WorkerImage:
    """Return what the workers of a cluster run.

    Raises:
        BadInput: the site has no such image (``unknown-image``), or names none at all.
    """
    for image in site.images:
        if spec.image in (None, image.name):
            return image
    listed = ", ".join(i.name for i in site.images) or "none; its file has to list some under images"
    raise BadInput(
        ProblemCode.unknown_image, f"Site {site.name!r} has no image {spec.image!r}.", field="image",
        hint=f"Images there: {listed}.",
    )  # fmt: skip
