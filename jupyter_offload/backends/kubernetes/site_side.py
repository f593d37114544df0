"""The site as the other half of the backend sees it: health, capacity, where pods go, and what is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...api.models import Capacity, Finding, Health, SiteDefinition
from .api import KubeApi
from .options import KubernetesOptions, read_options
from .placement import Placement


class SiteSide:
    """What one site shows of itself. Construct in a thread: it reads the kubeconfig.

    Raises:
        BadInput: the options are wrong; ``errors`` lists every mistake.
    """

    def __init__(self, site: SiteDefinition) -> None:
        self.site = site
        self.options: KubernetesOptions = read_options(site)
        self.api = KubeApi.of(self.options)

    async def health(self) -> Health:
        """Return whether the site takes work now. Never raises for a site that is merely down."""
        raise NotImplementedError

    async def capacity(self) -> Capacity:
        """Return what the site has and, where it tells, what is free."""
        raise NotImplementedError

    async def unavailable(self) -> Mapping[str, str]:
        """Return the profiles that cannot be had now, by name, each with the reason as a sentence."""
        raise NotImplementedError

    def architectures(self) -> Sequence[str]:
        """Return the architectures of the nodes as last seen; empty where they are not known."""
        raise NotImplementedError

    async def placement(self) -> Placement:
        """Return where pods go and what they tolerate, from the live node, with what is wrong there now. Never raises."""
        raise NotImplementedError

    async def check(self) -> Sequence[Finding]:
        """Return what the doctor says of this site: each thing looked at, with the remedy."""
        raise NotImplementedError

    async def close(self) -> None:
        """Let go of the API server."""
        await self.api.close()
