"""A user's keeper with a site of the Dask Operator: real API server, real operator, and pods on the stack's ordinary node."""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from jupyter_offload.api.client import KeeperClient
from jupyter_offload.api.models import (
    Cluster,
    ClusterChange,
    ClusterList,
    ClusterRequest,
    ClusterSpec,
    Connection,
    Site,
)
from jupyter_offload.backends.dask_operator import doctor
from tests.stack import dask_operator
from tests.stack.fixtures import kubernetes as kubernetes
from tests.stack.kubernetes.client import Cluster as ControlPlane
from tests.stack.ordinary_node import OrdinaryNode
from tests.stack.ordinary_node.fixtures import ordinary_node as ordinary_node

PATIENCE_S = 90
KINDS = {
    "daskclusters": "apis/kubernetes.dask.org/v1",
    "daskworkergroups": "apis/kubernetes.dask.org/v1",
    "daskautoscalers": "apis/kubernetes.dask.org/v1",
    "deployments": "apis/apps/v1",
    "replicasets": "apis/apps/v1",
    "services": "api/v1",
    "pods": "api/v1",
}
_serial = itertools.count()


@dataclass
class Desk:
    """A user at a keeper of his own, with one site; his account has the rights that the backend asks for, no more."""

    control_plane: ControlPlane
    node: OrdinaryNode
    namespace: str
    home: Any
    site: str = "operator"
    client: KeeperClient = field(default_factory=KeeperClient)

    def new(self, name: str, **spec: Any) -> Cluster:
        body = ClusterRequest(spec=ClusterSpec(name=name, site=self.site, **spec))
        return self.client.call("createCluster", Cluster, body=body)

    def get(self, name: str) -> Cluster:
        return self.client.call("getCluster", Cluster, id=name)

    def all(self) -> list[Cluster]:
        return self.client.call("listClusters", ClusterList).clusters

    def when(self, name: str, is_so: Callable[[Cluster], bool], patience_s: float = PATIENCE_S) -> Cluster:
        """Look at a cluster, as somebody who has the panel open, until it is so."""
        deadline = time.monotonic() + patience_s
        while not is_so(cluster := self.get(name)):
            assert time.monotonic() < deadline, f"{cluster.model_dump_json(indent=1)}\n{self.left()}"
            self.all()
            time.sleep(0.2)
        return cluster

    def connected(self, name: str, workers: int) -> Cluster:
        return self.when(
            name,
            lambda c: c.workers.connected == workers == c.workers.requested and c.phase == "running" and c.connectable,
        )

    def change(self, name: str, **fields: Any) -> Cluster:
        return self.client.call("changeCluster", Cluster, body=ClusterChange(**fields), id=name)

    def stop(self, name: str) -> Cluster:
        self.client.call("deleteCluster", Cluster, id=name)
        return self.when(name, lambda c: c.phase == "stopped")

    def connection(self, name: str) -> Connection:
        return self.client.call("clusterConnection", Connection, id=name)

    def site_now(self) -> Site:
        return self.client.call("getSite", Site, site=self.site)

    def left(self, namespace: str | None = None) -> dict[str, list[str]]:
        """Return everything of Dask in a namespace, by kind."""
        space = namespace or self.namespace
        found = {}
        for kind, api in KINDS.items():
            items = self.control_plane.admin.get(f"/{api}/namespaces/{space}/{kind}").json().get("items", [])
            known = [
                i for i in items if "dask.org/cluster-name" in (i["metadata"].get("labels") or {}) or "dask" in kind
            ]
            if known:
                found[kind] = sorted(i["metadata"]["name"] for i in known)
        return found

    def file(self, images: list[dict[str, str]] | None = None, **options: Any) -> None:
        """Write the site file anew."""
        definition = {
            "title": "Operator",
            "backend": "dask-operator",
            "profiles": [
                {"name": "small", "cores": 1, "memory_bytes": "400 MiB", "maximum_workers": 8},
                {"name": "huge", "cores": 900, "memory_bytes": "400 MiB"},
            ],
            "images": images
            or [
                {"name": "default", "image": "dask:test", "python": "python"},
                {"name": "broken", "image": "registry.invalid/none:1"},
            ],
            "options": {"kubeconfig": str(self.home.folder / "kubeconfig"), "deadlines": {"operator_s": 6}, **options},
        }
        path = self.home.folder / "config" / "offload" / "sites" / f"{self.site}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(definition))


def account(control_plane: ControlPlane, name: str, namespace: str) -> bytes:
    """Make a service account with the rights that a user needs, and return its kubeconfig."""
    control_plane.make_account(name, namespace)
    rules = [
        {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}
        for resource, group, verbs in doctor.RIGHTS
    ]
    group = "rbac.authorization.k8s.io"
    path = f"/apis/{group}/v1/namespaces/{namespace}"
    control_plane.make(f"{path}/roles", {"metadata": {"name": name}, "rules": rules})
    control_plane.make(f"{path}/rolebindings", {
        "metadata": {"name": name}, "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
    })  # fmt: skip
    return json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "user",
        "clusters": [{"name": "c", "cluster": {
            "server": control_plane.url, "certificate-authority": str(control_plane.ca_file),
        }}],
        "users": [{"name": "u", "user": {"token": control_plane.token(name, namespace)}}],
        "contexts": [{"name": "user", "context": {"cluster": "c", "user": "u", "namespace": namespace}}],
    }).encode()  # fmt: skip


@pytest.fixture(scope="module")
def space(ordinary_node: OrdinaryNode) -> str:
    """A namespace for the tests of a module."""
    name = f"dask-{next(_serial)}"
    ordinary_node.kubernetes.make_namespace(name)
    return name


@pytest.fixture(scope="module")
def operator(ordinary_node: OrdinaryNode, space: str) -> Iterator[dask_operator.DaskOperator]:
    """A running operator of that namespace."""
    dask_operator.install(ordinary_node.kubernetes)
    operator = dask_operator.DaskOperator(ordinary_node, space)
    operator.start()
    yield operator
    operator.stop()


@pytest.fixture
def desk(kubernetes: ControlPlane, ordinary_node: OrdinaryNode, space: str, home: Any) -> Iterator[Desk]:
    """A user in that namespace, whether an operator runs or not."""
    (home.folder / "kubeconfig").write_bytes(account(kubernetes, f"user-{next(_serial)}", space))
    desk = Desk(kubernetes, ordinary_node, space, home)
    desk.file()
    try:
        yield desk
    finally:
        with contextlib.suppress(Exception):
            for cluster in desk.all():
                if cluster.phase not in ("stopped", "failed"):
                    desk.stop(cluster.id)
        desk.client.close()
        log = Path(home.folder / "data").rglob("keeper*.log")
        for path in log:
            print(path.read_text()[-6000:])  # pytest shows it of what failed
        shutil.rmtree(home.folder / "config", ignore_errors=True)
