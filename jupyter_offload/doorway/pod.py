"""The keeper's pod and its Secret as Kubernetes objects. Pure.

Nothing secret is in the pod: certificates come from the Secret, tokens of the session through the door.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from .. import __version__
from ..api.locations import ADDRESS
from ..api.problems import ProblemCode, Unavailable
from ..keeper.door import AUTHORITY, CERTIFICATE
from .settings import Placement

PREFIX = "offload.dask.org"
ROLE = f"{PREFIX}/role"
OWNER = f"{PREFIX}/owner"
#: Annotations: what the pod was made of, and by which release.
MADE_FROM, RELEASE = f"{PREFIX}/made-from", f"{PREFIX}/release"
CONTAINER = "keeper"
#: Where the Secret is, and the volume's name.
DOOR_FOLDER, DOOR_VOLUME = "/run/offload-door", "offload-door"
TOKENS = "/var/run/secrets"
GRACE_S = 30

Json = dict[str, Any]


@dataclass(frozen=True)
class Here:
    """What the keeper's pod has in common with the server that makes it.

    Attributes:
        owner: id of the data folder.
        paths: folders that the keeper needs as they are here: the home, the data folder, the configuration.
        environment: variables that say where these are.
        pod: the server's own, None where it is in none.
        host: name of the server's host, which is its pod's.
    """

    owner: str
    uid: int
    gid: int
    python: str
    paths: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    pod: Mapping[str, Any] | None = None
    host: str = ""


def name_of(owner: str) -> str:
    """Return the name of the pod, and of its Secret."""
    return f"offload-keeper-{owner}"


def secret(owner: str, authority_pem: bytes, door_pem: bytes) -> Json:
    """Return the Secret with what the door needs."""
    data = {AUTHORITY: authority_pem, CERTIFICATE: door_pem}
    return {
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": name_of(owner), "labels": _labels(owner)},
        "data": {name: base64.b64encode(content).decode() for name, content in data.items()},
    }  # fmt: skip


def pod(placement: Placement, here: Here) -> Json:
    """Return the pod.

    Raises:
        Unavailable: the server is in no pod, and the settings leave to its pod what to run.
    """
    spec = _spec(placement, here)
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:16]
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name_of(here.owner),
            "labels": {**placement.labels, **_labels(here.owner)},
            "annotations": {**placement.annotations, MADE_FROM: digest, RELEASE: __version__},
        },
        "spec": spec,
    }  # fmt: skip


def keeps_records(made: Mapping[str, Any], data_folder: str) -> bool:
    """Return whether the records of a pod's keeper outlive it: its data folder is on a volume that does."""
    spec = made["spec"]
    lasting = {v["name"] for v in spec.get("volumes", []) if "emptyDir" not in v and "ephemeral" not in v}
    mounts = spec["containers"][0].get("volumeMounts", [])
    around = [m for m in mounts if _is_within(data_folder, m["mountPath"])]
    innermost = max(around, key=lambda m: len(m["mountPath"]), default=None)
    return innermost is not None and innermost["name"] in lasting


def _labels(owner: str) -> dict[str, str]:
    return {"app.kubernetes.io/managed-by": "jupyter-offload", ROLE: "keeper", OWNER: owner}


def _spec(placement: Placement, here: Here) -> Json:
    own = here.pod["spec"] if here.pod is not None else {}
    volumes, mounts = _volumes(placement, here)
    security = _security(here, own)
    # Its files belong to root and, if there is one, to fsGroup. A group of ours would not do: Kubernetes opens all files of the home to it.
    mode = 0o440 if "fsGroup" in security else 0o444
    door = {"name": DOOR_VOLUME, "secret": {"secretName": name_of(here.owner), "defaultMode": mode}}
    spec: Json = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE_S,
        "automountServiceAccountToken": placement.service_account is not None,
        "enableServiceLinks": False,
        # its first process is then the one of Kubernetes that takes up orphans, not the keeper
        "shareProcessNamespace": True,
        "securityContext": security,
        "volumes": [*volumes, door],
        "containers": [_container(placement, here, own, mounts)],
    }
    if placement.service_account is not None:
        spec["serviceAccountName"] = placement.service_account
    if placement.node_selector:
        spec["nodeSelector"] = dict(placement.node_selector)
    if placement.tolerations:
        spec["tolerations"] = [t.as_kubernetes() for t in placement.tolerations]
    if own.get("imagePullSecrets"):
        spec["imagePullSecrets"] = own["imagePullSecrets"]
    return spec


