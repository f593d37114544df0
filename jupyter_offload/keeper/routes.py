"""One function for each operation of the route table; thin: what they ask lies in the modules beside."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..api import openapi
from ..api.models import (
    Cluster,
    ClusterChange,
    ClusterRequest,
    ClusterSpec,
    EnvironmentList,
    Findings,
    SiteList,
)
from . import doctor, logs
from .http import Answer, Call, Operation

if TYPE_CHECKING:
    from .app import Keeper

LONGEST_WAIT_S = 60.0


def _tagged(cluster: Cluster, status: int | None = None) -> Answer:
    headers = {"ETag": f'"{cluster.revision}"'}
    if status == 202:
        headers["Location"] = f"/clusters/{cluster.id}"
    return Answer(cluster, status, headers)


def operations(keeper: Keeper) -> Mapping[str, Operation]:
    """Return what serves each operation that the keeper answers."""
    clusters, sites = keeper.clusters, keeper.sites

    async def health(_: Call) -> Answer:
        return Answer(keeper.health())

    async def list_sites(_: Call) -> Answer:
        await keeper.refresh_sites()
        return Answer(SiteList(sites=list(await asyncio.gather(*(sites.describe(e) for e in sites.all())))))

    async def get_site(call: Call) -> Answer:
        await keeper.refresh_sites()
        return Answer(await sites.describe(sites.get(call.path["site"])))

    async def check_site(call: Call) -> Answer:
        await keeper.refresh_sites()
        entry = sites.get(call.path["site"])
        return Answer(Findings(findings=list(await doctor.site_findings(entry))))

    async def list_environments(call: Call) -> Answer:
        refresh = bool(call.query.get("refresh", False))
        return Answer(EnvironmentList(environments=await keeper.environments.list(refresh=refresh)))

    async def list_clusters(_: Call) -> Answer:
        listed = clusters.list()
        return Answer(listed, headers={"ETag": f'"{listed.revision}"'})

    async def create_cluster(call: Call) -> Answer:
        assert isinstance(call.body, ClusterRequest)
        return _tagged(await clusters.create(call.body), 202)

    async def preview_cluster(call: Call) -> Answer:
        assert isinstance(call.body, ClusterSpec)
        return Answer(await clusters.preview(call.body))

    async def get_cluster(call: Call) -> Answer:
        return _tagged(await clusters.get(call.path["id"]))

    async def change_cluster(call: Call) -> Answer:
        assert isinstance(call.body, ClusterChange)
        return _tagged(await clusters.change(call.path["id"], call.body, call.if_match))

    async def delete_cluster(call: Call) -> Answer:
        left = await clusters.delete(call.path["id"], call.if_match)
        return Answer(status=204) if left is None else _tagged(left, 202)

    async def cluster_timeline(call: Call) -> Answer:
        return Answer(await clusters.timeline(call.path["id"]))

    async def list_logs(call: Call) -> Answer:
        return Answer(await asyncio.to_thread(logs.sources, clusters.find(call.path["id"])))

    async def read_log(call: Call) -> Answer:
        record = clusters.find(call.path["id"])
        offset, limit = call.query.get("offset"), call.query.get("limit")
        return Answer(await asyncio.to_thread(logs.read, record, call.path["source"], offset, limit))

    async def cluster_connection(call: Call) -> Answer:
        return Answer(clusters.connection(call.path["id"]))

    async def cluster_dashboard(call: Call) -> Answer:
        return Answer(await clusters.dashboards.target(clusters.dashboard_socket(call.path["id"])))

    async def changes(call: Call) -> Answer:
        timeout_s = min(max(float(call.query.get("timeout_s", 30)), 0), LONGEST_WAIT_S)
        return Answer(await keeper.store.wait(call.query.get("since"), timeout_s))

    async def examine(_: Call) -> Answer:
        return Answer(Findings(findings=[*keeper.findings(), *await doctor.examine(sites, keeper.environments)]))

    async def sweep(call: Call) -> Answer:
        await keeper.refresh_sites()
        site = call.query.get("site")
        entries = [sites.get(site)] if site else sites.all()
        return Answer(await keeper.sweep(entries, dry_run=bool(call.query.get("dry_run", False))))

    async def schema(_: Call) -> Answer:
        return Answer(await asyncio.to_thread(openapi.document))

    async def hand_over(_: Call) -> Answer:
        keeper.hand_over()
        return Answer()

    return {
        "health": health, "listSites": list_sites, "getSite": get_site, "checkSite": check_site,
        "listEnvironments": list_environments, "listClusters": list_clusters, "createCluster": create_cluster,
        "previewCluster": preview_cluster, "getCluster": get_cluster, "changeCluster": change_cluster,
        "deleteCluster": delete_cluster, "clusterTimeline": cluster_timeline, "listLogs": list_logs, "readLog": read_log,
        "clusterConnection": cluster_connection, "clusterDashboard": cluster_dashboard, "changes": changes,
        "doctor": examine, "sweep": sweep, "schema": schema, "handOver": hand_over,
    }  # fmt: skip
