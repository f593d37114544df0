"""What can be done with one cluster, as coroutines on the bridge's loop; both kinds of handle are made of these."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..api import asking, locations, text
from ..api.following import ended, usable, wait_until
from ..api.models import (
    Cluster,
    ClusterChange,
    Connection,
    LogChunk,
    LogSources,
    Phase,
    ReasonCode,
    Timeline,
)
from ..api.problems import BadInput, NotNow, OffloadError, ProblemCode
from . import bridge
from .results import Log, Logs, TimelineEntries
from .waiting import Progress

#: The scheduler runs on this host and starts in seconds; a client waits no longer for it.
CONNECT_TIMEOUT_S = 60.0
CLOSE_TIMEOUT_S = 120.0
#: A record or connection this young is not asked for again.
FRESH_S = 1.0
#: So long a look may take that nobody asked for.
LOOK_S = 1.0


class Operations:
    """One cluster by its id, with the newest record this process has seen."""

    def __init__(self, record: Cluster) -> None:
        self.record = record
        self.seen_at = time.monotonic()
        self.connection: Connection | None = None
        self.connected_at = 0.0

    def saw(self, record: Cluster) -> Cluster:
        """Keep the record."""
        self.record, self.seen_at = record, time.monotonic()
        return record

    async def refresh(self) -> Cluster:
        """Ask for the record.

        Raises:
            NotFound: the cluster was forgotten.
        """
        return self.saw(await bridge.keeper().call("getCluster", Cluster, id=self.record.id))

    async def refresh_quietly(self, timeout_s: float) -> None:
        """Renew the record without ever failing or starting a keeper; what cannot be seen stays as it was."""
        if not locations.socket_path().exists():
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self.refresh()
        except (OffloadError, TimeoutError):
            return

    async def connect(self) -> Connection:
        """Return address and TLS files, once a client can connect.

        Raises:
            NotNow: the cluster has ended or is ending; the message says why.
            Unavailable: its scheduler did not come within 60 s, or cannot be seen.
        """
        record = await self.refresh()
        if text.is_final(record) or record.phase is Phase.stopping:
            raise ended(record)
        if not record.connectable and record.phase is not Phase.running and not _elsewhere(record):
            await self.wait(lambda c: c.connectable or _elsewhere(c), CONNECT_TIMEOUT_S)
        self.connection = await bridge.keeper().call("clusterConnection", Connection, id=self.record.id)
        self.connected_at = time.monotonic()
        return self.connection

    async def wait(self, done: Callable[[Cluster], bool], timeout_s: float | None) -> Cluster:
        """Wait with progress.

        Raises:
            NotNow: it ended before; the message says why.
            Unavailable: the time is over.
        """
        progress = Progress()
        record = None
        try:
            record = await wait_until(
                bridge.keeper(), self.record.id, lambda c: done(self.saw(c)), timeout_s=timeout_s, report=progress
            )
            return record
        finally:
            progress.done(record)

    async def wait_for_start(self, timeout_s: float | None) -> Cluster:
        """Wait until a client can connect and the first worker, if any is wanted, is there.

        Raises:
            NotNow: it ended before, or runs where no connection from here reaches it; the message says why.
            Unavailable: the time is over.
        """
        record = await self.wait(lambda c: usable(c) or _elsewhere(c), timeout_s)
        await self.connect()
        return record

    async def wait_for_workers(self, n_workers: int, timeout_s: float | None) -> Cluster:
        """Wait until that many workers are connected."""
        if isinstance(n_workers, bool) or not isinstance(n_workers, int) or n_workers < 0:
            raise BadInput(ProblemCode.invalid, f"n_workers: {n_workers!r} is no number of workers.",
                           field="n_workers", hint="Write a whole number, 0 or more.")  # fmt: skip
        return await self.wait(lambda c: c.workers.connected >= n_workers and c.phase is Phase.running, timeout_s)

    async def change(self, values: dict[str, Any]) -> Cluster:
        """Send one change."""
        body = asking.validated(ClusterChange, values)
        return self.saw(await bridge.keeper().call("changeCluster", Cluster, body=body, id=self.record.id))

    async def extend(self, values: dict[str, Any], by: str | float | None) -> Cluster:
        """Move the end."""
        return self.saw(await asking.extend(bridge.keeper(), self.record.id, values, by))

    async def close(self, timeout_s: float | None) -> Cluster:
        """Stop the cluster and wait until nothing of it is left; one that has ended is left as it is."""
        record = self.saw(await asking.stop(bridge.keeper(), await self.refresh()))
        return record if text.is_final(record) else await self.wait(text.is_final, timeout_s)

    async def logs(self, source: str | None, tail: str | int) -> Logs:
        """Return the end of each log, or of one."""
        tail_bytes = asking.size(tail, "tail")
        names = [source]
        if source is None:
            names = [s.name for s in (await bridge.keeper().call("listLogs", LogSources, id=self.record.id)).sources]
        return Logs({name: await self._log(name, tail_bytes) for name in names if name is not None})

    async def _log(self, source: str, tail_bytes: int) -> Log:
        pieces: list[str] = []
        offset, most = -tail_bytes, tail_bytes
        while most > 0:
            chunk = await bridge.keeper().call(
                "readLog", LogChunk, id=self.record.id, source=source, offset=offset, limit=min(most, 2**20)
            )
            pieces.append(chunk.text)
            most -= chunk.next_offset - chunk.offset
            offset = chunk.next_offset
            if offset >= chunk.size_bytes or chunk.next_offset == chunk.offset:
                break
        return Log("".join(pieces))

    async def timeline(self) -> TimelineEntries:
        """Return what happened."""
        return TimelineEntries((await bridge.keeper().call("clusterTimeline", Timeline, id=self.record.id)).entries)

    def not_connected(self) -> NotNow:
        """Return the error for those who may not wait and ask too early."""
        return NotNow(ProblemCode.not_running, f"Cluster {self.record.name!r} is not connected yet.",
                      hint="Write 'await cluster' first.")  # fmt: skip

    def has_files(self) -> bool:
        """Tell whether what a client connects by is still there; it goes when the cluster ends."""
        if self.connection is None:
            return False
        tls = self.connection.tls
        return Path(self.connection.connection_file if tls is None else tls.ca_file).exists()

    def stale(self) -> NotNow:
        """Return the error for a cluster that ended since it was seen last."""
        return NotNow(ProblemCode.stale_connection, f"Cluster {self.record.name!r} has ended; its keys are gone.",
                      hint="Write 'await cluster' to see why; for more work make a new cluster.")  # fmt: skip


def _elsewhere(record: Cluster) -> bool:
    """Tell whether it runs where no connection from here reaches it, so that waiting helps nobody."""
    return record.reason.code is ReasonCode.scheduler_not_reached