def _security(here: Here, own: Mapping[str, Any]) -> Json:
    """Return who the processes are: whoever runs the server, since the files in the home are his."""
    theirs = own.get("securityContext") or {}
    kept = {k: theirs[k] for k in ("fsGroup", "fsGroupChangePolicy", "supplementalGroups") if k in theirs}
    return {
        "runAsUser": here.uid, "runAsGroup": here.gid, "runAsNonRoot": here.uid != 0,
        "seccompProfile": {"type": "RuntimeDefault"}, **kept,
    }  # fmt: skip


def _container(placement: Placement, here: Here, own: Mapping[str, Any], mounts: list[Json]) -> Json:
    image = placement.image or _own_container(own).get("image")
    if not image:
        raise _unsaid("image", f"the server ({here.host}) is in no pod that could say it")
    python = placement.python or (here.python if placement.image is None else "python3")
    cores = f"{round(placement.cores * 1000)}m"
    amounts = {"cpu": cores, "memory": str(placement.memory_bytes)}
    variables = {
        **here.environment, **placement.environment,
        "JUPYTER_OFFLOAD_KEEPER_IDLE_S": str(placement.idle_s), "JUPYTER_OFFLOAD_ENDS_WITH_SERVER": "0",
    }  # fmt: skip
    return {
        "name": CONTAINER,
        "image": image,
        "command": [
            python, "-m", "jupyter_offload.keeper", "--door", DOOR_FOLDER, "--port", str(placement.port),
            "--owner", here.owner,
        ],
        "env": [
            {"name": ADDRESS, "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            *({"name": name, "value": value} for name, value in sorted(variables.items())),
        ],
        "ports": [{"name": "door", "containerPort": placement.port}],
        "resources": {"requests": amounts, "limits": dict(amounts)},
        "securityContext": {"allowPrivilegeEscalation": False, "privileged": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [*mounts, {"name": DOOR_VOLUME, "mountPath": DOOR_FOLDER, "readOnly": True}],
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }  # fmt: skip


def _own_container(own: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the server's container: KubeSpawner calls it ``notebook``; else the first."""
    containers: list[Json] = own.get("containers") or [{}]
    return next((c for c in containers if c.get("name") == "notebook"), containers[0])


def _volumes(placement: Placement, here: Here) -> tuple[list[Json], list[Json]]:
    if placement.volumes is not None:
        return list(placement.volumes), list(placement.mounts or [])
    own = here.pod["spec"] if here.pod is not None else {}
    mounts = [
        m for m in _own_container(own).get("volumeMounts") or []
        if not _is_within(m["mountPath"], TOKENS)
        and any(_is_within(p, m["mountPath"]) or _is_within(m["mountPath"], p) for p in here.paths)
    ]  # fmt: skip
    named = {m["name"] for m in mounts}
    # what is empty there is empty here, and is not shared
    return [v for v in own.get("volumes") or [] if v["name"] in named], mounts


def _is_within(path: str, folder: str) -> bool:
    return PurePosixPath(path).is_relative_to(folder)


def _unsaid(name: str, why: str) -> Unavailable:
    return Unavailable(
        ProblemCode.keeper_unreachable, f"placement.yaml does not say the {name} of the keeper's pod, and {why}.",
        field=name, hint=f"Write it into placement.yaml: {name}: ...",
    )  # fmt: skip
