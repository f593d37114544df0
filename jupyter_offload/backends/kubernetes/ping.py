"""What a site says of itself in the answer to interLink's ping, kept on its node as an annotation. Pure.

interLink asks the site's plugin every 30 s and stores the answer word for word (since 0.5.2) in
``interlink.virtual-kubelet.io/ping-response``. It is JSON, the table that ``sinfo -s`` prints, or nothing. The JSON may hold
``resources`` (interLink's own, since 0.6.2) and ``site.free`` (``docs/how-to/let-a-site-report-gpu-slices.md``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from .accelerators import resource_of, slice_of
from .quantities import whole

ANNOTATION = "interlink.virtual-kubelet.io/ping-response"
_MIB = 2**20


@dataclass(frozen=True)
class Ping:
    """A site's answer. None stands for what it does not say.

    Attributes:
        form: ``absent`` before interLink 0.5.2, ``empty`` after a failed ping, ``text`` for a table, else ``json``.
        totals: pieces by resource and model.
        free: pieces by resource and model, as the site counts them.
    """

    form: Literal["absent", "empty", "text", "json"]
    text: str = ""
    cores: int | None = None
    memory_bytes: int | None = None
    pods: int | None = None
    cores_free: int | None = None
    memory_free_bytes: int | None = None
    totals: Mapping[tuple[str, str | None], int] = field(default_factory=dict)
    free: Mapping[tuple[str, str | None], int] = field(default_factory=dict)

    @property
    def zero(self) -> Sequence[str]:
        """What the site says that it has none of."""
        said = {"cores": self.cores, "memory": self.memory_bytes, "pods": self.pods}
        return [name for name, amount in said.items() if amount == 0]

    @property
    def tells_size(self) -> bool:
        """Whether the site says how large it is."""
        return self.cores is not None or self.memory_bytes is not None

    @property
    def tells_free(self) -> bool:
        """Whether the site says how much is free."""
        return self.cores_free is not None or self.memory_free_bytes is not None or bool(self.free)


def read_ping(annotations: Mapping[str, Any]) -> Ping:
    """Return what the annotations of a node hold of the site's last answer. What is malformed counts as not said."""
    if ANNOTATION not in annotations:
        return Ping("absent")
    text = str(annotations[ANNOTATION] or "").strip()
    if not text:
        return Ping("empty")
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        return Ping("text", text)
    resources, free = _mapping(body, "resources"), _mapping(_mapping(body, "site"), "free")
    return Ping(
        form="json",
        text=text,
        cores=whole(resources.get("cpu")),
        memory_bytes=whole(resources.get("memory")),
        pods=whole(resources.get("pods")),
        cores_free=whole(free.get("cpu")),
        memory_free_bytes=_memory_free(free),
        totals=_totals(resources.get("accelerators")),
        free=_free(_mapping(free, "gpu")),
    )


def _mapping(body: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = body.get(key)
    return value if isinstance(value, Mapping) else {}


def _memory_free(free: Mapping[str, Any]) -> int | None:
    amount = free.get("memoryMi")
    if isinstance(amount, int | float) and not isinstance(amount, bool) and math.isfinite(amount):
        return max(0, int(amount * _MIB))
    return whole(free.get("memory"))


def _totals(listed: object) -> dict[tuple[str, str | None], int]:
    """Return interLink's list of accelerators by resource and model; key names differ between its configuration and its API."""
    found: dict[tuple[str, str | None], int] = {}
    for item in listed if isinstance(listed, list) else ():
        entry = {str(k).lower(): v for k, v in item.items()} if isinstance(item, Mapping) else {}
        resource, count = entry.get("resourcetype") or entry.get("resource"), whole(entry.get("available"))
        if isinstance(resource, str) and resource and count is not None:
            key = (resource, _card(resource, entry.get("model")))
            found[key] = found.get(key, 0) + count
    return found


def _card(resource: str, model: object) -> str | None:
    """Return the model of the card; sites without one for a slice repeat the resource or the slice's size."""
    if not isinstance(model, str) or not model or model == resource:
        return None
    return resource_of(model)[1] if slice_of(model) else model


def _free(named: Mapping[str, Any]) -> dict[tuple[str, str | None], int]:
    found: dict[tuple[str, str | None], int] = {}
    for name, count in named.items():
        if (number := whole(count)) is not None:
            key = resource_of(str(name))
            found[key] = found.get(key, 0) + number
    return found
