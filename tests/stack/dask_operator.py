"""The real Dask Operator (dask-kubernetes) as a pod of the ordinary node, with the CRDs and the rights of its Helm chart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from .kubernetes.client import Cluster
from .ordinary_node import OrdinaryNode

_NAME = "dask-operator"
_CHART = "operator/deployment/helm/dask-kubernetes-operator"
_START_TIMEOUT_S = 90


def _crds() -> list[dict[str, Any]]:
    import dask_kubernetes

    folder = Path(dask_kubernetes.__file__).parent / _CHART / "crds"
    return [found for path in sorted(folder.glob("*.yaml")) for found in yaml.safe_load_all(path.read_text()) if found]


def install(kubernetes: Cluster) -> None:
    """Have the cluster know DaskCluster and the like. Idempotent."""
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    for crd in _crds():
        answer = kubernetes.admin.post(path, json=crd)
        assert answer.status_code in (201, 409), answer.text
        name = crd["metadata"]["name"]

        def established(name: str = name) -> bool:
            conditions = kubernetes.admin.get(f"{path}/{name}").json().get("status", {}).get("conditions") or []
            return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)

        kubernetes.until(established, 30)
    served = "/apis/kubernetes.dask.org/v1"
    kubernetes.until(lambda: len(kubernetes.admin.get(served).json().get("resources", [])) >= 4, 30)


class DaskOperator:
    """The operator of one namespace.

    Args:
        node: where it runs, since it needs the names of services.
        namespace: whose clusters it looks after; it is made if it is not there.
    """

    def __init__(self, node: OrdinaryNode, namespace: str) -> None:
        self.node = node
        self.kubernetes = node.kubernetes
        self.namespace = namespace
        self._pods = f"/api/v1/namespaces/{namespace}/pods"

    def start(self) -> None:
        """Start it, and wait until it watches."""
        self._allow()
        container = {
            "name": "operator",
            "image": "dask-operator",
            "command": [
                "kopf",
                "run",
                "--standalone",
                "-m",
                "dask_kubernetes.operator.controller",
                "-n",
                self.namespace,
            ],
        }
        pod = {
            "metadata": {"name": _NAME},
            "spec": {
                "serviceAccountName": _NAME, "containers": [container], "restartPolicy": "Always",
                "terminationGracePeriodSeconds": 5, "nodeSelector": {"kubernetes.io/hostname": self.node.name},
            },
        }  # fmt: skip
        self.kubernetes.make(self._pods, pod)
        self.node.until(lambda: "Initial authentication has finished" in self.log(), _START_TIMEOUT_S)

    def log(self) -> str:
        """Return what it wrote."""
        return self.node.logs(self.namespace, _NAME)

    def stop(self) -> None:
        """End it; what it made goes on. Idempotent."""
        self.kubernetes.admin.delete(f"{self._pods}/{_NAME}")
        self.node.until(lambda: self.kubernetes.admin.get(f"{self._pods}/{_NAME}").status_code == 404)

    def _allow(self) -> None:
        """Give it what its chart gives it (``templates/role.yaml``), in its namespace and to see definitions."""
        admin = self.kubernetes.admin
        space = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{self.namespace}"
        everything = [
            {"apiGroups": ["", "apps", "events.k8s.io", "kubernetes.dask.org"], "resources": ["*"], "verbs": ["*"]}
        ]
        sees = [
            {
                "apiGroups": ["apiextensions.k8s.io"],
                "resources": ["customresourcedefinitions"],
                "verbs": ["list", "watch"],
            },
            {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["list", "watch"]},
        ]
        subject = [{"kind": "ServiceAccount", "name": _NAME, "namespace": self.namespace}]
        group = "rbac.authorization.k8s.io"
        whole = f"{_NAME}-{self.namespace}"
        for path, body in (
            (f"/api/v1/namespaces/{self.namespace}/serviceaccounts", {"metadata": {"name": _NAME}}),
            (f"{space}/roles", {"metadata": {"name": _NAME}, "rules": everything}),
            (f"{space}/rolebindings", {"metadata": {"name": _NAME}, "subjects": subject,
                                       "roleRef": {"apiGroup": group, "kind": "Role", "name": _NAME}}),
            (f"/apis/{group}/v1/clusterroles", {"metadata": {"name": whole}, "rules": sees}),
            (f"/apis/{group}/v1/clusterrolebindings", {"metadata": {"name": whole}, "subjects": subject,
                                                       "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": whole}}),
        ):  # fmt: skip
            answer = admin.post(path, json=body)
            assert answer.status_code in (201, 409), answer.text
