"""Accounts of the API server: interLink's virtual kubelet, and users with the rights that the chart in ``deploy/`` gives them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..kubernetes.client import Cluster
from ..kubernetes.control_plane import kubeconfig

#: Of a user in a namespace; ``tests/system/deploy`` compares them with the chart's.
USER_RULES: list[dict[str, Any]] = [
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["create", "get", "list", "delete"]},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create", "get", "list", "patch", "delete"]},
    {"apiGroups": [""], "resources": ["events", "resourcequotas"], "verbs": ["list"]},
]
_NODES_RULES = [
    {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list"]},
]
#: As interLink's chart has it, without what only its tunnels need.
_KUBELET_RULES = [
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
     "verbs": ["get", "list", "watch", "create", "update", "patch"]},
    {"apiGroups": [""], "resources": ["configmaps", "secrets", "services", "serviceaccounts", "namespaces"],
     "verbs": ["get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch", "delete", "patch"]},
    {"apiGroups": [""], "resources": ["pods/status", "nodes/status"], "verbs": ["update", "patch"]},
    {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "create", "update", "patch"]},
    {"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
]  # fmt: skip
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
#: As long as the certificates of the stack.
_TOKEN_S = 30 * 86400


def make_kubelet(cluster: Cluster) -> bytes:
    """Return the kubeconfig of the virtual kubelets' account, which is made if it is not there."""
    name, space = "virtual-kubelet", "kube-system"
    if cluster.admin.get(f"/api/v1/namespaces/{space}/serviceaccounts/{name}").status_code == 404:
        cluster.make_account(name, space)
        _cluster_role(cluster, name, _KUBELET_RULES)
        _bind_everywhere(cluster, name, name, space)
    token = cluster.token(name, space, lifetime_s=_TOKEN_S)
    return kubeconfig(cluster.url, cluster.ca_file.read_bytes(), token=token)


def make_user(
    cluster: Cluster, name: str, namespace: str, *, nodes: bool = True, rules: list[dict[str, Any]] = USER_RULES
) -> Path:
    """Make an account in a namespace, which is made if it is not there; return its kubeconfig.

    Args:
        cluster: the control plane.
        name: of the account, new.
        namespace: where it may run pods.
        nodes: whether it may read nodes.
        rules: what it may do in its namespace.
    """
    if cluster.admin.get(f"/api/v1/namespaces/{namespace}").status_code == 404:
        cluster.make_namespace(namespace)
    cluster.make_account(name, namespace)
    path = f"{_RBAC}/namespaces/{namespace}"
    subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
    cluster.make(f"{path}/roles", {"metadata": {"name": name}, "rules": rules})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    cluster.make(f"{path}/rolebindings", {"metadata": {"name": name}, "roleRef": role, "subjects": [subject]})
    if nodes:
        if cluster.admin.get(f"{_RBAC}/clusterroles/nodes-reader").status_code == 404:
            _cluster_role(cluster, "nodes-reader", _NODES_RULES)
        _bind_everywhere(cluster, "nodes-reader", name, namespace)
    token = cluster.token(name, namespace, lifetime_s=_TOKEN_S)
    file = cluster.folder / f"{namespace}-{name}.kubeconfig"
    file.touch(mode=0o600)
    file.write_bytes(kubeconfig(cluster.url, cluster.ca_file.read_bytes(), token=token, namespace=namespace))
    return file


def _cluster_role(cluster: Cluster, name: str, rules: list[dict[str, Any]]) -> None:
    cluster.make(f"{_RBAC}/clusterroles", {"metadata": {"name": name}, "rules": rules})


def _bind_everywhere(cluster: Cluster, role: str, account: str, namespace: str) -> None:
    cluster.make(f"{_RBAC}/clusterrolebindings", {
        "metadata": {"name": f"{role}-{namespace}-{account}"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    })  # fmt: skip
