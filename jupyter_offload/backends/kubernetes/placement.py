"""Where the pods of a site go, and which taints they tolerate. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...api.models import Reason
from .options import KubernetesOptions

#: Label by which a pod names its node.
HOSTNAME = "kubernetes.io/hostname"
#: On every virtual node of interLink, whatever its version.
VIRTUAL_TAINT = "virtual-node.interlink/no-schedule"
#: Taints of Kubernetes itself: a pod that tolerated them would go to a node that cannot take it.
_OF_KUBERNETES = ("node.kubernetes.io/", "node.cloudprovider.kubernetes.io/")
_LOST = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


@dataclass(frozen=True)
class Placement:
    """What a pod of the site has in ``nodeSelector`` and ``tolerations``; ``problem`` is why none would start there now."""

    node_selector: Mapping[str, str]
    tolerations: Sequence[Mapping[str, Any]]
    problem: Reason | None = None


def tolerations(
    options: KubernetesOptions, taints: Sequence[Mapping[str, Any]], *, virtual: bool
) -> list[dict[str, Any]]:
    """Return what a pod tolerates: the taints of a virtual node as it is, a silent node for long, and what the site adds.

    Args:
        options: of the site.
        taints: of the live node; empty where it cannot be read.
        virtual: whether the node's own taints are invitations, as those of a virtual node are. Those of ordinary nodes may
            keep pods off; an administrator who wants them tolerated writes them down.
    """
    found: list[dict[str, Any]] = []
    if virtual:
        found.append({"key": VIRTUAL_TAINT, "operator": "Exists"})
        found += [
            _of_taint(t) for t in taints if not str(t.get("key", "")).startswith((*_OF_KUBERNETES, VIRTUAL_TAINT))
        ]
    found += [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": options.unreachable_toleration_s}
        for key in _LOST
    ]
    found += [t.as_kubernetes() for t in options.tolerations]
    return [t for i, t in enumerate(found) if t not in found[:i]]


def _of_taint(taint: Mapping[str, Any]) -> dict[str, Any]:
    value, effect = taint.get("value"), taint.get("effect")
    toleration: dict[str, Any] = {"key": taint["key"], "operator": "Equal" if value else "Exists"}
    if value:
        toleration["value"] = value
    if effect:
        toleration["effect"] = effect
    return toleration
