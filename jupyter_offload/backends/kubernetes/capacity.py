"""What a site has and what is free, from its nodes. A number that nobody tells is None, never computed from hopes. Pure.

Free cannot be computed from outside: a user sees neither the pods of other namespaces nor the jobs of the site's own queue.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ...api.models import AcceleratorCapacity, Capacity, Profile
from .accelerators import is_accelerator, kind_of, same_model, slice_of, title_of, with_models
from .nodes import NodeView
from .options import KubernetesOptions

#: Labels by which nodes name the model of a resource: interLink's, and those of NVIDIA's and AMD's own tools.
_MODEL_LABELS = {
    "nvidia.com/gpu": ("nvidia-gpu-type", "nvidia.com/gpu.product"),
    "amd.com/gpu": ("amd.com/gpu.product-name",),
    "xilinx.com/fpga": ("xilinx-fpga-type",),
    "intel.com/fpga": ("intel-fpga-type",),
}

#: Pieces by resource and model.
Pieces = dict[tuple[str, str | None], int | None]


def capacity_of(nodes: Sequence[NodeView], options: KubernetesOptions, profiles: Sequence[Profile]) -> Capacity:
    """Return the capacity of these nodes together; those that are not ready count too where the site is one virtual node."""
    virtual = [n for n in nodes if n.virtual]
    if len(virtual) == len(nodes) == 1:
        return _of_virtual(nodes[0], _models(options, profiles))
    usable = [n for n in nodes if n.ready and not n.cordoned]
    totals: Pieces = {}
    for node in usable:
        for key, count in _declared(node, _models(options, profiles), {}).items():
            totals[key] = (totals.get(key) or 0) + (count or 0)
    return Capacity(
        cores_total=sum(n.allocatable.get("cpu", 0) for n in usable),
        memory_total_bytes=sum(n.allocatable.get("memory", 0) for n in usable),
        accelerators=_listed(totals, {}),
        source="site",
    )


def _models(options: KubernetesOptions, profiles: Sequence[Profile]) -> dict[str, str]:
    """Return the models that the administrator wrote down: in the options, or the only one of a resource in the profiles."""
    in_profiles: dict[str, set[str]] = {}
    for accelerator in (a for p in profiles for a in p.accelerators if a.model):
        in_profiles.setdefault(accelerator.resource, set()).add(str(accelerator.model))
    only = {resource: next(iter(models)) for resource, models in in_profiles.items() if len(models) == 1}
    return {**only, **options.accelerator_models}


def _of_virtual(node: NodeView, models: Mapping[str, str]) -> Capacity:
    # what was free before the site fell silent says nothing of now; its answer stays on the node all the same
    ping = node.ping if node.ready is not None else replace(node.ping, cores_free=None, memory_free_bytes=None, free={})
    free: Pieces = dict(ping.free)
    totals = _declared(node, models, free)
    if ping.totals:
        told: Pieces = {(r, m or _model(node, models, r, free)): n for (r, m), n in ping.totals.items()}
        known = {resource for resource, _ in told}
        totals = {**told, **{key: n for key, n in totals.items() if key[0] not in known}}
    totals, free = _matched(totals, free, models)
    return Capacity(
        cores_total=ping.cores if ping.cores is not None else node.allocatable.get("cpu"),
        cores_free=ping.cores_free,
        memory_total_bytes=ping.memory_bytes if ping.memory_bytes is not None else node.allocatable.get("memory"),
        memory_free_bytes=ping.memory_free_bytes,
        accelerators=_listed(totals, free),
        source="site" if ping.tells_size or ping.tells_free or ping.totals else "nominal",
    )


def _declared(node: NodeView, models: Mapping[str, str], free: Pieces) -> Pieces:
    """Return the accelerators among a node's resources, with their models as far as they are certain."""
    return {
        (resource, _model(node, models, resource, free)): count
        for resource, count in node.allocatable.items()
        if is_accelerator(resource)
    }


def _model(node: NodeView, models: Mapping[str, str], resource: str, free: Pieces) -> str | None:
    named = {model for r, model in free if r == resource and model}
    # with several models of one resource the label has only the last one's
    return with_models(models, resource) or (_label(node.labels, resource) if len(named) < 2 else None)


def _label(labels: Mapping[str, str], resource: str) -> str | None:
    card = "nvidia.com/gpu" if slice_of(resource) else resource
    for name in _MODEL_LABELS.get(card, ()):
        if value := labels.get(name):
            model = value.removeprefix("NVIDIA-").removeprefix("Tesla-")
            return model.partition("-MIG")[0]
    return None


def _matched(totals: Pieces, free: Pieces, models: Mapping[str, str]) -> tuple[Pieces, Pieces]:
    """Return totals and free numbers under the same names, so that each accelerator is one entry."""
    totals, named = dict(totals), dict[tuple[str, str | None], int | None]()
    for (resource, model), count in free.items():
        same = [key for key in totals if key[0] == resource]
        others = {m for r, m in free if r == resource}
        key = next((k for k in same if model and k[1] and same_model(k[1], model)), None)
        if key is None and len(same) == 1 and len(others) == 1 and (model is None or same[0][1] is None):
            key = same[0]
        if key is None:
            key = (resource, model or with_models(models, resource))
            totals[key] = None
        elif model and key[1] is None:
            totals[resource, model] = totals.pop(key)
            key = (resource, model)
        named[key] = (named.get(key) or 0) + (count or 0)
    split = {r for r, m in named if m is not None}
    # the sum of several models is no accelerator that anybody can ask for by name
    return {k: n for k, n in totals.items() if k[1] is not None or k[0] not in split}, named


def _listed(totals: Pieces, free: Pieces) -> list[AcceleratorCapacity]:
    found = [
        AcceleratorCapacity(
            resource=resource,
            model=model,
            kind=kind_of(resource),
            title=title_of(resource, model),
            total=_at_least(totals.get((resource, model)), free.get((resource, model))),
            free=free.get((resource, model)),
        )
        for resource, model in _keys(totals, free)
    ]
    order = {"gpu": 0, "gpu-slice": 1, "fpga": 2, "other": 3}
    return sorted(found, key=lambda a: (order[a.kind], a.title))


def _at_least(total: int | None, free: int | None) -> int | None:
    """Return a total that is not below what is free: an operator's declaration may be older than the site's word."""
    return None if total is None or (free is not None and free > total) else total


def _keys(*pieces: Iterable[tuple[str, str | None]]) -> list[tuple[str, str | None]]:
    return list(dict.fromkeys(key for group in pieces for key in group))
