"""One look at everything of the operator in a namespace, shared by all who ask at about the same time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...api.problems import NotFound, OffloadError
from ..kubernetes.api import KubeApi
from . import names

Object = Mapping[str, Any]
_FRESH_S = 0.5
_DASK = {"labelSelector": names.CLUSTER_NAME}


@dataclass(frozen=True)
class Snapshot:
    """What the namespace held. ``installed`` is false where the cluster does not know the operator's objects."""

    namespace: str
    taken_at: float
    installed: bool = True
    clusters: Mapping[str, Object] = field(default_factory=dict)
    groups: Sequence[Object] = ()
    autoscalers: Mapping[str, Object] = field(default_factory=dict)
    deployments: Sequence[Object] = ()
    pods: Sequence[Object] = ()
    services: Sequence[Object] = ()

    def of(self, objects: Sequence[Object], name: str, component: str | None = None) -> list[Object]:
        """Return those of one DaskCluster."""
        return [
            o for o in objects
            if names.labels_of(o).get(names.CLUSTER_NAME) == name
            and component in (None, names.labels_of(o).get(names.COMPONENT))
        ]  # fmt: skip

    def default_group(self, name: str) -> Object | None:
        """Return the worker group that scaling a cluster scales."""
        return next((g for g in self.groups if names.name_of(g) == f"{name}-default"), None)


class Looker:
    """Looks at a namespace, at most twice a second.

    Args:
        api: the API server.
    """

    def __init__(self, api: KubeApi) -> None:
        self._api = api
        self._last: Snapshot | None = None
        self._lock = asyncio.Lock()

    async def look(self) -> Snapshot:
        """Return what the namespace holds.

        Raises:
            OffloadError: it cannot be seen.
        """
        async with self._lock:
            if self._last is None or time.monotonic() - self._last.taken_at > _FRESH_S:
                self._last = await self._take()
            return self._last

    def forget(self) -> None:
        """Look anew the next time, since something was changed."""
        self._last = None

    async def _take(self) -> Snapshot:
        await self._connect()
        space = self._api.namespace
        now = time.monotonic()
        try:
            clusters = await self._list(names.path(names.CLUSTERS, space))
        except NotFound:
            return Snapshot(space, now, installed=False)
        groups, autoscalers, deployments, pods, services = await asyncio.gather(
            self._list(names.path(names.GROUPS, space)),
            self._list(names.path(names.AUTOSCALERS, space)),
            self._list(f"/apis/apps/v1/namespaces/{space}/deployments", _DASK),
            self._list(self._api.path("pods"), _DASK),
            self._list(self._api.path("services"), _DASK),
        )
        return Snapshot(
            space, now, True, {names.name_of(c): c for c in clusters}, groups,
            {str(a["spec"]["cluster"]): a for a in autoscalers}, deployments, pods, services,
        )  # fmt: skip

    async def _connect(self) -> None:
        """Read the account, which names the namespace where the options do not."""
        try:
            self._api.namespace  # noqa: B018  (it raises)
        except OffloadError:
            await self._api.request("GET", "/version")

    async def _list(self, path: str, params: Mapping[str, str] | None = None) -> list[Object]:
        return list((await self._api.request("GET", path, params=params)).get("items") or [])
