"""Names and labels at the site: the operator's, and ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

#: API of the operator: https://kubernetes.dask.org/en/latest/operator_resources.html
GROUP = "kubernetes.dask.org"
API = f"/apis/{GROUP}/v1"
CLUSTERS, GROUPS, AUTOSCALERS = "daskclusters", "daskworkergroups", "daskautoscalers"
#: The operator labels everything of a cluster with these.
CLUSTER_NAME, COMPONENT = "dask.org/cluster-name", "dask.org/component"
SCHEDULER, WORKER = "scheduler", "worker"
#: Ours, as on the pods of the backend kubernetes.
OWNER, CLUSTER = "offload.dask.org/owner", "offload.dask.org/cluster"
SHOWN_NAME = "offload.dask.org/cluster-name"
MANAGER = "app.kubernetes.io/managed-by"
OURS = "jupyter-offload"
#: Ports of Dask's scheduler, which the operator takes for granted.
SCHEDULER_PORT, DASHBOARD_PORT = 8786, 8787
#: The operator allows 53 characters.
_SHOWN_LENGTH, _ID_LENGTH = 24, 12
INSTALL = "helm install --repo https://helm.dask.org --create-namespace -n dask-operator --generate-name dask-kubernetes-operator"


def cluster_name(shown: str, cluster_id: str) -> str:
    """Return the name of the DaskCluster of a cluster: always the same, so that making it twice makes one."""
    slug = re.sub(r"[^a-z0-9]+", "-", shown.lower()).strip("-")[:_SHOWN_LENGTH].strip("-")
    short = re.sub(r"[^a-z0-9]", "", cluster_id)[-_ID_LENGTH:]
    return f"{slug or 'cluster'}-{short}"


def labels_of(found: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the labels of an object."""
    labels: Mapping[str, str] = found["metadata"].get("labels") or {}
    return labels


def name_of(found: Mapping[str, Any]) -> str:
    """Return the name of an object."""
    return str(found["metadata"]["name"])


def uid_of(found: Mapping[str, Any]) -> str:
    """Return what no other object ever has."""
    return str(found["metadata"]["uid"])


def path(kind: str, namespace: str, name: str = "") -> str:
    """Return the path of the operator's objects of a namespace, or of one of them."""
    whole = f"{API}/namespaces/{namespace}/{kind}"
    return f"{whole}/{name}" if name else whole
