"""What of a cluster a look shows, and what is said of it: pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ...api.models import MAXIMUM_WORKERS, Adaptive, ClusterSpec, Profile, Reason, ReasonCode
from ...ports import ClusterContext, FoundCluster
from ..kubernetes.quantities import whole
from . import names
from .snapshot import Object, Snapshot


def handle(found: Object) -> dict[str, Any]:
    """Return what names a DaskCluster for ever."""
    return {"name": names.name_of(found), "uid": names.uid_of(found)}


def find(snapshot: Snapshot, cluster: ClusterContext) -> Object | None:
    """Return the DaskCluster of a cluster: of its very uid, or, where that was not saved yet, with its label."""
    if not snapshot.installed:
        return None
    uid = cluster.handle.get("uid")
    for found in snapshot.clusters.values():
        if names.uid_of(found) == uid or (uid is None and names.labels_of(found).get(names.CLUSTER) == cluster.id):
            return found
    return None


def deployments(snapshot: Snapshot, name: str, group: Object) -> int:
    """Return how many workers the operator holds in a group."""
    return len([
        d for d in snapshot.of(snapshot.deployments, name, names.WORKER)
        if names.labels_of(d).get("dask.org/workergroup-name") == names.name_of(group)
        and "deletionTimestamp" not in d["metadata"]
    ])  # fmt: skip


def created_at(found: Object) -> float:
    """Return when it was made, in seconds since the epoch."""
    return datetime.fromisoformat(found["metadata"]["creationTimestamp"]).astimezone(UTC).timestamp()


def same_idle_timeout(found: Object, cluster: ClusterContext) -> bool:
    """Tell whether the operator ends it when the spec says."""
    if names.OWNER not in names.labels_of(found) and cluster.spec.idle_timeout_s is None:
        return True  # of one that was found, nothing is changed that nobody asked for
    return int(found["spec"].get("idleTimeout") or 0) == (cluster.spec.idle_timeout_s or 0)


def adaptive_of(snapshot: Snapshot, name: str) -> Adaptive | None:
    """Return between which numbers the operator moves its workers, if it does."""
    scaler = snapshot.autoscalers.get(name)
    if scaler is None:
        return None
    minimum = min(MAXIMUM_WORKERS, max(0, int(scaler["spec"].get("minimum") or 0)))
    maximum = min(MAXIMUM_WORKERS, max(1, minimum, int(scaler["spec"].get("maximum") or 1)))
    return Adaptive(minimum=minimum, maximum=maximum)


def same_adaptive(scaler: Object, spec: ClusterSpec) -> bool:
    """Tell whether an autoscaler has the limits of the spec."""
    adaptive = spec.adaptive
    limits = (scaler["spec"].get("minimum"), scaler["spec"].get("maximum"))
    return adaptive is not None and limits == (adaptive.minimum, adaptive.maximum)


def held(snapshot: Snapshot, name: str, is_there: bool) -> list[str]:
    """Return what there is of a DaskCluster, for people."""
    held = [f"DaskCluster {name} (waits for the operator to let it go)"] if is_there else []
    for kind, found in (
        ("worker group", snapshot.groups), ("Deployment", snapshot.deployments), ("Service", snapshot.services),
        ("pod", snapshot.pods),
    ):  # fmt: skip
        held += [f"{kind} {names.name_of(o)}" for o in snapshot.of(found, name)]
    scaler = snapshot.autoscalers.get(name)
    return [*held, *([f"autoscaler {names.name_of(scaler)}"] if scaler is not None else [])]


def usage(identity: Mapping[str, Any] | None) -> dict[str, float]:
    """Return how busy a scheduler says it is."""
    counts = (identity or {}).get("counts") or {}
    cores = max(1, int(counts.get("cores") or 0))
    return {
        "clients": counts.get("clients", 0),
        "tasks_waiting": counts.get("waiting", 0) + counts.get("processing", 0),
        "busy_fraction": min(1.0, counts.get("processing", 0) / cores),
    }


def not_reached(namespace: str, name: str) -> Reason:
    """Return that nothing here reaches a scheduler, and what would help."""
    service = f"{name}-scheduler"
    return Reason(
        code=ReasonCode.scheduler_not_reached,
        message="The scheduler runs, but no connection from this host reaches it: it listens in the network of the cluster.",
        hint=(
            "Use a notebook that runs in the cluster, or forward its port: "
            f"kubectl -n {namespace} port-forward svc/{service} {names.SCHEDULER_PORT}, and then"
            f' Client("tcp://localhost:{names.SCHEDULER_PORT}")'
        ),
    )


def found_cluster(snapshot: Snapshot, found: Object) -> FoundCluster:
    """Return a DaskCluster as something that was found."""
    name = names.name_of(found)
    group = snapshot.default_group(name)
    worker = found["spec"]["worker"]
    replicas = min(
        MAXIMUM_WORKERS, int((group["spec"]["worker"] if group is not None else worker).get("replicas") or 0)
    )
    container = (worker["spec"]["containers"] or [{}])[0]
    resources = container.get("resources") or {}
    size = {**(resources.get("requests") or {}), **(resources.get("limits") or {})}
    profile = Profile(
        name="as-made", title="As it was made", cores=min(1024, max(1, whole(size.get("cpu")) or 1)),
        memory_bytes=max(1, whole(size.get("memory")) or 1),
    )  # fmt: skip
    return FoundCluster(
        names.uid_of(found), name, handle(found), profile, replicas, adaptive_of(snapshot, name), created_at(found)
    )
