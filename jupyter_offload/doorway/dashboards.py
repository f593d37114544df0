"""Dashboards of clusters in the pod, as private sockets of this host."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from tornado.netutil import bind_unix_socket

from ..api import locations
from ..api.problems import OffloadError
from ..keeper.door import Streams, splice
from ..keeper.http import peer_uid

log = logging.getLogger(__name__)


class Dashboards:
    """A socket for each dashboard somebody asked for; each connection to it goes through the door.

    Args:
        enter: opens a connection to a cluster's dashboard.
    """

    def __init__(self, enter: Callable[[str], Awaitable[Streams]]) -> None:
        self._enter = enter
        self._servers: dict[str, asyncio.Server] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def watched(self) -> bool:
        """Whether somebody looks at one."""
        return bool(self._tasks)

    async def socket(self, cluster: str) -> Path:
        """Return the socket of a cluster's dashboard, by the cluster's id.

        Raises:
            OSError: it cannot be made.
        """
        path = _path(cluster)
        if cluster not in self._servers or not path.exists():
            path.unlink(missing_ok=True)
            # as the keeper's own: 0600, in a private folder
            listener = bind_unix_socket(str(path), mode=0o600)
            self._servers[cluster] = await asyncio.start_unix_server(
                lambda r, w: self._came(cluster, (r, w)), sock=listener
            )
        return path

    def _came(self, cluster: str, streams: Streams) -> None:
        task = asyncio.create_task(self._carry(cluster, streams))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, cluster: str, here: Streams) -> None:
        uid = peer_uid(here[1].get_extra_info("socket"))
        if uid is not None and uid not in (os.getuid(), 0):
            here[1].close()
            return
        try:
            there = await self._enter(cluster)
        except OffloadError as error:
            log.info("dashboard of %s: %s", cluster, error)
            here[1].close()
            return
        await splice(here, there)

    async def close(self) -> None:
        """Close all of them."""
        for cluster, server in self._servers.items():
            server.close()
            _path(cluster).unlink(missing_ok=True)
        for task in list(self._tasks):
            task.cancel()


def _path(cluster: str) -> Path:
    return locations.runtime_folder() / f"d-{hashlib.sha256(cluster.encode()).hexdigest()[:8]}.sock"
