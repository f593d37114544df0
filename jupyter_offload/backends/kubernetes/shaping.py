"""Gives a cluster as many workers as are wanted: asks for new ones, retires those that are too many, replaces what was lost."""

from __future__ import annotations

import asyncio
import copy
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ...api.models import ClusterSpec, Profile, WorkerImage
from ...api.problems import Conflict, NotNow, OffloadError, ProblemCode
from ...ports import ClusterContext, JobCredentials, SaveHandle
from ...worker.bundle import worker_bundle
from ...worker.job import BUNDLE, JOB, WorkerJob, job_file
from . import names
from .fleet import NEVER_MADE_S, Fleet
from .pods import PodRequest, dask_resources, memory_limit_bytes, owned_by, pod_of, secret_of
from .remains import Remains
from .site_side import SiteSide
from .storm import Failures
from .tracking import Track

#: So many are asked for in one round, so many of them at a time: API servers limit how much one account may ask.
_A_ROUND, _AT_ONCE = 40, 8
#: How long a worker that was asked to go may take to hand on its data.
_RETIRE_S = 60.0
#: Where a site sets no walltime.
_LONGEST_S = 30 * 86400.0


class Shaping:
    """Acts for one site."""

    def __init__(self, side: SiteSide, remains: Remains, *, virtual: bool) -> None:
        self._side = side
        self._remains = remains
        self._virtual = virtual

    async def shape(
        self, cluster: ClusterContext, fleet: Fleet, image: WorkerImage, workers: int, save: SaveHandle
    ) -> None:
        """Do what can be done in one round; what remains is done in the next (see ``Backend.submit``)."""
        if cluster.control is None or cluster.dial_out is None:
            return  # nobody is there yet for workers to come to
        status = await cluster.control.call("status", events_since=0)
        round_ = _Round(cluster, fleet, save, status, workers)
        await round_.begin(self._side.options.storm)
        await self._let_go(round_)
        surplus = len(round_.living) - workers
        if surplus > 0:
            await self._retire(round_, surplus)
        missing = min(-surplus, _A_ROUND)
        if missing > 0 and not round_.failures.halted and time.time() >= round_.failures.next_at():
            await self._ask_for(round_, image, missing)

    # ------------------------------------------------------------ fewer
    async def _retire(self, round_: _Round, surplus: int) -> None:
        """Have the least useful workers go: those not connected at once, the others after they handed on their data."""
        tracks = [round_.track(name) for name in round_.living]
        going = sorted(tracks, key=Track.progress)[:surplus]
        for track in going:
            track.retiring = True
            round_.entries[track.name] = {**round_.entries[track.name], "retiring": time.time()}
        await round_.save()
        connected = [t.name for t in going if t.name in round_.told]
        if connected:
            assert round_.cluster.control is not None
            await round_.cluster.control.call("retire", names=connected)
        await self._let_go(round_)

    async def _let_go(self, round_: _Round) -> None:
        """Delete those that were asked to go and did, or took too long."""
        now = time.time()
        over = [
            name for name, entry in round_.entries.items()
            if entry.get("retiring") and (name not in round_.told or now - entry["retiring"] > _RETIRE_S)
        ]  # fmt: skip
        if over:
            await self._remains.bury(round_.cluster, over)
            await round_.forget(over)

    # ------------------------------------------------------------ more
    async def _ask_for(self, round_: _Round, image: WorkerImage, number: int) -> None:
        """Save the names first, so that a keeper that dies now leaves nothing unknown."""
        new = [names.new_worker() for _ in range(number)]
        for name in new:
            round_.entries[name] = {"asked_at": time.time()}
            round_.fleet.tracks[name] = Track(name, since=time.time())
        await round_.save()
        placement = await self._side.placement()
        limit = asyncio.Semaphore(_AT_ONCE)

        async def one(name: str) -> OffloadError | None:
            cluster = round_.cluster
            request = PodRequest(
                worker=name, owner=cluster.owner, cluster=cluster.id, cluster_name=cluster.name, profile=cluster.profile,
                image=image, placement=placement, options=self._side.options, virtual=self._virtual,
            )  # fmt: skip
            async with limit:
                try:
                    await self._make(cluster, request, round_.status.get("versions") or {})
                except OffloadError as error:
                    return error
            return None

        failed = {name: error for name, error in zip(new, await asyncio.gather(*map(one, new)), strict=True) if error}
        if failed:
            await self._remains.bury(round_.cluster, failed)  # half of it may be there
            await round_.forget(failed)
            raise next(iter(failed.values()))

    async def _make(self, cluster: ClusterContext, request: PodRequest, versions: Mapping[str, str]) -> None:
        assert cluster.dial_out is not None
        api, options = self._side.api, self._side.options
        profile, spec = request.profile, cluster.spec
        deadlines = options.deadlines
        waits = deadlines.scheduled_s + deadlines.accepted_s + deadlines.queued_s + deadlines.connected_s
        credentials = await cluster.dial_out.credentials(request.worker, waits + _longest_life_s(profile, spec))
        job = _job(
            request, spec, credentials, versions, options.mount_path, _lifetime_s(profile, options.lifetime_margin_s)
        )
        files = {**credentials.files, BUNDLE: worker_bundle(), JOB: job_file(job)}
        try:
            pod = pod_of(request)
        except ValueError as error:
            raise NotNow(
                ProblemCode.site_refused, f"The site's file makes no pod: {error}.",
                hint="Ask the administrator to correct images or options.mount_path.",
            ) from error  # fmt: skip
        secret = secret_of(request, files)
        await _create(self._side, "secrets", secret)
        made = await _create(self._side, "pods", pod)
        path = api.path("secrets", secret["metadata"]["name"])
        await api.request("PATCH", path, body=owned_by(made))


