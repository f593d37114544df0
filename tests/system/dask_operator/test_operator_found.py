"""Clusters that were made by other means: listed, attached, followed, scaled and stopped; those of others are left alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import distributed
import pytest

from jupyter_offload.api.models import ClusterSpec, Profile, SiteDefinition
from jupyter_offload.backends.dask_operator.names import OWNER
from jupyter_offload.backends.dask_operator.objects import cluster_object
from jupyter_offload.backends.dask_operator.options import DaskOperatorOptions
from tests.stack.dask_operator import DaskOperator

from .conftest import Desk

pytestmark = pytest.mark.timeout(400)

API = "/apis/kubernetes.dask.org/v1/namespaces"
#: What somebody runs in a notebook in the cluster.
KUBE_CLUSTER = """
from dask_kubernetes.operator import KubeCluster, make_cluster_spec
size = {{"cpu": "1", "memory": "300Mi"}}
spec = make_cluster_spec(
    "by-hand", image="dask:test", n_workers=1, worker_command="dask worker", resources={{"requests": size, "limits": size}}
)
spec["spec"]["scheduler"]["spec"]["containers"][0]["args"][:1] = ["dask", "scheduler"]  # dask-scheduler is no more
for _ in range(5):
    try:
        cluster = KubeCluster(custom_cluster_spec=spec, namespace="{space}", shutdown_on_close=False, quiet=True, resource_timeout=15)
        break
    except TimeoutError:  # two handlers of the operator race for the phase, which may stay Pending: then connect to it
        pass
print("made", cluster.scheduler_address, flush=True)
"""


def made(desk: Desk, name: str, **labels: str) -> dict[str, Any]:
    """Make a DaskCluster as its owner would with kubectl."""
    site = SiteDefinition.model_validate({
        "name": "any", "backend": "dask-operator", "images": [{"name": "one", "image": "dask:test", "python": "python"}],
        "profiles": [{"name": "p", "cores": 1, "memory_bytes": "300 MiB"}],
    })  # fmt: skip
    profile: Profile = site.profiles[0]
    found = cluster_object(name, ClusterSpec(name=name), profile, 1, site, DaskOperatorOptions())
    found["metadata"]["labels"] = labels
    return desk.control_plane.make(f"{API}/{desk.namespace}/daskclusters", found)


@pytest.fixture
def by_hand(desk: Desk, operator: DaskOperator) -> Iterator[str]:
    """A cluster that KubeCluster() made in a pod, and that went on when its Python ended."""
    pods = f"/api/v1/namespaces/{desk.namespace}/pods"
    command = ["python", "-c", KUBE_CLUSTER.format(space=desk.namespace)]
    desk.control_plane.make(pods, {
        "metadata": {"name": "notebook"},
        "spec": {"serviceAccountName": "dask-operator", "restartPolicy": "Never",
                 "containers": [{"name": "main", "image": "any", "command": command}]},
    })  # fmt: skip
    desk.node.until(lambda: "made tcp://by-hand-scheduler" in desk.node.logs(desk.namespace, "notebook"), 90)
    yield "by-hand"
    desk.control_plane.admin.delete(f"{pods}/notebook")


def listed(desk: Desk, name: str) -> bool:
    return name in [c.name for c in desk.all() if c.phase not in ("stopped", "failed")]


def test_one_made_by_kubecluster_is_found_used_followed_and_stopped(desk: Desk, by_hand: str) -> None:
    desk.node.until(lambda: listed(desk, by_hand))
    found = desk.connected(by_hand, 1)
    assert found.adopted
    assert not found.encrypted
    assert (found.profile.cores, found.profile.memory_bytes) == (1, 300 * 2**20)
    with distributed.Client(desk.connection(by_hand).scheduler_address, timeout=20) as client:
        assert client.submit(sum, [1, 2]).result(timeout=30) == 3
    desk.change(by_hand, workers=2)
    desk.connected(by_hand, 2)
    # what its maker changes by KubeCluster.scale() is followed, not undone
    group = f"{API}/{desk.namespace}/daskworkergroups/{by_hand}-default"
    patched = desk.control_plane.admin.patch(
        group, json={"spec": {"worker": {"replicas": 3}}}, headers={"Content-Type": "application/merge-patch+json"}
    )
    assert patched.status_code == 200, patched.text
    followed = desk.connected(by_hand, 3)
    assert followed.spec.workers == 3
    desk.stop(by_hand)
    assert desk.left() == {}


def test_what_is_deleted_at_the_site_ends_here(desk: Desk, operator: DaskOperator) -> None:
    made(desk, "short")
    desk.node.until(lambda: listed(desk, "short"))
    desk.connected("short", 1)
    desk.control_plane.admin.delete(f"{API}/{desk.namespace}/daskclusters/short").raise_for_status()
    assert desk.when("short", lambda c: c.phase == "stopped").reason.code == "deleted-at-site"
    desk.node.until(lambda: desk.left() == {})


def test_another_users_cluster_is_neither_shown_nor_touched(desk: Desk, operator: DaskOperator) -> None:
    made(desk, "theirs", **{OWNER: "0123456789abcdef"})
    desk.new("mine", workers=0)
    desk.when("mine", lambda c: c.phase == "running")
    assert [c.name for c in desk.all()] == ["mine"]
    desk.stop("mine")
    assert desk.left()["daskclusters"] == ["theirs"]
    assert desk.left()["pods"]
    desk.control_plane.admin.delete(f"{API}/{desk.namespace}/daskclusters/theirs").raise_for_status()
    desk.node.until(lambda: desk.left() == {})


def test_a_site_that_many_share_adopts_nothing(desk: Desk, operator: DaskOperator) -> None:
    desk.file(adopt=False)
    made(desk, "somebodys")
    desk.new("mine", workers=1)
    desk.connected("mine", 1)
    assert [c.name for c in desk.all()] == ["mine"]
    desk.stop("mine")
    desk.control_plane.admin.delete(f"{API}/{desk.namespace}/daskclusters/somebodys").raise_for_status()
    desk.node.until(lambda: desk.left() == {})
