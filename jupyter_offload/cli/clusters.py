"""``jupyter offload clusters ...``: look at clusters and change them."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import Any

from ..api import asking, text
from ..api.client import AsyncKeeperClient
from ..api.models import Cluster, ClusterChange, ClusterList, Timeline
from ..api.units import format_bytes, format_duration
from . import OK
from .output import Output
from .running import NO_CLUSTER


async def list_(client: AsyncKeeperClient, output: Output, _: argparse.Namespace) -> int:
    """Print all clusters, newest first."""
    answer = await client.call("listClusters", ClusterList)
    if output.as_json:
        output.model(answer)
        return OK
    heading = ("NAME", "PHASE", "WORKERS", "CORES", "MEMORY USED", "BUSY", "SITE", "ENDS", "ID", "WHY")
    output.table(heading, [_row(c) for c in answer.clusters], if_empty=NO_CLUSTER)
    return OK


def _row(cluster: Cluster) -> tuple[str, ...]:
    usage = cluster.usage
    memory = f"{format_bytes(usage.memory_used_bytes)} of {format_bytes(usage.memory_bytes)}"
    return (
        cluster.name,
        cluster.phase.value,
        text.workers(cluster),
        str(usage.cores),
        memory,
        f"{usage.busy_fraction:.0%}",
        cluster.spec.site,
        text.end(cluster.end),
        cluster.id,
        cluster.reason.message,
    )


async def show(client: AsyncKeeperClient, output: Output, arguments: argparse.Namespace) -> int:
    """Print one cluster with its workers."""
    cluster = await asking.find(client, arguments.name, if_none=NO_CLUSTER)
    if output.as_json:
        output.model(cluster)
    else:
        print_cluster(output, cluster)
    return OK


def print_cluster(output: Output, cluster: Cluster) -> None:
    """Print everything a person wants to know about one cluster."""
    profile, usage = cluster.profile, cluster.usage
    facts = {
        "name": cluster.name,
        "id": cluster.id,
        "phase": f"{cluster.phase.value} since {cluster.phase_since.astimezone():%Y-%m-%d %H:%M:%S}",
        "why": cluster.reason.message,
        "hint": cluster.reason.hint,
        "site": f"{cluster.spec.site} ({cluster.site_title}), on {cluster.host}",
        "profile": f"{profile.name}: {text.worker_size(profile)} per worker",
        "environment": cluster.spec.environment or "default",
        "image": cluster.spec.image,
        "workers": f"{text.workers(cluster)} connected",
        "in use": f"{usage.busy_fraction:.0%} of {usage.cores} cores, {format_bytes(usage.memory_used_bytes)} of "
        f"{format_bytes(usage.memory_bytes)}, {usage.tasks_done} tasks done, {usage.tasks_waiting} waiting",
        "on their way": text.on_their_way(cluster) or None,
        "clients": str(usage.clients),
        "encryption": None if cluster.encrypted else "none: clients, scheduler and workers talk without TLS",
        "left": "; ".join(cluster.left_at_site) or None,
        "ends": text.end(cluster.end) + (", together with the Jupyter server" if cluster.ends_with_server else ""),
    }
    width = max(map(len, facts))
    for label, value in facts.items():
        if value:
            output.line(f"{label.ljust(width)}  {value}")
    if cluster.worker_list:
        output.line()
        _print_workers(output, cluster)
    if any(w.stage for w in cluster.worker_list):
        output.line()
        _print_stages(output, cluster)


def _print_workers(output: Output, cluster: Cluster) -> None:
    rows = [
        (
            w.name,
            w.state.value,
            str(w.cores),
            f"{format_bytes(w.memory_used_bytes)} of {format_bytes(w.memory_bytes)}",
            format_bytes(w.spilled_bytes),
            f"{w.cpu_fraction:.0%}",
            str(w.tasks_done),
            str(w.restarts),
            w.message or "",
        )
        for w in cluster.worker_list
    ]
    heading = ("WORKER", "STATE", "CORES", "MEMORY USED", "SPILLED", "CPU", "TASKS DONE", "RESTARTS", "MESSAGE")
    output.table(heading, rows, if_empty="no workers")


def _print_stages(output: Output, cluster: Cluster) -> None:
    """Print how far each worker of a remote site is, since when, until when, and why."""
    now = datetime.now(UTC)
    rows = []
    for w in cluster.worker_list:
        since = format_duration((now - w.stage_since).total_seconds()) if w.stage_since else "-"
        until = f"{w.deadline_at.astimezone():%H:%M:%S}" if w.deadline_at else "-"
        trip = f"{w.round_trip_s * 1000:.1f} ms" if w.round_trip_s is not None else "-"
        why = " ".join(part for part in (w.message, w.hint) if part)
        rows.append((w.name, w.stage.value if w.stage else "-", since, until, w.site_id or "-", trip, why))
    heading = ("WORKER", "STAGE", "FOR", "GIVEN UP AT", "AT THE SITE", "ROUND TRIP", "WHY")
    output.table(heading, rows, if_empty="no workers")


async def scale(client: AsyncKeeperClient, output: Output, arguments: argparse.Namespace) -> int:
    """Set the number of workers."""
    return await _change(client, output, arguments.name, {"workers": arguments.workers, "adaptive": None})


async def adapt(client: AsyncKeeperClient, output: Output, arguments: argparse.Namespace) -> int:
    """Set the range of workers."""
    minimum, maximum = arguments.adaptive
    return await _change(client, output, arguments.name, {"adaptive": {"minimum": minimum, "maximum": maximum}})


async def _change(client: AsyncKeeperClient, output: Output, name: str, values: dict[str, Any]) -> int:
    body = asking.validated(ClusterChange, values)
    cluster = await asking.find(client, name, if_none=NO_CLUSTER)
    changed = await client.call("changeCluster", Cluster, body=body, id=cluster.id)
    _print_change(output, changed, f"{changed.name}: {text.workers(changed)} workers")
    return OK


async def extend(client: AsyncKeeperClient, output: Output, arguments: argparse.Namespace) -> int:
    """Move the end."""
    cluster = await asking.find(client, arguments.name, if_none=NO_CLUSTER)
    values = {"lifetime_s": arguments.lifetime, "idle_timeout_s": arguments.idle_timeout}
    changed = await asking.extend(client, cluster.id, values, arguments.by)
    _print_change(output, changed, f"{changed.name} ends: {text.end(changed.end)}")
    return OK


def _print_change(output: Output, cluster: Cluster, line: str) -> None:
    if output.as_json:
        output.model(cluster)
    else:
        output.line(line)


async def timeline(client: AsyncKeeperClient, output: Output, arguments: argparse.Namespace) -> int:
    """Print what happened to a cluster and why, oldest first."""
    cluster = await asking.find(client, arguments.name, if_none=NO_CLUSTER)
    answer = await client.call("clusterTimeline", Timeline, id=cluster.id)
    if output.as_json:
        output.model(answer)
        return OK
    rows = [
        (
            f"{e.at.astimezone():%Y-%m-%d %H:%M:%S}",
            f"+{format_duration((e.at - answer.entries[0].at).total_seconds())}",
            e.level,
            e.worker or "-",
            e.message,
        )
        for e in answer.entries
    ]
    output.table(("TIME", "AFTER", "LEVEL", "WORKER", "WHAT HAPPENED"), rows, if_empty="Nothing happened yet.")
    return OK
