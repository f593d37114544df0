"""Is the account good, does the cluster know the operator, does the operator act, and what may this user do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from ...api.models import Finding, Health, HealthState, Reason, ReasonCode
from ...api.problems import BadInput, OffloadError, ProblemCode
from ..kubernetes.api import KubeApi
from ..kubernetes.rbac import grant
from . import names
from .options import DaskOperatorOptions
from .snapshot import Looker

#: What a user does here: verbs by resource and API group.
RIGHTS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (names.CLUSTERS, names.GROUP, ("list", "get", "create", "patch", "delete")),
    (names.GROUPS, names.GROUP, ("list", "patch")),
    (names.AUTOSCALERS, names.GROUP, ("list", "create", "patch", "delete")),
    ("deployments", "apps", ("list",)),
    ("pods", "", ("list",)),
    ("services", "", ("list",)),
)
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def not_installed(error: OffloadError | None = None) -> BadInput:
    """Return the error of a cluster that does not know the operator's objects."""
    return BadInput(ProblemCode.site_refused, _NOT_INSTALLED, hint=_INSTALL)


_NOT_INSTALLED = "The Kubernetes cluster does not know DaskCluster: the Dask Operator is not installed in it."
_INSTALL = f"An administrator runs: {names.INSTALL}"
_LOOK = "Ask its administrator to look: kubectl get pods -A -l app.kubernetes.io/name=dask-kubernetes-operator"


def operator_silent(name: str, age_s: float) -> Reason:
    """Return why a DaskCluster has no phase yet."""
    return Reason(
        code=ReasonCode.site_silent,
        message=f"The Dask Operator has not taken up DaskCluster {name} in {age_s:.0f} s; it seems not to run.", hint=_LOOK,
    )  # fmt: skip


def operator_behind(name: str, there: int, wanted: int) -> Reason:
    """Return why a DaskCluster has another number of workers than it was asked to have."""
    return Reason(
        code=ReasonCode.site_silent,
        message=f"The Dask Operator holds {there} workers of {name} where {wanted} are asked for, and does nothing about it; it"
        " seems not to run, or cannot reach the scheduler.",
        hint=_LOOK,
    )  # fmt: skip


async def quick(api: KubeApi, looker: Looker, options: DaskOperatorOptions) -> list[Finding]:
    """Return what one look shows: the account, the operator's objects, and whether it acts."""
    try:
        snapshot = await looker.look()
    except OffloadError as error:
        state = "warning" if error.transient else "error"
        return [
            Finding.model_validate(
                {"check": "api-server", "state": state, "message": error.message, "hint": error.hint}
            )
        ]
    where = f"The API server answers {api.account_source}, in namespace {snapshot.namespace!r}."
    findings = [Finding(check="api-server", state="ok", message=where)]
    if not snapshot.installed:
        return [*findings, Finding(check="operator", state="error", message=_NOT_INSTALLED, hint=_INSTALL)]
    findings.append(Finding(check="operator-objects", state="ok", message="The cluster knows DaskCluster."))
    for name, found in snapshot.clusters.items():
        age_s = time.time() - datetime.fromisoformat(found["metadata"]["creationTimestamp"]).timestamp()
        if not (found.get("status") or {}).get("phase") and age_s > options.deadlines.operator_s:
            said = operator_silent(name, age_s)
            return [*findings, Finding(check="operator", state="error", message=said.message, hint=said.hint)]
    seen = f"{len(snapshot.clusters)} DaskClusters, all of them taken up." if snapshot.clusters else (
        "No DaskCluster is there that would show whether the operator runs."
    )  # fmt: skip
    return [*findings, Finding(check="operator", state="ok", message=seen)]


async def check(api: KubeApi, looker: Looker, options: DaskOperatorOptions) -> Sequence[Finding]:
    """Return all of it, with the rights of the account."""
    findings = await quick(api, looker, options)
    if findings[0].state != "ok":
        return findings
    return [*findings, *await asyncio.gather(*(_right(api, *right) for right in RIGHTS))]


async def _right(api: KubeApi, resource: str, group: str, verbs: tuple[str, ...]) -> Finding:
    try:
        allowed = await asyncio.gather(*(_may(api, resource, group, verb) for verb in verbs))
    except OffloadError as error:
        return Finding(check=f"rights-{resource}", state="warning", message=error.message, hint=error.hint)
    missing = [verb for verb, may in zip(verbs, allowed, strict=True) if not may]
    if missing:
        return Finding(
            check=f"rights-{resource}", state="error",
            message=f"The account may not {', '.join(missing)} {resource} in namespace {api.namespace!r}.",
            hint=grant("", [(resource, missing, group)], api.namespace),
        )  # fmt: skip
    return Finding(check=f"rights-{resource}", state="ok", message=f"The account may {', '.join(verbs)} {resource}.")


async def _may(api: KubeApi, resource: str, group: str, verb: str) -> bool:
    """Ask the API server: https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/"""
    attributes = {"namespace": api.namespace, "resource": resource, "group": group, "verb": verb}
    answer = await api.request("POST", _REVIEWS, body={"spec": {"resourceAttributes": attributes}})
    return bool(answer["status"].get("allowed"))


def health_of(findings: Sequence[Finding]) -> Health:
    """Return what the findings mean for somebody who wants a cluster."""
    now = datetime.now(UTC)
    worst = next((f for f in findings if f.state == "error"), None) or next(
        (f for f in findings if f.state != "ok"), None
    )
    if worst is None:
        return Health(state=HealthState.healthy, checked_at=now, last_heard_at=now)
    state = HealthState.unhealthy if worst.state == "error" else HealthState.unknown
    return Health(state=state, message=worst.message, hint=worst.hint, checked_at=now)
