"""The backend: clusters of the Dask Operator, made, found, scaled and deleted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import yaml

from ...api.models import (
    Capacity,
    ClusterSpec,
    Finding,
    Health,
    Preview,
    Profile,
    Reason,
    ReasonCode,
    SiteDefinition,
)
from ...api.problems import Conflict, NotFound, OffloadError
from ...ports import (
    Backend,
    Capability,
    ClusterContext,
    FoundCluster,
    Owned,
    SaveHandle,
    SchedulerAt,
    SchedulerState,
    WorkersSeen,
)
from ..kubernetes.api import KubeApi
from ..kubernetes.connection import Connection
from . import doctor, names, objects, reading, showing
from .options import read_options
from .reach import Reach
from .snapshot import Looker, Object, Snapshot

#: The name of a new service may be known only after a while, since that it was unknown is remembered too.
_NAMES_SETTLE_S = 20.0
#: Until the operator has seen a change, if it runs.
_NOTICED_S = 2.0


class DaskOperatorBackend(Backend):
    """Clusters whose scheduler and workers the Dask Operator makes. Nothing between them is encrypted."""

    name = "dask-operator"
    capabilities = frozenset({Capability.own_scheduler, Capability.unencrypted})

    def __init__(self, site: SiteDefinition) -> None:
        super().__init__(site)
        self.options = read_options(site)
        where = (self.options.kubeconfig_path(), self.options.context)
        self._api = KubeApi(Connection.take(where), self.options.namespace)
        self._looker = Looker(self._api)
        self._reach = Reach()
        #: since when a worker group has had another number of workers than it should, by its uid and that number
        self._behind_since: dict[tuple[str, int], float] = {}
        self._nudged_at: dict[str, float] = {}
        #: since when a scheduler's pod has been ready and not reached, by its uid
        self._unreached_since: dict[str, float] = {}

    # ------------------------------------------------------------ the site
    async def health(self) -> Health:
        """Return whether the API server answers, knows the operator's objects, and the operator acts on them."""
        findings = await doctor.quick(self._api, self._looker, self.options)
        return doctor.health_of(findings)

    async def capacity(self) -> Capacity:
        """Return nothing: what is free on ordinary nodes is not for a user to see."""
        return Capacity(source="nominal")

    async def check(self) -> Sequence[Finding]:
        """Return whether the account, the operator and the user's rights are what a cluster needs."""
        return await doctor.check(self._api, self._looker, self.options)

    def preview(self, spec: ClusterSpec, profile: Profile, python: str) -> Preview:
        """Return the DaskCluster, without the values of variables."""
        hidden = spec.model_copy(update={"env": dict.fromkeys(spec.env, "...")})
        name = names.cluster_name(spec.name, "0" * 12).replace("0" * 12, "<id>")
        made = objects.cluster_object(name, hidden, profile, spec.workers, self.site, self.options)
        warnings = ["Nothing between client, scheduler and workers is encrypted, and nobody is asked who he is."]
        return Preview(
            kind="pod", text=yaml.safe_dump(made, sort_keys=False), spec=spec, profile=profile, warnings=warnings
        )

    # ------------------------------------------------------------ scheduler
    async def launch(self, cluster: ClusterContext, workers: int, save: SaveHandle) -> None:
        """Create the DaskCluster; the operator makes the rest."""
        await self._looker.look()  # reads the account, which may name the namespace
        wanted = objects.dask_cluster(cluster, workers, self.site, self.options)
        space = self._api.namespace
        try:
            made: Object = await self._api.request("POST", names.path(names.CLUSTERS, space), body=wanted)
        except Conflict:
            made = await self._api.request("GET", names.path(names.CLUSTERS, space, wanted["metadata"]["name"]))
            if names.labels_of(made).get(names.CLUSTER) != cluster.id:
                raise
        except NotFound as error:
            raise doctor.not_installed(error) from error
        await save(showing.handle(made))
        self._looker.forget()

    async def scheduler(self, cluster: ClusterContext) -> SchedulerAt:
        """Return what the DaskCluster, its scheduler's pod and, where it is reached, the scheduler itself show."""
        snapshot = await self._looker.look()
        found = showing.find(snapshot, cluster)
        if found is None:
            return SchedulerAt(SchedulerState.absent)
        name = names.name_of(found)
        group = snapshot.default_group(name)
        shown = SchedulerAt(
            SchedulerState.ready,
            workers=int(group["spec"]["worker"]["replicas"]) if group is not None else None,
            adaptive=showing.adaptive_of(snapshot, name),
            agrees=showing.same_idle_timeout(found, cluster),
        )
        pod, problem = reading.scheduler_waits(snapshot, name)
        if pod is None:
            return self._not_ready(found, problem, shown)
        reached = await self._reach.find(names.uid_of(pod), reading.hosts_of(snapshot, name, pod))
        behind = self._behind(snapshot, name, group)
        shown = replace(shown, agrees=shown.agrees and behind is None)
        if reached is None:
            since = self._unreached_since.setdefault(names.uid_of(pod), time.monotonic())
            if time.monotonic() - since < _NAMES_SETTLE_S:
                return replace(shown, state=SchedulerState.starting)
            return replace(shown, problem=showing.not_reached(snapshot.namespace, name))
        self._unreached_since.pop(names.uid_of(pod), None)
        return replace(
            shown, address=reached.address, dashboard=(reached.host, names.DASHBOARD_PORT), problem=behind,
            usage=showing.usage(await self._reach.identity(reached)),
        )  # fmt: skip

    def _not_ready(self, found: Object, problem: Reason | None, shown: SchedulerAt) -> SchedulerAt:
        age_s = time.time() - showing.created_at(found)
        phase = (found.get("status") or {}).get("phase")
        deadlines = self.options.deadlines
        if phase == "Error":
            said = Reason(
                code=ReasonCode.site_refused, message="The Dask Operator refuses this DaskCluster (phase Error)."
            )
            return replace(shown, state=SchedulerState.failed, problem=said)
        if phase is None and age_s > deadlines.operator_s:
            problem = doctor.operator_silent(names.name_of(found), age_s)
        if age_s > deadlines.scheduler_s:
            late = Reason(
                code=ReasonCode.scheduler_start_timeout, message=f"The scheduler was not ready within {age_s:.0f} s.",
                hint="Look at its pod and the operator's log.",
            )  # fmt: skip
            return replace(shown, state=SchedulerState.failed, problem=problem or late)
        return replace(shown, state=SchedulerState.starting, problem=problem)

    def _behind(self, snapshot: Snapshot, name: str, group: Object | None) -> Reason | None:
        """Return that the operator does not do what was asked of it, once that has lasted."""
        if group is None:
            return None
        wanted = int(group["spec"]["worker"]["replicas"])
        there = showing.deployments(snapshot, name, group)
        key = (names.uid_of(group), wanted)
        if there == wanted:
            self._behind_since.pop(key, None)
            return None
        since = self._behind_since.setdefault(key, time.monotonic())
        if time.monotonic() - since < self.options.deadlines.operator_s:
            return None
        return doctor.operator_behind(name, there, wanted)

    # ------------------------------------------------------------ workers
    async def submit(self, cluster: ClusterContext, workers: int, save: SaveHandle) -> None:
        """Have the operator hold ``workers`` workers, or adapt; also what else the spec asks for."""
        snapshot = await self._looker.look()
        found = showing.find(snapshot, cluster)
        if found is None:
            return
        name, space = names.name_of(found), snapshot.namespace
        await save(showing.handle(found))
        if not showing.same_idle_timeout(found, cluster):
            wanted = {"spec": {"idleTimeout": cluster.spec.idle_timeout_s or 0}}
            await self._api.request("PATCH", names.path(names.CLUSTERS, space, name), body=wanted)
        if cluster.spec.adaptive is not None:
            await self._adapt(found, cluster.spec, snapshot)
        else:
            scaler = snapshot.autoscalers.get(name)
            if scaler is not None:
                await self._delete(names.path(names.AUTOSCALERS, space, names.name_of(scaler)), names.uid_of(scaler))
            group = snapshot.default_group(name)
            if group is not None and group["spec"]["worker"]["replicas"] != workers:
                await self._replicas(snapshot, group, workers)
            elif group is not None and self._behind(snapshot, name, group) is not None:
                await self._nudge(snapshot, name, group, workers)
        self._looker.forget()

    async def _replicas(self, snapshot: Snapshot, group: Object, workers: int) -> None:
        path = names.path(names.GROUPS, snapshot.namespace, names.name_of(group))
        await self._api.request("PATCH", path, body={"spec": {"worker": {"replicas": workers}}})

    async def _nudge(self, snapshot: Snapshot, name: str, group: Object, workers: int) -> None:
        """Ask once more, now and then: of two numbers that came soon after each other the operator may have lost one.

        It acts on changes only, so it is first told the number that it has.
        """
        now = time.monotonic()
        if now - self._nudged_at.get(names.uid_of(group), 0.0) < self.options.deadlines.operator_s:
            return
        self._nudged_at[names.uid_of(group)] = now
        await self._replicas(snapshot, group, showing.deployments(snapshot, name, group))
        await asyncio.sleep(_NOTICED_S)
        await self._replicas(snapshot, group, workers)

    async def _adapt(self, found: Object, spec: ClusterSpec, snapshot: Snapshot) -> None:
        wanted = objects.autoscaler(found, spec)
        path = names.path(names.AUTOSCALERS, snapshot.namespace)
        known = snapshot.autoscalers.get(names.name_of(found))
        if known is None:
            await self._api.request("POST", path, body=wanted)
        elif not showing.same_adaptive(known, spec):
            body = {"spec": wanted["spec"]}
            await self._api.request("PATCH", f"{path}/{names.name_of(known)}", body=body)

    async def observe(self, clusters: Sequence[ClusterContext]) -> Mapping[str, WorkersSeen]:
        """Return the workers of all clusters, by one look at the namespace and one question to each scheduler."""
        if not clusters:
            return {}
        try:
            snapshot = await self._looker.look()
        except OffloadError:
            return {c.id: WorkersSeen(visible=False) for c in clusters}
        return {c.id: await self._seen(snapshot, c) for c in clusters}

    async def _seen(self, snapshot: Snapshot, cluster: ClusterContext) -> WorkersSeen:
        found = showing.find(snapshot, cluster)
        if found is None:
            return WorkersSeen()
        name = names.name_of(found)
        pod, _ = reading.scheduler_waits(snapshot, name)
        identity = None
        if pod is not None:
            reached = await self._reach.find(names.uid_of(pod), reading.hosts_of(snapshot, name, pod))
            identity = await self._reach.identity(reached) if reached is not None else None
        workers = reading.workers_of(snapshot, name, identity, self.options.storm_restarts)
        return WorkersSeen(workers=workers, problem=reading.problem_of(workers))

    # ------------------------------------------------------------ ends
    async def cancel(self, cluster: ClusterContext) -> Sequence[str]:
        """Delete the DaskCluster and say what the site still holds of it."""
        self._looker.forget()
        snapshot = await self._looker.look()
        found = showing.find(snapshot, cluster)
        name = names.name_of(found) if found is not None else str(cluster.handle.get("name") or "")
        if found is not None and "deletionTimestamp" not in found["metadata"]:
            await self._delete(names.path(names.CLUSTERS, snapshot.namespace, name), names.uid_of(found))
            self._looker.forget()
        if not name or (found is None and name in snapshot.clusters):  # another one of that name is not ours to count
            return []
        return showing.held(snapshot, name, found is not None)

    async def find_owned(self, owner: str) -> Sequence[Owned]:
        """Return the DaskClusters with this owner's label."""
        snapshot = await self._looker.look()
        return [
            Owned(
                names.labels_of(c).get(names.CLUSTER, ""),
                f"DaskCluster {name} in {snapshot.namespace}",
                showing.handle(c),
            )
            for name, c in snapshot.clusters.items()
            if names.labels_of(c).get(names.OWNER) == owner
        ]

    async def delete_owned(self, owned: Owned) -> bool:
        """Delete a DaskCluster; True once nothing of it is left."""
        self._looker.forget()
        snapshot = await self._looker.look()
        name = str(owned.handle["name"])
        found = snapshot.clusters.get(name)
        if found is not None and names.uid_of(found) != owned.handle["uid"]:
            return True
        if found is not None and "deletionTimestamp" not in found["metadata"]:
            await self._delete(names.path(names.CLUSTERS, snapshot.namespace, name), names.uid_of(found))
        return found is None and not showing.held(snapshot, name, False)

    async def found(self, owner: str) -> Sequence[FoundCluster]:
        """Return the DaskClusters of the namespace that carry no owner's label, where the site adopts them."""
        if not self.options.adopt:
            return []
        snapshot = await self._looker.look()
        return [
            showing.found_cluster(snapshot, c)
            for c in snapshot.clusters.values()
            if names.OWNER not in names.labels_of(c) and "deletionTimestamp" not in c["metadata"]
        ]

    async def _delete(self, path: str, uid: str) -> None:
        body = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        try:
            await self._api.request("DELETE", path, body=body)
        except (NotFound, Conflict):
            return  # gone, or another one

    async def close(self) -> None:
        """Release connections; the site keeps what it runs."""
        await self._reach.close()
        await self._api.close()
