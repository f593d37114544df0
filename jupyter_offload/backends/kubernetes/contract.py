"""What a pod may say so that interLink and each of its plugins carry it through, as a check. Pure.

Collected from the sources of interLink 0.4 to 0.6 and of its plugins for Slurm, HTCondor, Kubernetes and Docker, each of which
drops, misreads or refuses something else; ``docs/reference/pod-contract.md`` has the reasons.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

#: `<pod>-<namespace>-wstunnel` in the namespace `<namespace>-wstunnel` is what tunnels build.
LONGEST_NAME = 25
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z")
_WORD = re.compile(r"[A-Za-z0-9/._+:@=-]+\Z")
_CORES = re.compile(r"[1-9][0-9]*\Z")
_MEMORY = re.compile(r"[1-9][0-9]*(Mi|Gi)\Z")
_PIECES = re.compile(r"[1-9][0-9]*\Z")
_VOLUMES = frozenset({"secret", "hostPath"})
#: Of the pod's spec; the API server adds the rest, with defaults that do no harm.
_FALSE = ("automountServiceAccountToken", "enableServiceLinks")
_FORBIDDEN = (
    "initContainers", "ephemeralContainers", "hostNetwork", "hostPID", "hostIPC", "hostAliases", "imagePullSecrets",
    "activeDeadlineSeconds", "topologySpreadConstraints", "affinity", "runtimeClassName",
)  # fmt: skip
_FORBIDDEN_IN_CONTAINER = (
    "args", "envFrom", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "ports", "stdin", "tty",
)  # fmt: skip


def violations(pod: Mapping[str, Any], secret: Mapping[str, Any] | None = None) -> list[str]:
    """Return how a pod on a virtual node breaks the contract, a sentence each; empty when it is kept.

    Args:
        pod: as sent to the API server, or as a plugin gets it.
        secret: what is mounted, where it is at hand: each name of a file must be plain.
    """
    return [*_meta(pod["metadata"]), *_spec(pod["spec"]), *_containers(pod["spec"]), *_secret(secret)]


def _meta(meta: Mapping[str, Any]) -> Iterator[str]:
    name = meta["name"]
    if not _LABEL.match(name) or len(name) > LONGEST_NAME:
        yield f"metadata.name {name!r} is no label of at most {LONGEST_NAME} characters"


def _spec(spec: Mapping[str, Any]) -> Iterator[str]:
    if spec.get("restartPolicy") != "Never":
        yield "spec.restartPolicy is not Never: nothing starts again in place there"
    for field in _FALSE:
        if spec.get(field) is not False:
            yield f"spec.{field} is not false"
    for field in _FORBIDDEN:
        if spec.get(field):
            yield f"spec.{field} is lost or misread on the way"
    security = spec.get("securityContext") or {}
    if security:
        yield f"spec.securityContext ({', '.join(security)}) is handed to the batch system"
    chosen = set(spec.get("nodeSelector") or {})
    if chosen - {"kubernetes.io/hostname"}:
        yield f"spec.nodeSelector has {', '.join(sorted(chosen))}: virtual nodes have no such labels"
    if not spec.get("tolerations"):
        yield "spec.tolerations is empty, and every virtual node has a taint"
    for volume in spec.get("volumes") or []:
        kinds = set(volume) - {"name"}
        if not kinds <= _VOLUMES:
            yield f"volume {volume['name']} is of the kind {', '.join(sorted(kinds))}; only Secrets and host paths arrive"
        if "hostPath" in volume and volume["hostPath"].get("type") not in ("Directory", "DirectoryOrCreate"):
            yield f"volume {volume['name']}: a host path needs the type Directory"
        if (volume.get("secret") or {}).get("items"):
            yield f"volume {volume['name']}: items of a Secret are ignored"


def _containers(spec: Mapping[str, Any]) -> Iterator[str]:
    containers = spec["containers"]
    if len(containers) != 1:
        yield f"{len(containers)} containers: some plugins run the last one only"
    for container in containers:
        where = f"container {container['name']}"
        for field in _FORBIDDEN_IN_CONTAINER:
            if container.get(field):
                yield f"{where} has {field}, which means something else at each plugin"
        if not container.get("command"):
            yield f"{where} has no command"
        for word in container.get("command") or []:
            if not _WORD.match(word):
                yield f"{where}: the word {word!r} would be read by a shell"
        for variable in container.get("env") or []:
            if "valueFrom" in variable:
                yield f"{where}: the variable {variable['name']} is not literal"
            elif not _WORD.match(variable.get("value") or " "):
                yield f"{where}: the value of {variable['name']} would be read by a shell"
        for mount in container.get("volumeMounts") or []:
            if mount.get("subPath"):
                yield f"{where}: subPath mounts every key in one place"
        yield from _resources(where, container.get("resources") or {})


def _resources(where: str, resources: Mapping[str, Any]) -> Iterator[str]:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    if limits != requests:
        yield f"{where}: limits and requests differ, and plugins read one or the other"
    if not _CORES.match(str(limits.get("cpu", ""))):
        yield f"{where}: {limits.get('cpu')!r} is no whole number of cores"
    if not _MEMORY.match(str(limits.get("memory", ""))):
        yield f"{where}: the memory {limits.get('memory')!r} is no whole number of Mi or Gi"
    for name, number in limits.items():
        if name == "ephemeral-storage":
            yield f"{where}: virtual nodes have no ephemeral-storage"
        elif name not in ("cpu", "memory") and not _PIECES.match(str(number)):
            yield f"{where}: {number!r} is no number of {name}"


def _secret(secret: Mapping[str, Any] | None) -> Iterator[str]:
    for name in (secret or {}).get("data") or {}:
        if not re.match(r"[A-Za-z0-9._-]+\Z", name):
            yield f"the file {name!r} has no plain name"
