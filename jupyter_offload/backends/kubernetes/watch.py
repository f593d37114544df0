"""Nodes as last seen, shared by all sites of one API server, with our own clock of when each was heard.

The times that a node carries are of its own clock, and a virtual kubelet rewrites ``lastTransitionTime`` at each ping; so what
counts is when **we** saw its heartbeat change. Only the first look has nothing but the node's time to go by.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ...api.problems import NotFound, OffloadError
from .api import KubeApi
from .connection import Connection
from .nodes import Heard, NodeView, beat_of

#: How long an answer counts as now.
FRESH_S = 3.0
#: Below what health may take, so that a silent API server is said to be silent, with when the site was last heard.
LOOK_TIMEOUT_S = 4.0

Node = Mapping[str, Any]


@dataclass
class _Beat:
    uid: str
    text: str | None
    heard: Heard


class BeatClock:
    """Notes when heartbeats change."""

    def __init__(self) -> None:
        self._beats: dict[str, _Beat] = {}

    def note(self, node: Node, now: float, server_offset_s: float | None) -> Heard:
        """Return when a node was heard, seen ``now`` (ours, seconds since the epoch).

        Args:
            node: as the API server shows it.
            now: our clock, in seconds since the epoch.
            server_offset_s: how far the API server's clock is ahead of ours; None = unknown, taken as not at all.
        """
        metadata = node.get("metadata") or {}
        name, uid = str(metadata.get("name")), str(metadata.get("uid"))
        text, ready = beat_of(node)
        before = self._beats.get(name)
        if before is None or before.uid != uid:
            beat_at = _on_our_clock(text, now, server_offset_s)
        else:
            beat_at = before.heard.beat_at if before.text == text else now
        ready_at = before.heard.ready_at if before is not None and before.uid == uid else None
        if ready is True or (ready_at is None and _was_well(node, ready)):
            ready_at = beat_at
        heard = Heard(beat_at, ready_at)
        self._beats[name] = _Beat(uid, text, heard)
        return heard

    def last(self, name: str) -> Heard | None:
        """Return when a node was last heard that may be there no more; None if it never was."""
        beat = self._beats.get(name)
        return beat.heard if beat else None


def _on_our_clock(text: str | None, now: float, server_offset_s: float | None) -> float | None:
    """Return a heartbeat's time as ours: its age by the server's clock. It cannot be in the future."""
    try:
        beat = datetime.fromisoformat(text or "").timestamp()
    except ValueError:
        return None
    return min(now, beat - (server_offset_s or 0.0))


def _was_well(node: Node, ready: bool | None) -> bool:
    """Tell whether a node that the cluster lost was well when it was last heard; its InterlinkConnectivity stays as it was."""
    conditions = (node.get("status") or {}).get("conditions") or []
    states = {c.get("type"): c.get("status") for c in conditions}
    return ready is None and states.get("InterlinkConnectivity") == "True"


class NodeWatch:
    """The nodes of one API server. Get it with ``of``."""

    _all: weakref.WeakKeyDictionary[Connection, NodeWatch] = weakref.WeakKeyDictionary()

    def __init__(self) -> None:
        self.clock = BeatClock()
        self._seen: dict[str, tuple[float, list[NodeView] | OffloadError]] = {}
        self._looking: dict[str, asyncio.Lock] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    @classmethod
    def of(cls, api: KubeApi) -> NodeWatch:
        """Return the watch of this API server and account."""
        return cls._all.setdefault(api.connection, cls())

    async def node(self, api: KubeApi, name: str) -> NodeView | None:
        """Return a node by its name, at most 3 s old; None if the cluster has none of that name.

        Raises:
            OffloadError: it cannot be seen: ``access-denied`` or ``site-unreachable``.
        """
        found = await self._look(api, f"/api/v1/nodes/{name}", None)
        return found[0] if found else None

    async def nodes(self, api: KubeApi, selector: Mapping[str, str] | None = None) -> list[NodeView]:
        """Return the nodes with these labels, or all, at most 3 s old. Raises as ``node``."""
        text = ",".join(f"{key}={value}" for key, value in sorted((selector or {}).items()))
        return await self._look(api, "/api/v1/nodes", text)

    async def _look(self, api: KubeApi, path: str, selector: str | None) -> list[NodeView]:
        key = f"{path}?{selector or ''}"
        if self._loop is not asyncio.get_running_loop():
            self._loop, self._looking = asyncio.get_running_loop(), {}
        async with self._looking.setdefault(key, asyncio.Lock()):
            at, found = self._seen.get(key, (float("-inf"), []))
            if time.monotonic() - at > FRESH_S:
                found = await self._ask(api, path, selector)
                self._seen[key] = (time.monotonic(), found)
        if isinstance(found, OffloadError):
            raise found
        return found

    async def _ask(self, api: KubeApi, path: str, selector: str | None) -> list[NodeView] | OffloadError:
        try:
            params = {"labelSelector": selector} if selector else None
            answer = await api.request("GET", path, params=params, timeout_s=LOOK_TIMEOUT_S)
        except NotFound:
            return []
        except OffloadError as error:
            return error
        now, offset = time.time(), api.server_time_offset_s
        listed = answer.get("items") if selector is not None else [answer]
        return [NodeView.of(n, now, self.clock.note(n, now, offset)) for n in listed or []]
