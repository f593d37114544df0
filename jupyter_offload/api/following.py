"""Wait for a cluster by the change feed, through restarts of the keeper: shared by the Python doors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from . import text
from .client import AsyncKeeperClient
from .models import Changes, Cluster, Phase
from .problems import NotNow, ProblemCode, Unavailable

#: So long a keeper may be away (killed, upgraded) before waiting is given up.
PATIENCE_S = 30.0


async def follow(client: AsyncKeeperClient, cluster_id: str, tick_s: float = 1.0) -> AsyncIterator[Cluster]:
    """Yield the record now, after every change, and at least every ``tick_s`` seconds.

    Raises:
        NotFound: there is no such cluster, or it was forgotten meanwhile.
        Unavailable: no keeper answers for 30 s.
    """
    seen_at = time.monotonic()
    cluster = await client.call("getCluster", Cluster, id=cluster_id)
    since = cluster.revision
    while True:
        yield cluster
        try:
            changes = await client.call("changes", Changes, since=since, timeout_s=tick_s)
            since = changes.revision
            cluster = await client.call("getCluster", Cluster, id=cluster.id)
            seen_at = time.monotonic()
        except Unavailable:
            if time.monotonic() - seen_at > PATIENCE_S:
                raise
            await asyncio.sleep(0.2)


async def wait_until(
    client: AsyncKeeperClient,
    cluster_id: str,
    done: Callable[[Cluster], bool],
    *,
    timeout_s: float | None,
    report: Callable[[Cluster, float], None] | None = None,
) -> Cluster:
    """Return the record once ``done`` holds; ``report`` is told the record and the seconds waited so far.

    Raises:
        NotNow: the cluster ended before; the message says why.
        Unavailable: ``timeout_s`` passed (code ``timeout``; the cluster goes on), or no keeper answers.
    """
    began = time.monotonic()
    cluster = None
    try:
        async with asyncio.timeout(timeout_s):
            async for cluster in follow(client, cluster_id):
                if done(cluster):
                    return cluster
                if text.is_final(cluster):
                    raise ended(cluster)
                if report is not None:
                    report(cluster, time.monotonic() - began)
    except TimeoutError as error:
        seen = "" if cluster is None else f" It is {cluster.phase.value}: {cluster.reason.message}"
        name = cluster_id if cluster is None else cluster.name
        raise Unavailable(
            ProblemCode.timeout, f"Cluster {name!r} was not as far within {timeout_s:g} s.{seen}",
            hint="It goes on starting; look at its timeline and logs, wait longer, or stop it.",
        ) from error  # fmt: skip
    raise AssertionError  # follow never ends by itself


def usable(cluster: Cluster) -> bool:
    """Tell whether a client can connect and, where workers are wanted, the first one is there."""
    if not cluster.connectable or cluster.phase is Phase.stopping or text.is_final(cluster):
        return False
    return cluster.workers.connected > 0 or cluster.workers.requested == 0


def ended(cluster: Cluster) -> NotNow:
    """Return the error that says why this cluster takes no more work."""
    word = {Phase.failed: "has failed", Phase.stopped: "has ended"}.get(cluster.phase, "is being stopped")
    reason = cluster.reason.message.rstrip(".")
    return NotNow(
        ProblemCode.finished, f"Cluster {cluster.name!r} {word}: {reason}.",
        hint=cluster.reason.hint or "Its logs and timeline are still there; for more work make a new cluster.",
    )  # fmt: skip
