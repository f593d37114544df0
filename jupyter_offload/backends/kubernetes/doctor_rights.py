"""What the account may do, asked of the API server itself, and the lines that grant what is missing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ...api.models import Finding
from ...api.problems import OffloadError
from .api import KubeApi
from .options import KubernetesOptions
from .rbac import RIGHTS, TOO_MUCH, Right, grant

_AT_ONCE = 4


async def who_am_i(api: KubeApi) -> str:
    """Return the account's name at the API server; the kubeconfig's own name for it where the server is too old to say."""
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        answer = await api.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=body)
    except OffloadError:
        return api.connection.account.user if api.connection.account else ""
    return str(((answer.get("status") or {}).get("userInfo") or {}).get("username") or "")


async def may(api: KubeApi, right: Right) -> bool | None:
    """Return whether the account has a right, None where the API server does not say."""
    attributes = {
        "verb": right.verb,
        "resource": right.resource,
        "group": right.group,
        "subresource": right.subresource,
    }
    if right.namespaced:
        attributes["namespace"] = api.namespace
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    try:
        answer = await api.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body=body)
    except OffloadError:
        return None
    return (answer.get("status") or {}).get("allowed") is True


async def right_findings(api: KubeApi, user: str, options: KubernetesOptions) -> tuple[list[Finding], set[str]]:
    """Return what is to say of the account's rights, and those that it has, each as ``resource verb``."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def ask(right: Right) -> bool | None:
        async with gate:
            return await may(api, right)

    wanted = [r for r in RIGHTS if _wanted(r, options)]
    answers = await asyncio.gather(*(ask(r) for r in (*wanted, *TOO_MUCH)))
    has = dict(zip((*wanted, *TOO_MUCH), answers, strict=True))
    allowed = {f"{r.named} {r.verb}" for r in wanted if has[r]}
    missing = [r for r in wanted if has[r] is False]
    findings = _missing(missing, user, api.namespace)
    unknown = [r for r in wanted if has[r] is None]
    if unknown:
        text = f"The API server did not say whether the account may {_listed(unknown)}."
        findings.append(Finding(check="rights", state="warning", message=text, hint="Look again in a moment."))
    if not missing and not unknown:
        text = f"The account may do all that is needed in namespace {api.namespace!r}."
        findings.append(Finding(check="rights", state="ok", message=text))
    findings += [_too_much(r, user) for r in TOO_MUCH if has[r]]
    return findings, allowed


def _wanted(right: Right, options: KubernetesOptions) -> bool:
    if right.resource == "nodes":
        return right.verb == ("get" if options.node is not None else "list")
    return True


def _listed(rights: Sequence[Right]) -> str:
    return ", ".join(f"{r.verb} {r.named}" for r in rights)


def _missing(rights: Sequence[Right], user: str, namespace: str) -> list[Finding]:
    """Return one finding for each resource, so that each is repaired by one line."""
    findings = []
    for key in dict.fromkeys((r.named, r.namespaced, r.group) for r in rights):
        same = [r for r in rights if (r.named, r.namespaced, r.group) == key]
        where = f"in namespace {namespace!r}" if key[1] else "in the cluster"
        needed = any(r.needed for r in same)
        verbs = [r.verb for r in same]
        text = f"The account {user!r} may not {', '.join(verbs)} {key[0]} {where}; needed to {'; to '.join(r.why for r in same)}."
        hint = grant(user, [(key[0], verbs, key[2])], namespace if key[1] else None)
        state = "error" if needed else "warning"
        findings.append(Finding.model_validate({"check": "rights", "state": state, "message": text, "hint": hint}))
    return findings


def _too_much(right: Right, user: str) -> Finding:
    text = f"The account {user!r} may {right.why}, which nothing here needs."
    hint = (
        "Use an account with the Role of docs/how-to/add-a-kubernetes-site.md only; who gets at this one gets all that."
    )
    return Finding(check="rights", state="warning", message=text, hint=hint)