async def _create(side: SiteSide, kind: str, made: Mapping[str, Any]) -> dict[str, Any]:
    """Create an object; one that is there already is the answer that was lost."""
    try:
        return await side.api.request("POST", side.api.path(kind), body=made)
    except Conflict:
        return await side.api.request("GET", side.api.path(kind, made["metadata"]["name"]))


def _job(
    request: PodRequest, spec: ClusterSpec, credentials: JobCredentials, versions: Mapping[str, str], folder: str,
    lifetime_s: float | None,
) -> WorkerJob:  # fmt: skip
    return WorkerJob(
        name=request.worker, cores=request.profile.cores, memory_limit_bytes=memory_limit_bytes(request.profile),
        host=credentials.host, scheduler_address=credentials.scheduler_address,
        dask_config=credentials.dask_config(folder), versions=versions, modules=spec.modules, env=spec.env,
        lifetime_s=lifetime_s, resources=dask_resources(request.profile.accelerators),
    )  # fmt: skip


def _lifetime_s(profile: Profile, margin_s: float) -> float | None:
    """Return after how long a worker ends by itself: before its walltime, and not all at once."""
    if not profile.walltime_s:
        return None
    latest = max(profile.walltime_s - margin_s, profile.walltime_s / 2)
    return latest - random.uniform(0, min(300, latest / 20))  # noqa: S311


def _longest_life_s(profile: Profile, spec: ClusterSpec) -> float:
    known = [float(s) for s in (profile.walltime_s, spec.lifetime_s) if s]
    return min(known, default=_LONGEST_S)


class _Round:
    """One call of ``submit``: what is there, and the handle as it changes."""

    def __init__(
        self, cluster: ClusterContext, fleet: Fleet, save: SaveHandle, status: Mapping[str, Any], workers: int
    ) -> None:
        self.cluster, self.fleet, self.status = cluster, fleet, status
        self.told = {str(w["name"]): w for w in status["workers"]}
        handle = copy.deepcopy(cluster.handle)
        self.entries: dict[str, dict[str, Any]] = handle.get("workers", {})
        self.failures = Failures.load(handle.get("failures", {}))
        self._asked_anew = handle.get("target") != workers
        self._target = workers
        self._save = save

    async def begin(self, limits: Any) -> None:
        """Count what was lost since the last round, and forget it."""
        now = time.time()
        if self._asked_anew:
            self.failures = self.failures.forgiven()
        elif any(t.proven_at is not None and t.lost is None for t in self.fleet.tracks.values()):
            self.failures = self.failures.succeeded()
        lost = [t for t in self.fleet.tracks.values() if t.lost is not None]
        for track in sorted(lost, key=lambda t: t.lost_at):
            if not track.was_of_use and not track.retiring and track.lost is not None:
                why = track.lost
                told = {"code": why.code.value, "message": why.message, "hint": why.hint}
                self.failures = self.failures.failed(track.lost_at, told, limits)
        never_made = [
            name for name, entry in self.entries.items()
            if name not in self.fleet.tracks and name not in self.told and now - entry["asked_at"] > NEVER_MADE_S
        ]  # fmt: skip
        await self.forget([*(t.name for t in lost), *never_made], changed=self._asked_anew)

    @property
    def living(self) -> list[str]:
        """Workers that are there or on their way, and are to stay."""
        return [name for name, entry in self.entries.items() if not entry.get("retiring")]

    def track(self, name: str) -> Track:
        """Return what is remembered of a worker."""
        asked_at = float(self.entries[name].get("asked_at", time.time()))
        return self.fleet.tracks.setdefault(name, Track(name, since=asked_at))

    async def forget(self, workers: Sequence[str] | Mapping[str, Any], *, changed: bool = False) -> None:
        """Drop workers that are over, and save what remains."""
        for name in workers:
            self.entries.pop(name, None)
            self.fleet.forget(name)
        if workers or changed:
            await self.save()

    async def save(self) -> None:
        """Save the handle."""
        await self._save({"workers": self.entries, "failures": self.failures.saved(), "target": self._target})
