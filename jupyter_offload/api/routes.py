"""The one table of routes: the keeper serves it, the Jupyter server forwards it, OpenAPI and the docs are made from it.

Models are named by strings, so that the Jupyter server can read the table without importing pydantic.
"""

from __future__ import annotations

from dataclasses import dataclass, field

API_VERSION = 1
#: Path below the Jupyter server's base URL; the keeper serves the same paths below ``/``.
PREFIX = "offload/v1"


@dataclass(frozen=True)
class Query:
    """A query parameter: ``kind`` is ``integer``, ``number``, ``string`` or ``boolean``."""

    name: str
    kind: str
    description: str


@dataclass(frozen=True)
class Route:
    """One operation. ``action`` is what the Jupyter authorizer is asked: read, write or execute."""

    operation: str
    method: str
    path: str
    action: str
    summary: str
    response: str | None
    request: str | None = None
    status: int = 200
    query: tuple[Query, ...] = field(default=())
    if_match: bool = False
    door: str = "both"  # "keeper": never forwarded; "server": answered by the Jupyter server itself


ROUTES = (
    Route("health", "GET", "/health", "read", "Who answers and what it speaks", "KeeperHealth"),
    Route("listSites", "GET", "/sites", "read", "All sites with health and capacity", "SiteList"),
    Route("getSite", "GET", "/sites/{site}", "read", "One site", "Site"),
    Route("checkSite", "POST", "/sites/{site}/check", "write", "Look at the site now", "Findings"),
    Route("listEnvironments", "GET", "/environments", "read", "Pythons that clusters can run", "EnvironmentList",
          query=(Query("refresh", "boolean", "probe again instead of answering from the cache"),)),
    Route("listClusters", "GET", "/clusters", "read", "All clusters, newest first", "ClusterList"),
    Route("createCluster", "POST", "/clusters", "execute", "Start a cluster; answers at once", "Cluster",
          request="ClusterRequest", status=202),
    Route("previewCluster", "POST", "/clusters/preview", "read", "Check a spec and show what will be submitted",
          "Preview", request="ClusterSpec"),
    Route("getCluster", "GET", "/clusters/{id}", "read", "One cluster, by id or by name", "Cluster"),
    Route("changeCluster", "PATCH", "/clusters/{id}", "execute", "Scale, adapt or extend", "Cluster",
          request="ClusterChange", if_match=True),
    Route("deleteCluster", "DELETE", "/clusters/{id}", "execute",
          "Stop a cluster (202, the record) or forget a finished one (204)", "Cluster", status=202, if_match=True),
    Route("clusterTimeline", "GET", "/clusters/{id}/timeline", "read", "What happened and why", "Timeline"),
    Route("listLogs", "GET", "/clusters/{id}/logs", "read", "Which logs there are", "LogSources"),
    Route("readLog", "GET", "/clusters/{id}/logs/{source}", "read", "A piece of one log", "LogChunk",
          query=(Query("offset", "integer", "first byte; negative counts from the end"),
                 Query("limit", "integer", "most bytes, at most 1 MiB"))),
    Route("clusterConnection", "GET", "/clusters/{id}/connection", "execute", "How a client connects", "Connection"),
    Route("clusterDashboard", "GET", "/clusters/{id}/dashboard", "read", "Where the dashboard is", "DashboardTarget"),
    Route("dashboardTicket", "POST", "/clusters/{id}/dashboard/ticket", "execute",
          "A path that shows the dashboard in a sandboxed frame", "DashboardTicket", status=201, door="server"),
    Route("changes", "GET", "/changes", "read", "Wait for a change (long poll)", "Changes",
          query=(Query("since", "integer", "the last revision seen"),
                 Query("timeout_s", "number", "longest wait, at most 60"))),
    Route("doctor", "POST", "/doctor", "write", "Check the installation", "Findings"),
    Route("sweep", "POST", "/sweep", "execute", "Delete what is left at sites and belongs to no cluster", "SweepReport",
          query=(Query("dry_run", "boolean", "only say what would be deleted"),
                 Query("site", "string", "this site alone"))),
    Route("schema", "GET", "/schema", "read", "This API as OpenAPI 3.1", None),
    Route("handOver", "POST", "/hand-over", "execute", "End the keeper so that a newer release can start; clusters stay",
          None, status=202, door="keeper"),
)  # fmt: skip
