"""``jupyter offload clusters stop`` and ``forget``."""

from __future__ import annotations

import argparse

from ..api import asking, text
from ..api.client import AsyncKeeperClient
from ..api.following import wait_until
from ..api.models import Cluster, ClusterList, Phase
from ..api.problems import BadInput, NotNow, ProblemCode
from . import OK
from .output import Output
from .running import NO_CLUSTER


async def stop(client: AsyncKeeperClient, output: Output, arguments: argparse.Namespace) -> int:
    """Stop clusters and wait until nothing of them is left; those that have ended are left as they are."""
    timeout_s = asking.seconds(arguments.timeout, "timeout")
    found = await _chosen(client, arguments, ended=False)
    clusters = [await asking.stop(client, cluster) for cluster in found]
    if arguments.wait:
        clusters = [
            await wait_until(client, c.id, text.is_final, timeout_s=timeout_s, report=output.progress) for c in clusters
        ]
    if output.as_json:
        output.model({"clusters": [cluster.model_dump(mode="json") for cluster in clusters]})
        return OK
    for cluster in clusters:
        output.line(f"{cluster.name}: {cluster.phase.value}. {cluster.reason.message}")
    if not clusters:
        output.line("There is nothing to stop.")
    return OK


async def forget(client: AsyncKeeperClient, output: Output, arguments: argparse.Namespace) -> int:
    """Remove ended clusters with their logs from the list."""
    clusters = await _chosen(client, arguments, ended=True)
    for cluster in clusters:
        if not text.is_final(cluster):
            raise NotNow(
                ProblemCode.invalid, f"Cluster {cluster.name!r} is {cluster.phase.value}; only an ended one is forgotten.",
                field="name", hint=f"Stop it first: jupyter offload clusters stop {cluster.name}",
            )  # fmt: skip
    for cluster in clusters:
        await client.call("deleteCluster", if_match=cluster.revision, id=cluster.id)
    if output.as_json:
        output.model({"forgotten": [cluster.id for cluster in clusters]})
    else:
        output.line(f"Forgotten: {', '.join(c.name for c in clusters) or 'nothing'}")
    return OK


async def _chosen(client: AsyncKeeperClient, arguments: argparse.Namespace, *, ended: bool) -> list[Cluster]:
    if bool(arguments.names) == arguments.all:
        raise BadInput(ProblemCode.invalid, "name: give the names of clusters, or --all, not both.", field="name",
                       hint="See: jupyter offload clusters list")  # fmt: skip
    if arguments.all:
        listed = (await client.call("listClusters", ClusterList)).clusters
        return [c for c in listed if text.is_final(c) is ended and (ended or c.phase is not Phase.stopping)]
    return [await asking.find(client, name, if_none=NO_CLUSTER) for name in arguments.names]
