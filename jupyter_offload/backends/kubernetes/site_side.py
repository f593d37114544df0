"""The site as the other half of the backend sees it: health, capacity, where pods go, and what is wrong."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from ...api.models import Capacity, Finding, Health, SiteDefinition
from ...api.problems import OffloadError
from . import doctor
from .api import KubeApi
from .capacity import capacity_of
from .fit import unavailable
from .health import Sight, health_of, problem_of
from .nodes import NodeView
from .options import KubernetesOptions, read_options
from .placement import HOSTNAME, Placement, tolerations
from .watch import NodeWatch


class SiteSide:
    """What one site shows of itself. Construct in a thread: it reads the kubeconfig.

    Raises:
        BadInput: the options are wrong; ``errors`` lists every mistake.
    """

    def __init__(self, site: SiteDefinition) -> None:
        self.site = site
        self.options: KubernetesOptions = read_options(site)
        self.api = KubeApi.of(self.options)
        self._watch = NodeWatch.of(self.api)
        self._architectures: list[str] = []
        self._last: Sight | None = None
        self._nodes_seen: Sequence[NodeView] = ()

    async def sight(self) -> Sight:
        """Return the nodes of the site, at most 3 s old, or why they cannot be seen. Never raises."""
        name = self.options.node
        last = self._watch.clock.last(name) if name is not None else None
        try:
            nodes = await self._nodes()
        except OffloadError as error:
            self._last = Sight(error=error, last=last)
            return self._last
        self._architectures = sorted({n.architecture for n in nodes if n.architecture})
        self._last, self._nodes_seen = Sight(nodes=nodes, last=last), nodes or self._nodes_seen
        return self._last

    async def _nodes(self) -> list[NodeView]:
        if self.options.node is not None:
            node = await self._watch.node(self.api, self.options.node)
            return [node] if node is not None else []
        if self.options.node_selector is not None:
            return await self._watch.nodes(self.api, self.options.node_selector)
        return [n for n in await self._watch.nodes(self.api) if n.virtual]

    async def health(self) -> Health:
        """Return whether the site takes work now. Never raises for a site that is merely down."""
        return health_of(await self.sight(), self.options, time.time())

    async def capacity(self) -> Capacity:
        """Return what the site has and, where it tells, what is free; nothing where its nodes cannot be seen."""
        sight = await self.sight()
        return capacity_of(sight.nodes, self.options, self.site.profiles) if sight.nodes else Capacity(source="nominal")

    async def unavailable(self) -> Mapping[str, str]:
        """Return the profiles that cannot be had now, by name, each with the reason as a sentence."""
        return unavailable(self.site.profiles, (await self.sight()).nodes)

    def architectures(self) -> Sequence[str]:
        """Return the architectures of the nodes as last seen; empty where they are not known."""
        return list(self._architectures)

    async def placement(self) -> Placement:
        """Return where pods go and what they tolerate, from the live node, with what is wrong there now. Never raises."""
        return self._placement(await self.sight())

    def expected_placement(self) -> Placement:
        """Return the same as far as it is known from the last look, without another one."""
        return self._placement(self._last)

    def _placement(self, seen: Sight | None) -> Placement:
        options, sight = self.options, seen or Sight()
        problem = problem_of(seen, options, time.time()) if seen is not None else None
        if options.node is None:
            return Placement(options.node_selector or {}, tolerations(options, [], virtual=False), problem)
        # a node that cannot be seen for a moment has the taints it had
        node = next(iter(sight.nodes or self._nodes_seen), None)
        taints, virtual = (node.taints, node.virtual) if node else ([], True)
        selector = {HOSTNAME: node.hostname if node else options.node}
        return Placement(selector, tolerations(options, taints, virtual=virtual), problem)

    async def check(self) -> Sequence[Finding]:
        """Return what the doctor says of this site: each thing looked at, with the remedy."""
        return await doctor.examine(self.site, self.options, self.api, await self.sight(), await self.placement())

    async def close(self) -> None:
        """Let go of the API server."""
        await self.api.close()
