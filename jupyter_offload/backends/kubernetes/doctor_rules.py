"""Which rules of the namespace a worker meets: quotas, limit ranges, Pod Security, admission; asked with a pod that is not kept."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from ...api.models import Finding, Profile, SiteDefinition
from ...api.problems import NotFound, OffloadError, ProblemCode
from .api import KubeApi
from .fit import needs
from .options import KubernetesOptions
from .placement import Placement
from .quantities import parse_quantity

_AT_ONCE = 4
_MIB = 2**20
_CHECK = "admission"


def probe(site: SiteDefinition, options: KubernetesOptions, profile: Profile, placement: Placement) -> dict[str, Any]:
    """Return a pod that meets the same rules as a worker of this profile; it is only ever sent as a dry run."""
    amounts = {r: str(n) for r, n in needs(profile).items()}
    amounts["memory"] = f"{max(1, profile.memory_bytes // _MIB)}Mi"
    paths = list(enumerate(options.host_paths))
    container = {
        "name": "worker",
        "image": site.images[0].image if site.images else "unknown",
        "command": ["true"],
        "resources": {"requests": amounts, "limits": amounts},
        "volumeMounts": [{"name": f"path-{i}", "mountPath": p.path, "readOnly": p.read_only} for i, p in paths],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "offload-check-", "labels": {"app.kubernetes.io/managed-by": "jupyter-offload"}},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "nodeSelector": dict(placement.node_selector),
            "tolerations": [dict(t) for t in placement.tolerations],
            "containers": [container],
            "volumes": [{"name": f"path-{i}", "hostPath": {"path": p.path, "type": "Directory"}} for i, p in paths],
        },
    }


async def admission_findings(
    site: SiteDefinition, options: KubernetesOptions, api: KubeApi, placement: Placement
) -> list[Finding]:
    """Return whether a worker of each profile would be let in; nothing is created."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def ask(profile: Profile) -> Finding:
        async with gate:
            pod = probe(site, options, profile, placement)
            try:
                await api.request("POST", api.path("pods"), body=pod, params={"dryRun": "All"})
            except NotFound:
                text = f"There is no namespace {api.namespace!r}."
                hint = f"An administrator runs: kubectl create namespace {api.namespace}; or name another: options.namespace"
                return Finding(check="namespace", state="error", message=text, hint=hint)
            except OffloadError as error:
                text = f"A worker of profile {profile.name!r} would be refused: {error.message}"
                state = "warning" if error.code is ProblemCode.site_unreachable else "error"
                return Finding.model_validate({"check": _CHECK, "state": state, "message": text, "hint": error.hint})
            return Finding(check=_CHECK, state="ok", message=f"A worker of profile {profile.name!r} would be let in.")

    findings = await asyncio.gather(*(ask(p) for p in site.profiles))
    return [f for i, f in enumerate(findings) if f not in findings[:i]]


async def quota_findings(site: SiteDefinition, api: KubeApi) -> list[Finding]:
    """Return how many workers the quotas of the namespace still allow; nothing where they cannot be seen."""
    try:
        listed = await api.request("GET", api.path("resourcequotas"))
    except OffloadError:
        return []  # the rights say so
    quotas = {str(q["metadata"]["name"]): q.get("status") or {} for q in listed.get("items") or []}
    findings = []
    for name, status in quotas.items():
        for profile in site.profiles:
            room, most = room_for(profile, status)
            if room is None or most is None:
                continue
            text = f"Quota {name!r} allows {room} more workers of profile {profile.name!r} now, and {most} in all."
            if most == 0:
                text = f"Quota {name!r} allows no worker of profile {profile.name!r} at all."
            state = "ok" if room else "warning"
            hint = None if room else "Have the administrator raise it, or choose a smaller worker."
            findings.append(Finding.model_validate({"check": "quota", "state": state, "message": text, "hint": hint}))
    return findings


def room_for(profile: Profile, status: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Return how many workers a quota's status leaves room for now, and how many in all; None where it does not bound them."""
    hard, used = status.get("hard") or {}, status.get("used") or {}
    wanted = {"pods": 1, "count/pods": 1, "secrets": 1, "count/secrets": 1}
    for resource, amount in needs(profile).items():
        wanted |= {f"requests.{resource}": amount, f"limits.{resource}": amount}
        if resource in ("cpu", "memory"):
            wanted[resource] = amount
    now, ever = [], []
    for key, amount in wanted.items():
        limit, taken = parse_quantity(hard.get(key)), parse_quantity(used.get(key))
        if limit is not None and amount > 0:
            ever.append(int(limit // amount))
            now.append(max(0, int((limit - (taken or 0)) // amount)))
    return (min(now), min(ever)) if ever else (None, None)
