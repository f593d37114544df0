"""A site for each virtual node of a cluster, from one file of the administrator."""

from __future__ import annotations

import asyncio
import re

from ...api.models import SiteDefinition
from .api import KubeApi
from .nodes import NodeView
from .options import read_options
from .watch import NodeWatch

_SLUG = re.compile(r"[^a-z0-9-]+")


async def discover(definition: SiteDefinition) -> list[SiteDefinition] | None:
    """Return the sites that a definition with ``discover: virtual-nodes`` stands for, None for any other.

    Raises:
        BadInput: the options are wrong.
        OffloadError: the API server cannot be asked now, or the account may not list nodes.
    """
    if "discover" not in definition.options:
        return None
    options = read_options(definition)
    if options.discover is None:
        return None
    api = await asyncio.to_thread(KubeApi.of, options)
    try:
        nodes = await NodeWatch.of(api).nodes(api)
    finally:
        await api.close()
    virtual = sorted((n for n in nodes if n.virtual), key=lambda n: n.name)
    taken: set[str] = set()
    return [_site(definition, node, taken) for node in virtual]


def _site(template: SiteDefinition, node: NodeView, taken: set[str]) -> SiteDefinition:
    name = _name(node.name, taken)
    taken.add(name)
    options = {k: v for k, v in template.options.items() if k != "discover"} | {"node": node.name}
    return template.model_copy(
        update={
            "name": name,
            "title": f"{template.title}: {node.name}" if template.title else node.name,
            "options": options,
        },
        deep=True,
    )


def _name(node: str, taken: set[str]) -> str:
    """Return the name of a site that is made of a node's, which may be longer and have dots; unique among ``taken``."""
    name = _SLUG.sub("-", node.lower()).strip("-")[:40].rstrip("-") or "node"
    number = 2
    unique = name
    while unique in taken:
        unique = f"{name[:36].rstrip('-')}-{number}"
        number += 1
    return unique
