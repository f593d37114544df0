"""What the API server holds of ours: found by labels, deleted until it says that it is gone."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ...api.problems import Conflict, NotFound, OffloadError
from ...api.units import format_duration
from ...ports import ClusterContext, Owned
from . import names
from .site_side import SiteSide

log = logging.getLogger(__name__)
_AT_ONCE = 8
_KINDS = ("pods", "secrets")
#: Whoever is deleted by us has handed on its data before, or has none; the API server waits for all of this time.
_SOON = {"gracePeriodSeconds": 2}


class Remains:
    """Pods and Secrets of one site's namespace."""

    def __init__(self, side: SiteSide) -> None:
        self._side = side

    async def pods(self, **labels: str) -> list[dict[str, Any]]:
        """Return pods by our labels (``owner``, ``cluster``). Raises as ``KubeApi.request``."""
        return await self._list("pods", **labels)

    async def _list(self, kind: str, **labels: str) -> list[dict[str, Any]]:
        answer = await self._side.api.request(
            "GET", self._side.api.path(kind), params={"labelSelector": names.selector(**labels)}
        )
        return list(answer.get("items") or [])

    # ------------------------------------------------------------ one worker
    async def delete(self, worker: str) -> None:
        """Delete a worker's pod and Secret. Idempotent; raises as ``KubeApi.request``."""
        for kind in _KINDS:
            await self._delete(kind, names.object_name(worker))

    async def _delete(self, kind: str, name: str) -> None:
        try:
            await self._side.api.request("DELETE", self._side.api.path(kind, name), body=_SOON)
        except NotFound:
            return

    async def bury(self, cluster: ClusterContext, workers: Iterable[str]) -> None:
        """Delete workers that are over, and have the relay refuse them. What fails now is tried at the next look."""
        limit = asyncio.Semaphore(_AT_ONCE)

        async def one(worker: str) -> None:
            async with limit:
                try:
                    if cluster.dial_out is not None:
                        await cluster.dial_out.revoke(worker)
                    await self.delete(worker)
                except OffloadError as error:
                    log.info("%s of %s is not deleted yet: %s", worker, cluster.id, error)

        await asyncio.gather(*(one(w) for w in workers))

    # ------------------------------------------------------------ a whole cluster
    async def delete_all(self, cluster: ClusterContext) -> list[str]:
        """Delete everything with a cluster's label; return what is left, for people. Raises as ``KubeApi.request``."""
        label = {"owner": cluster.owner, "cluster": cluster.id}
        pods, secrets = await asyncio.gather(self._list("pods", **label), self._list("secrets", **label))
        if not pods and not secrets:
            return []
        workers = {names.worker_of(o) for o in (*pods, *secrets)} | set(cluster.handle.get("workers", {}))
        limit = asyncio.Semaphore(_AT_ONCE)

        async def one(worker: str) -> None:
            async with limit:
                if cluster.dial_out is not None:
                    await cluster.dial_out.revoke(worker)
                await self.delete(worker)

        await asyncio.gather(*(one(w) for w in sorted(w for w in workers if w)))
        pods, secrets = await asyncio.gather(self._list("pods", **label), self._list("secrets", **label))
        return [_described("pod", p) for p in pods] + [_described("Secret", s) for s in secrets]

    # ------------------------------------------------------------ the sweep
    async def owned(self, owner: str) -> Sequence[Owned]:
        """Return pods and Secrets of an owner."""
        found = []
        for kind, word in zip(_KINDS, ("pod", "Secret"), strict=True):
            for made in await self._list(kind, owner=owner):
                cluster = names.cluster_of(made)
                if cluster is not None:
                    meta = made["metadata"]
                    handle = {"kind": kind, "name": meta["name"], "uid": meta["uid"]}
                    found.append(Owned(cluster, _described(word, made), handle, _seconds(meta["creationTimestamp"])))
        return found

    async def delete_owned(self, owned: Owned) -> bool:
        """Delete one of them, and none that has its name now; True once it is gone."""
        kind, name, uid = (owned.handle[key] for key in ("kind", "name", "uid"))
        path = self._side.api.path(kind, name)
        try:
            found = await self._side.api.request("GET", path)
            if found["metadata"]["uid"] != uid:
                return True
            await self._side.api.request("DELETE", path, body={**_SOON, "preconditions": {"uid": uid}})
            await self._side.api.request("GET", path)
        except (NotFound, Conflict):  # a conflict: another one has its name now
            return True
        return False


def _described(word: str, made: Mapping[str, Any]) -> str:
    """Return what something is, for people: where, its number at the site, and how long its deletion takes."""
    meta = made["metadata"]
    text = f"{word} {meta['name']}"
    node = (made.get("spec") or {}).get("nodeName")
    number = (meta.get("annotations") or {}).get(names.JOB_ID)
    if node:
        text += f" on {node}" + (f" ({number})" if number else "")
    deleted = meta.get("deletionTimestamp")
    if deleted:
        # The time at which it should be gone: its grace period is in it.
        late = time.time() - _seconds(deleted)
        text += f", overdue for {format_duration(round(late))}" if late >= 1 else ", being deleted"
    return text


def _seconds(time_: str) -> float:
    """Return seconds since the epoch from a time as Kubernetes writes it."""
    return datetime.strptime(time_, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
