"""Which profiles a site cannot give, each with the reason as a sentence. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ...api.models import Profile
from ...api.units import format_bytes
from .accelerators import is_accelerator, slice_of, title_of
from .nodes import NodeView

_SLICES = "docs/how-to/let-a-site-report-gpu-slices.md"


def unavailable(profiles: Sequence[Profile], nodes: Sequence[NodeView]) -> dict[str, str]:
    """Return the profiles that no pod of which could be placed on these nodes, by name; nothing where no node is seen."""
    if not nodes:
        return {}
    found = {p.name: _why_not(p, nodes) for p in profiles}
    return {name: why for name, why in found.items() if why is not None}


def needs(profile: Profile) -> dict[str, int]:
    """Return what one worker asks of a node, by resource: cores, bytes, pieces."""
    wanted = {"cpu": profile.cores, "memory": profile.memory_bytes}
    for accelerator in profile.accelerators:
        wanted[accelerator.resource] = wanted.get(accelerator.resource, 0) + accelerator.count
    return wanted


def _why_not(profile: Profile, nodes: Sequence[NodeView]) -> str | None:
    known = {n.architecture for n in nodes}
    if profile.architecture is not None and None not in known and profile.architecture not in known:
        return f"The site's nodes are {' and '.join(sorted(map(str, known)))}, not {profile.architecture}."
    right = [n for n in nodes if profile.architecture is None or n.architecture in (None, profile.architecture)]
    zero = sorted({z for n in right for z in n.zero})
    if zero and all(n.zero for n in right):
        return f"The site says that it has no {' and no '.join(zero)} now."
    for accelerator in profile.accelerators:
        if not any(n.allocatable.get(accelerator.resource) for n in right):
            return _not_there(accelerator.resource, accelerator.model, right)
    wanted = needs(profile)
    for resource, amount in wanted.items():
        largest = max((n.allocatable.get(resource, 0) for n in right), default=0)
        if amount > largest:
            return f"No node has {_amount(resource, amount)}; the largest has {_amount(resource, largest)}."
    if not any(all(n.allocatable.get(r, 0) >= a for r, a in wanted.items()) for n in right):
        return f"No node has {', '.join(_amount(r, a) for r, a in wanted.items())} together."
    return None


def _not_there(resource: str, model: str | None, nodes: Sequence[NodeView]) -> str:
    has = sorted({r for n in nodes for r, count in n.allocatable.items() if is_accelerator(r) and count})
    listed = f"it has {', '.join(has)}" if has else "it has no accelerators"
    text = f"The site has no {title_of(resource, model)} ({resource}); {listed}."
    told = any(key[0] == resource for n in nodes for key in n.ping.free)
    if slice_of(resource) and told:
        text += f" Its own numbers name that slice, but its node does not: see {_SLICES}."
    return text


def _amount(resource: str, amount: int) -> str:
    if resource == "memory":
        return f"{format_bytes(amount)} of memory"
    if resource == "cpu":
        return f"{amount} core{'' if amount == 1 else 's'}"
    return f"{amount} {resource}"
