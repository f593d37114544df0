"""One node as the API server shows it, read once into what this backend asks of it. Pure.

A virtual node is told by the taint ``virtual-node.interlink/no-schedule``, which every version of interLink sets; its label
was ``type=virtual-kubelet`` up to 0.3.7 and is ``virtual-node.interlink/type=virtual-kubelet`` since.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from .ping import Ping, read_ping
from .placement import HOSTNAME, VIRTUAL_TAINT
from .quantities import whole

#: Label and value of a virtual node, the newer one first.
VIRTUAL_LABELS = (("virtual-node.interlink/type", "virtual-kubelet"), ("type", "virtual-kubelet"))
#: A heartbeat comes every minute at least; after this the last word of a node is no longer believed.
STALE_S = 300.0
_ARCHITECTURES = ("amd64", "arm64")
#: Without one of these nothing fits on a node, and what they are called.
_COUNTED = {"cpu": "cores", "memory": "memory", "pods": "pods"}
_CORDONED = "node.kubernetes.io/unschedulable"


@dataclass(frozen=True)
class Heard:
    """When a node was heard, by our own clock (seconds since the epoch); None where that cannot be known.

    Attributes:
        beat_at: its heartbeat last changed.
        ready_at: it last said that it is Ready.
    """

    beat_at: float | None = None
    ready_at: float | None = None


@dataclass(frozen=True)
class NodeView:
    """A node. ``ready`` is None where nobody knows: the cluster lost it, or its heartbeat is stale.

    Attributes:
        message: why it is not ready, in the words of the node or of interLink; may be empty.
        zero: it says that it has no cores, memory or pods, so that nothing fits.
        allocatable: pieces, cores, bytes by resource, rounded down.
    """

    name: str
    hostname: str
    virtual: bool
    ready: bool | None
    message: str
    heard: Heard
    cordoned: bool
    zero: Sequence[str]
    taints: Sequence[Mapping[str, Any]]
    labels: Mapping[str, str]
    allocatable: Mapping[str, int]
    architecture: str | None
    ping: Ping
    connectivity: Mapping[str, Any] | None = None
    conditions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, node: Mapping[str, Any], now: float, heard: Heard) -> NodeView:
        """Return a node of the API as it is ``now`` (seconds since the epoch)."""
        metadata, spec, status = (_group(node, k) for k in ("metadata", "spec", "status"))
        labels, annotations = _group(metadata, "labels"), _group(metadata, "annotations")
        name, taints = str(metadata.get("name", "")), list(spec.get("taints") or [])
        conditions = {str(c.get("type")): c for c in status.get("conditions") or []}
        ready, message = _ready(conditions, now, heard)
        allocatable = {k: n for k, v in _group(status, "allocatable").items() if (n := whole(v)) is not None}
        return cls(
            name=name,
            hostname=str(labels.get(HOSTNAME) or name),
            virtual=is_virtual(node),
            ready=ready,
            message=message,
            heard=heard,
            cordoned=spec.get("unschedulable") is True or any(t.get("key") == _CORDONED for t in taints),
            zero=[name for key, name in _COUNTED.items() if allocatable.get(key) == 0],
            taints=taints,
            labels=labels,
            allocatable=allocatable,
            architecture=_architecture(labels, _group(status, "nodeInfo")),
            ping=read_ping(annotations),
            connectivity=conditions.get("InterlinkConnectivity"),
            conditions=conditions,
        )

    @property
    def last_heard_at(self) -> datetime | None:
        """When the site behind it last gave a sign of life."""
        at = self.heard.ready_at
        return None if at is None else datetime.fromtimestamp(at, UTC)


def _group(of: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = of.get(key)
    return value if isinstance(value, Mapping) else {}


def is_virtual(node: Mapping[str, Any]) -> bool:
    """Tell a virtual node of interLink: by its taint, or, where an administrator took that away, by its label."""
    taints = _group(node, "spec").get("taints") or []
    labels = _group(_group(node, "metadata"), "labels")
    return any(t.get("key") == VIRTUAL_TAINT for t in taints) or any(labels.get(k) == v for k, v in VIRTUAL_LABELS)


def beat_of(node: Mapping[str, Any]) -> tuple[str | None, bool | None]:
    """Return the heartbeat of a node's Ready condition as it stands there, and whether it says Ready."""
    for condition in _group(node, "status").get("conditions") or []:
        if condition.get("type") == "Ready":
            state = {"True": True, "False": False}.get(str(condition.get("status")))
            beat = condition.get("lastHeartbeatTime")
            return str(beat) if beat else None, state
    return None, None


def _ready(conditions: Mapping[str, Mapping[str, Any]], now: float, heard: Heard) -> tuple[bool | None, str]:
    condition = conditions.get("Ready")
    if condition is None:
        return None, "the node does not say whether it is ready"
    state = str(condition.get("status"))
    link = conditions.get("InterlinkConnectivity") or {}
    if state == "True":
        if heard.beat_at is not None and now - heard.beat_at > STALE_S:
            return None, "its heartbeat stopped"
        return True, ""
    if state == "False":
        # the reason of Ready is always KubeletPending; only interLink's own condition says why
        said = link.get("message") if str(link.get("status")) == "False" else ""
        return False, str(said or _own_words(condition))
    return None, "its virtual kubelet or kubelet no longer reports to the cluster"


def _own_words(condition: Mapping[str, Any]) -> str:
    return "" if condition.get("reason") == "KubeletPending" else str(condition.get("message") or "")


def _architecture(labels: Mapping[str, Any], info: Mapping[str, Any]) -> str | None:
    """Return the architecture; a virtual kubelet calls its own ``virtual-kubelet``, which says nothing of the site."""
    for value in (labels.get("kubernetes.io/arch"), info.get("architecture")):
        if value in _ARCHITECTURES:
            return str(value)
    return None
