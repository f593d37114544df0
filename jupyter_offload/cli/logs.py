"""``jupyter offload clusters logs``."""

from __future__ import annotations

import argparse
import asyncio

from ..api import asking, text
from ..api.client import AsyncKeeperClient
from ..api.models import Cluster, LogChunk, LogSources
from ..api.units import format_bytes
from . import OK
from .output import Output
from .running import NO_CLUSTER

POLL_S = 0.5
_CHUNK_BYTES = 2**20


async def logs(client: AsyncKeeperClient, output: Output, arguments: argparse.Namespace) -> int:
    """Print one log or all, once or as long as they grow; with JSON one chunk a line."""
    tail_bytes = asking.size(arguments.tail, "tail")
    cluster = await asking.find(client, arguments.name, if_none=NO_CLUSTER)
    if arguments.list:
        return await _list(client, output, cluster)
    reader = _Reader(client, output, cluster.id, arguments.source, tail_bytes)
    if not arguments.follow:
        await reader.read()
        return OK
    while True:
        # The phase is asked for before reading, so that the last lines of an ended cluster are printed too.
        cluster = await client.call("getCluster", Cluster, id=cluster.id)
        await reader.read()
        if text.is_final(cluster):
            output.note(f"Cluster {cluster.name} has ended: {cluster.reason.message}")
            return OK
        await asyncio.sleep(POLL_S)


async def _list(client: AsyncKeeperClient, output: Output, cluster: Cluster) -> int:
    answer = await client.call("listLogs", LogSources, id=cluster.id)
    if output.as_json:
        output.model(answer)
        return OK
    rows = [
        (s.name, s.role, format_bytes(s.size_bytes), f"{s.modified_at.astimezone():%Y-%m-%d %H:%M:%S}")
        for s in answer.sources
    ]
    output.table(("SOURCE", "OF", "SIZE", "CHANGED"), rows, if_empty="No logs yet.")
    return OK


class _Reader:
    """Prints what is new in each log since it looked last."""

    def __init__(
        self, client: AsyncKeeperClient, output: Output, cluster_id: str, source: str | None, tail_bytes: int
    ) -> None:
        self._client = client
        self._output = output
        self._cluster_id = cluster_id
        self._source = source
        self._tail_bytes = tail_bytes
        self._offsets: dict[str, int] = {}
        self._last: str | None = None

    async def read(self) -> None:
        if self._source is not None:
            await self._read(self._source)
            return
        for source in (await self._client.call("listLogs", LogSources, id=self._cluster_id)).sources:
            if source.size_bytes > self._offsets.get(source.name, 0):
                await self._read(source.name)

    async def _read(self, source: str) -> None:
        while True:
            offset = self._offsets.get(source, -self._tail_bytes)
            chunk = await self._client.call(
                "readLog", LogChunk, id=self._cluster_id, source=source, offset=offset, limit=_CHUNK_BYTES
            )
            self._offsets[source] = chunk.next_offset
            if chunk.text:
                self._print(chunk)
            if not chunk.text or chunk.next_offset >= chunk.size_bytes:
                return

    def _print(self, chunk: LogChunk) -> None:
        if self._output.as_json:
            self._output.model(chunk, one_line=True)
            return
        if self._source is None and self._last != chunk.source:
            self._output.raw(f"{'' if self._last is None else chr(10)}==> {chunk.source} <==\n")
        self._last = chunk.source
        self._output.raw(chunk.text)
