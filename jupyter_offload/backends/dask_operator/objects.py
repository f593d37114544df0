"""The objects that a cluster is made of at the site, built from what was asked: pure.

Their schema is the operator's: https://kubernetes.dask.org/en/latest/operator_resources.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...api.models import ClusterSpec, Profile, SiteDefinition, WorkerImage
from ...api.problems import BadInput, ProblemCode
from ...ports import ClusterContext
from . import names
from .options import DaskOperatorOptions

Object = dict[str, Any]
_GRACE_S = 10
#: A worker that lost its scheduler ends, and is started anew in its pod.
_DEATH_TIMEOUT_S = 60


def image_of(site: SiteDefinition, spec: ClusterSpec) -> WorkerImage:
    """Return the image of a cluster: the one it names, else the site's first.

    Raises:
        BadInput: the site has none of that name (``unknown-image``).
    """
    for image in site.images:
        if spec.image in (None, image.name):
            return image
    known = ", ".join(i.name for i in site.images)
    raise BadInput(
        ProblemCode.unknown_image, f"Site {site.name!r} has no image {spec.image!r}.", field="image",
        hint=f"Images there: {known}.",
    )  # fmt: skip


def own_labels(cluster: ClusterContext) -> Object:
    """Return the labels by which a cluster is found; the operator passes them on to its pods."""
    return {names.OWNER: cluster.owner, names.CLUSTER: cluster.id, names.MANAGER: names.OURS}


def dask_cluster(cluster: ClusterContext, workers: int, site: SiteDefinition, options: DaskOperatorOptions) -> Object:
    """Return the DaskCluster of a new cluster."""
    name = names.cluster_name(cluster.name, cluster.id)
    made = cluster_object(name, cluster.spec, cluster.profile, workers, site, options)
    made["metadata"] |= {"labels": own_labels(cluster), "annotations": {names.SHOWN_NAME: cluster.name}}
    return made


def cluster_object(
    name: str,
    spec: ClusterSpec,
    profile: Profile,
    workers: int,
    site: SiteDefinition,
    options: DaskOperatorOptions,
) -> Object:
    """Return a DaskCluster without labels, also for the preview."""
    image = image_of(site, spec)
    pod = _pod(profile, options)
    variables = [{"name": key, "value": value} for key, value in spec.env.items()]
    preload = [word for module in spec.modules for word in ("--preload", module)]
    scheduler = {"image": image.image, "env": variables, **_scheduler_container(image.python, preload, options)}
    worker = {"image": image.image, "env": variables, **_worker_container(image.python, preload, profile)}
    wanted: Object = {
        "worker": {"replicas": workers, "spec": {**pod, "containers": [worker]}},
        "scheduler": {"spec": {**pod, "containers": [scheduler]}, "service": _service(name)},
        "idleTimeout": spec.idle_timeout_s or 0,
    }
    return {"apiVersion": f"{names.GROUP}/v1", "kind": "DaskCluster", "metadata": {"name": name}, "spec": wanted}


def _pod(profile: Profile, options: DaskOperatorOptions) -> Object:
    selector = dict(options.node_selector)
    if profile.architecture is not None:
        selector["kubernetes.io/arch"] = profile.architecture
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _GRACE_S,
        "nodeSelector": selector,
        "tolerations": [t.as_kubernetes() for t in options.tolerations],
    }


def _scheduler_container(python: str, preload: Sequence[str], options: DaskOperatorOptions) -> Object:
    size = {"cpu": str(options.scheduler_cores), "memory": str(options.scheduler_memory_bytes)}
    return {
        "name": "scheduler",
        "command": [python, "-m", "distributed.cli.dask_scheduler"],
        # KubeCluster.from_name() looks for something here
        "args": [
            "--host", "0.0.0.0",  # noqa: S104  (of the pod)
            "--port", str(names.SCHEDULER_PORT), "--dashboard-address", f":{names.DASHBOARD_PORT}", *preload,
        ],
        "ports": [
            {"name": "tcp-comm", "containerPort": names.SCHEDULER_PORT, "protocol": "TCP"},
            {"name": "http-dashboard", "containerPort": names.DASHBOARD_PORT, "protocol": "TCP"},
        ],
        "readinessProbe": {"httpGet": {"port": "http-dashboard", "path": "/health"}, "periodSeconds": 1, "timeoutSeconds": 5},
        "resources": {"requests": size, "limits": {"memory": size["memory"]}},
        "securityContext": {"allowPrivilegeEscalation": False},
    }  # fmt: skip


def _worker_container(python: str, preload: Sequence[str], profile: Profile) -> Object:
    size = {"cpu": str(profile.cores), "memory": str(profile.memory_bytes)}
    size |= {a.resource: str(a.count) for a in profile.accelerators}
    return {
        "name": "worker",
        "command": [python, "-m", "distributed.cli.dask_worker"],
        # its name and the scheduler's address are variables that the operator adds
        "args": [
            "--name", "$(DASK_WORKER_NAME)", "--nthreads", str(profile.cores), "--memory-limit", str(profile.memory_bytes),
            "--death-timeout", str(_DEATH_TIMEOUT_S), "--no-dashboard", *preload,
        ],
        "resources": {"requests": size, "limits": size},
        "securityContext": {"allowPrivilegeEscalation": False},
    }  # fmt: skip


def _service(name: str) -> Object:
    return {
        "type": "ClusterIP",
        "selector": {names.CLUSTER_NAME: name, names.COMPONENT: names.SCHEDULER},
        "ports": [
            {"name": "tcp-comm", "protocol": "TCP", "port": names.SCHEDULER_PORT, "targetPort": "tcp-comm"},
            {"name": "http-dashboard", "protocol": "TCP", "port": names.DASHBOARD_PORT, "targetPort": "http-dashboard"},
        ],
    }


def autoscaler(found: Mapping[str, Any], spec: ClusterSpec) -> Object:
    """Return the DaskAutoscaler of a cluster that adapts; it ends with its cluster.

    Args:
        found: the DaskCluster as the site has it.
        spec: with ``adaptive``.
    """
    assert spec.adaptive is not None
    name = names.name_of(found)
    owner = {"apiVersion": found["apiVersion"], "kind": "DaskCluster", "name": name, "uid": names.uid_of(found)}
    return {
        "apiVersion": f"{names.GROUP}/v1",
        "kind": "DaskAutoscaler",
        "metadata": {"name": name, "labels": dict(names.labels_of(found)), "ownerReferences": [owner]},
        "spec": {"cluster": name, **spec.adaptive.model_dump()},
    }
