"""The pod of one worker and the Secret beside it, as interLink and its plugins carry them through. Pure.

Each plugin loses something else of a pod; what is left that all keep is little (``contract.py`` has the list). So the pod says only
where, how large, which image and one command; everything else is in the Secret.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...api.models import Accelerator, Profile, WorkerImage
from ...worker.job import job_command
from . import names
from .options import KubernetesOptions
from .placement import Placement

_MIB = 2**20
#: For a worker whose node is drained or whose job is preempted to hand its data on after SIGTERM.
GRACE_S = 30
#: Nobody drains a virtual node, and some of its deletions take all of this.
_VIRTUAL_GRACE_S = 5
#: Dask's own limit lies below the site's, so that a worker spills and pauses before the site kills it.
_LEAST_MARGIN_BYTES, _MOST_MARGIN_BYTES = 128 * _MIB, 1024 * _MIB
_OF_GPU = ("gpu", "/mig-")


@dataclass(frozen=True)
class PodRequest:
    """What a worker's pod depends on.

    Attributes:
        worker: its name.
        owner, cluster, cluster_name: of the cluster, for labels and people.
        profile: its size.
        image: what it runs.
        placement: where it goes.
        options: of the site.
        virtual: whether its node is one of interLink's.
    """

    worker: str
    owner: str
    cluster: str
    cluster_name: str
    profile: Profile
    image: WorkerImage
    placement: Placement
    options: KubernetesOptions
    virtual: bool


def pod_of(request: PodRequest) -> dict[str, Any]:
    """Return the pod.

    Raises:
        ValueError: the image's Python or the mount path has a character that a shell would read.
    """
    name, options = names.object_name(request.worker), request.options
    mounts = [{"name": "offload", "mountPath": options.mount_path, "readOnly": True}]
    volumes: list[dict[str, Any]] = [{"name": "offload", "secret": {"secretName": name, "defaultMode": 0o400}}]
    for number, host in enumerate(options.host_paths):
        mounts.append({"name": f"host-{number}", "mountPath": host.path, "readOnly": host.read_only})
        volumes.append({"name": f"host-{number}", "hostPath": {"path": host.path, "type": "Directory"}})
    limits = resources_of(request.profile)
    container: dict[str, Any] = {
        "name": "worker",
        "image": request.image.image,
        "command": job_command(request.image.python, options.mount_path),
        "resources": {"requests": limits, "limits": limits},
        "volumeMounts": mounts,
    }
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _VIRTUAL_GRACE_S if request.virtual else GRACE_S,
        "nodeSelector": dict(request.placement.node_selector),
        "tolerations": [dict(t) for t in request.placement.tolerations],
        "containers": [container],
        "volumes": volumes,
    }
    if not request.virtual:  # a plugin would hand a user id on to the batch system
        container["securityContext"] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        spec["securityContext"] = {"seccompProfile": {"type": "RuntimeDefault"}}
    annotations = options.annotations_of(request.profile.name) | {names.CLUSTER_NAME: request.cluster_name}
    labels = names.labels(request.owner, request.cluster, request.worker)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels, "annotations": annotations},
        "spec": spec,
    }


def secret_of(request: PodRequest, files: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the Secret with a worker's files."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": names.object_name(request.worker),
            "labels": names.labels(request.owner, request.cluster, request.worker),
        },
        "type": "Opaque",
        "immutable": True,
        "data": {name: base64.b64encode(content).decode() for name, content in files.items()},
    }


def owned_by(pod: Mapping[str, Any]) -> dict[str, Any]:
    """Return the change that lets a Secret go with its pod."""
    meta = pod["metadata"]
    reference = {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]}
    return {"metadata": {"ownerReferences": [reference]}}


def resources_of(profile: Profile) -> dict[str, str]:
    """Return requests and limits of a worker: whole cores, memory in Mi rounded down, accelerators."""
    found = {"cpu": str(profile.cores), "memory": f"{max(1, profile.memory_bytes // _MIB)}Mi"}
    for accelerator in profile.accelerators:
        found[accelerator.resource] = str(int(found.get(accelerator.resource, 0)) + accelerator.count)
    return found


def memory_limit_bytes(profile: Profile) -> int:
    """Return what Dask may use of a worker's memory: the rest is for the processes around it."""
    memory = profile.memory_bytes // _MIB * _MIB
    margin = min(max(memory // 20, _LEAST_MARGIN_BYTES), _MOST_MARGIN_BYTES)
    return max(memory - margin, memory // 2)


def dask_resources(accelerators: list[Accelerator]) -> dict[str, float]:
    """Return Dask's resources of a worker: ``GPU`` for graphics processors and their slices, ``FPGA``."""
    found: dict[str, float] = {}
    for accelerator in accelerators:
        name = "GPU" if any(part in accelerator.resource for part in _OF_GPU) else ""
        name = "FPGA" if "fpga" in accelerator.resource else name
        if name:
            found[name] = found.get(name, 0) + accelerator.count
    return found
