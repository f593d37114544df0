"""Sites by their nodes: discovered, read, deleted, lost; nodes are objects of a real API server, the last ones a real interLink's."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from site_objects import SMALL, MakeSite, definition, until

from jupyter_offload.api.models import HealthState, ReasonCode
from jupyter_offload.api.problems import BadInput, Forbidden
from jupyter_offload.backends.kubernetes.discovery import discover
from jupyter_offload.backends.kubernetes.ping import ANNOTATION
from tests.stack.interlink.accounts import make_user
from tests.stack.interlink.node import VirtualNode
from tests.stack.kubernetes.client import Cluster

VIRTUAL_TAINT = {"key": "virtual-node.interlink/no-schedule", "value": "true", "effect": "NoSchedule"}
STATUS = {"Content-Type": "application/strategic-merge-patch+json"}


class Nodes:
    """Makes Node objects, as whoever registers them does, and removes them."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._made: list[str] = []

    def make(
        self, name: str, *, taints: list[dict[str, str]] | None = None, ready: str = "True", ping: str | None = None,
        labels: dict[str, str] | None = None, **allocatable: str,
    ) -> None:  # fmt: skip
        amounts = {"cpu": "16", "memory": "32Gi", "pods": "50"} | {
            k.replace("__", "/").replace("_", "."): v for k, v in allocatable.items()
        }
        metadata = {"name": name, "labels": {"kubernetes.io/hostname": name} | (labels or {}),
                    "annotations": {} if ping is None else {ANNOTATION: ping}}  # fmt: skip
        self._cluster.make("/api/v1/nodes", {"metadata": metadata, "spec": {"taints": taints or []}})
        self._made.append(name)
        self.say(name, ready, allocatable=amounts, capacity=amounts)

    def say(self, name: str, ready: str, **status: Any) -> None:
        """Heartbeat."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        condition = {
            "type": "Ready",
            "status": ready,
            "reason": "KubeletPending",
            "lastHeartbeatTime": now,
            "lastTransitionTime": now,
        }
        body = {"status": {**status, "conditions": [condition]}}
        self._cluster.admin.patch(f"/api/v1/nodes/{name}/status", json=body, headers=STATUS).raise_for_status()

    def delete(self, name: str) -> None:
        self._cluster.admin.delete(f"/api/v1/nodes/{name}").raise_for_status()
        self._made.remove(name)

    def delete_all(self) -> None:
        for name in list(self._made):
            self.delete(name)


@pytest.fixture
def nodes(kubernetes: Cluster) -> Iterator[Nodes]:
    made = Nodes(kubernetes)
    yield made
    made.delete_all()


async def test_virtual_nodes_become_sites(nodes: Nodes, ann: Path, site: MakeSite) -> None:
    nodes.make("vk.recas.example", taints=[VIRTUAL_TAINT, {"key": "site", "value": "recas", "effect": "NoExecute"}])
    nodes.make("vk-old", labels={"type": "virtual-kubelet"}, taints=[], nvidia_com__gpu="2")
    nodes.make("worker-1", labels={"kubernetes.io/arch": "amd64"})
    template = definition(discover="virtual-nodes", kubeconfig=str(ann), annotations={"a.example/b": "c"})
    found = await discover(template)
    assert found is not None
    ours = {s.name: s for s in found if s.options["node"] in ("vk.recas.example", "vk-old", "worker-1")}
    assert set(ours) == {"vk-recas-example", "vk-old"}
    recas = ours["vk-recas-example"]
    assert recas.title == "vk.recas.example"
    assert recas.profiles == template.profiles and recas.images == template.images
    assert recas.options == {"node": "vk.recas.example", "kubeconfig": str(ann), "annotations": {"a.example/b": "c"}}
    # what was found is a site of its own
    side = await site(name=recas.name, **recas.options)
    assert (await side.health()).state is HealthState.healthy
    placement = await side.placement()
    assert placement.node_selector == {"kubernetes.io/hostname": "vk.recas.example"}
    assert {"key": "site", "operator": "Equal", "value": "recas", "effect": "NoExecute"} in placement.tolerations


async def test_a_file_refines_what_is_discovered(nodes: Nodes, ann: Path, site: MakeSite) -> None:
    nodes.make("vk-gpu", taints=[VIRTUAL_TAINT], nvidia_com__gpu="4", **{"nvidia_com__mig-1g_5gb": "7"})
    gpu = {"name": "gpu", "cores": 1, "memory_bytes": "1 GiB", "accelerators": [{"resource": "nvidia.com/gpu"}]}
    fpga = {
        "name": "fpga",
        "cores": 1,
        "memory_bytes": "1 GiB",
        "accelerators": [{"resource": "xilinx.com/fpga", "model": "U50"}],
    }
    large = {"name": "large", "cores": 17, "memory_bytes": "1 GiB"}
    refined = await site(
        name="vk-gpu", title="Leonardo", profiles=[SMALL, gpu, fpga, large], node="vk-gpu", kubeconfig=str(ann),
        accelerator_models={"nvidia.com/gpu": "A100"},
    )  # fmt: skip
    assert {a.title: (a.free, a.total) for a in (await refined.capacity()).accelerators} == {
        "A100": (None, 4), "A100 slice 1g.5gb": (None, 7),
    }  # fmt: skip
    assert (await refined.capacity()).source == "nominal"
    assert await refined.unavailable() == {
        "fpga": "The site has no U50 FPGA (xilinx.com/fpga); it has nvidia.com/gpu, nvidia.com/mig-1g.5gb.",
        "large": "No node has 17 cores; the largest has 16 cores.",
    }


async def test_discovery_says_why_it_cannot(kubernetes: Cluster, namespace: str) -> None:
    blind = make_user(kubernetes, "blind", namespace, nodes=False)
    with pytest.raises(Forbidden) as caught:
        await discover(definition(discover="virtual-nodes", kubeconfig=str(blind)))
    assert "may not list nodes" in caught.value.message
    assert "kubectl create clusterrole" in str(caught.value.hint)
    with pytest.raises(BadInput):
        await discover(definition(discover="real-nodes"))
    assert await discover(definition(node="vk")) is None


async def test_without_rights_on_nodes_the_file_is_all_there_is(
    kubernetes: Cluster, nodes: Nodes, namespace: str, site: MakeSite
) -> None:
    nodes.make("vk-unseen", taints=[VIRTUAL_TAINT])
    blind = make_user(kubernetes, "blind", namespace, nodes=False)
    side = await site(node="vk-unseen", kubeconfig=str(blind), tolerations=[{"key": "pool", "operator": "Exists"}])
    health = await side.health()
    assert health.state is HealthState.unknown
    assert "kubectl create clusterrole offload-blind-get-nodes" in str(health.hint)
    placement = await side.placement()
    assert placement.problem is None, "nothing is known against it"
    assert placement.node_selector == {"kubernetes.io/hostname": "vk-unseen"}
    assert placement.tolerations[0] == {"key": "virtual-node.interlink/no-schedule", "operator": "Exists"}
    assert placement.tolerations[-1] == {"key": "pool", "operator": "Exists"}
    assert (await side.capacity()).cores_total is None
    assert await side.unavailable() == {}


async def test_a_node_that_is_deleted_and_comes_back(nodes: Nodes, ann: Path, site: MakeSite) -> None:
    nodes.make("vk-fleeting", taints=[VIRTUAL_TAINT, {"key": "site", "value": "x", "effect": "NoSchedule"}])
    side = await site(node="vk-fleeting", kubeconfig=str(ann))
    assert (await side.health()).state is HealthState.healthy
    nodes.delete("vk-fleeting")

    async def missing() -> Any:
        health = await side.health()
        return health if health.state is not HealthState.healthy else None

    health = await until(missing, 30)
    assert "no node 'vk-fleeting' now; last heard" in health.message
    placement = await side.placement()
    assert placement.problem is not None
    assert placement.problem.code is ReasonCode.node_not_ready
    assert [t for t in placement.tolerations if t.get("key") == "site"], "the taints that it had"
    nodes.make("vk-fleeting", taints=[VIRTUAL_TAINT])
    await until(lambda: _is(side, HealthState.healthy), 30)


async def _is(side: Any, state: HealthState) -> bool:
    return (await side.health()).state is state


async def test_ordinary_nodes_by_labels(nodes: Nodes, ann: Path, site: MakeSite) -> None:
    labels = {"pool": "dask", "kubernetes.io/arch": "amd64"}
    nodes.make("worker-a", labels=labels)
    nodes.make("worker-b", labels=labels, taints=[{"key": "pool", "value": "dask", "effect": "NoSchedule"}])
    nodes.make("worker-c", labels=labels, ready="False")
    nodes.make("worker-d", labels={"pool": "other"})
    arm = SMALL | {"name": "arm", "architecture": "arm64"}
    side = await site(profiles=[SMALL, arm], node_selector={"pool": "dask"}, kubeconfig=str(ann))
    health, capacity = await side.health(), await side.capacity()
    assert (health.state, health.message) == (HealthState.healthy, "2 of 3 nodes take work.")
    assert (capacity.cores_total, capacity.cores_free, capacity.source) == (32, None, "site")
    assert side.architectures() == ["amd64"]
    assert await side.unavailable() == {"arm": "The site's nodes are amd64, not arm64."}
    placement = await side.placement()
    assert placement.node_selector == {"pool": "dask"}
    assert {t["effect"] for t in placement.tolerations} == {"NoExecute"}, "their taints keep workers off"
    assert any("keeps workers off by its taint pool" in f.message for f in await side.check())


async def test_zero_capacity_is_a_problem(nodes: Nodes, ann: Path, site: MakeSite) -> None:
    nodes.make("vk-drained", taints=[VIRTUAL_TAINT], cpu="0", memory="0")
    side = await site(node="vk-drained", kubeconfig=str(ann))
    health, placement = await side.health(), await side.placement()
    assert health.state is HealthState.unhealthy
    assert "no cores and no memory" in health.message
    assert "558" in str(health.hint)
    assert placement.problem is not None and placement.problem.code is ReasonCode.no_capacity
    assert "no cores" in (await side.unavailable())["small"]


async def test_a_silent_api_server(kubernetes: Cluster, nodes: Nodes, ann: Path, site: MakeSite) -> None:
    nodes.make("vk-cut-off", taints=[VIRTUAL_TAINT])
    side = await site(node="vk-cut-off", kubeconfig=str(ann))
    assert (await side.health()).state is HealthState.healthy
    with kubernetes.silent():
        await until(lambda: _is(side, HealthState.unknown), 30)
        health, placement = await side.health(), await side.placement()
        assert "did not answer within 4 s" in health.message
        assert "The site was last heard" in health.message
        assert health.last_heard_at is not None
        assert placement.problem is not None and placement.problem.code is ReasonCode.cannot_see
        findings = await side.check()
        assert findings[-1].check == "api-server" and findings[-1].state == "error"
    await until(lambda: _is(side, HealthState.healthy), 60)


# ---------------------------------------------------------------- a real interLink
async def test_a_real_virtual_node(virtual_node: VirtualNode, ann: Path, site: MakeSite) -> None:
    side = await site(node=virtual_node.name, kubeconfig=str(ann))
    health, capacity = await side.health(), await side.capacity()
    assert health.state is HealthState.healthy
    assert health.last_heard_at is not None
    assert capacity.source == "site"
    assert capacity.cores_total == 64
    assert {a.title: (a.free, a.total) for a in capacity.accelerators} == {"A100": (2, 2), "A100 slice 1g.10gb": (4, 4)}
    assert (await side.placement()).problem is None
    template = definition(discover="virtual-nodes", kubeconfig=str(ann))
    assert virtual_node.name in [s.name for s in await discover(template) or ()]


@pytest.mark.timeout(400)
async def test_what_a_real_site_says_of_itself(virtual_node: VirtualNode, ann: Path, site: MakeSite) -> None:
    side = await site(node=virtual_node.name, kubeconfig=str(ann))

    async def says(what: Any) -> bool:
        return bool(what((await side.health()).message, await side.capacity()))

    try:
        virtual_node.misbehave(gpus_free=0, capacity_zero=True)
        await until(lambda: says(lambda message, c: "no cores" in message and c.cores_total == 0))
        assert {a.title: a.free for a in (await side.capacity()).accelerators} == {"A100": 0, "A100 slice 1g.10gb": 0}
        virtual_node.misbehave(ping="PARTITION AVAIL TIMELIMIT NODES(A/I/O/T)\ncpu up infinite 0/2/0/2\n")
        await until(lambda: says(lambda _, c: c.source == "nominal" and c.cores_free is None and c.cores_total == 64))
    finally:
        virtual_node.behave()
    await until(lambda: says(lambda _, c: c.source == "site" and c.cores_free == 64))


@pytest.mark.timeout(400)
async def test_a_killed_interlink_is_not_gone(virtual_node: VirtualNode, ann: Path, site: MakeSite) -> None:
    side = await site(node=virtual_node.name, kubeconfig=str(ann))
    before = (await side.health()).last_heard_at
    virtual_node.kill("interlink")
    try:
        await until(lambda: _is(side, HealthState.unhealthy))
        health, placement = await side.health(), await side.placement()
        assert "is not ready" in health.message and "last heard" in health.message
        assert "gone" not in health.message
        assert health.last_heard_at is not None and before is not None and health.last_heard_at >= before
        assert placement.problem is not None and placement.problem.code is ReasonCode.node_not_ready
        findings = {f.check: f for f in await side.check()}
        assert findings["node"].state == "error"
        assert findings["interlink"].state == "error" and "pinglink" in str(findings["interlink"].hint)
        assert findings["heartbeat"].state == "ok", "the virtual kubelet is heard, its site is not"
    finally:
        virtual_node.start("interlink")
    await until(lambda: _is(side, HealthState.healthy))


@pytest.mark.timeout(400)
async def test_a_killed_virtual_kubelet_is_unknown(virtual_node: VirtualNode, ann: Path, site: MakeSite) -> None:
    side = await site(node=virtual_node.name, kubeconfig=str(ann))
    assert (await side.health()).state is HealthState.healthy
    virtual_node.kill("virtual-kubelet")
    try:
        await until(lambda: _is(side, HealthState.unknown), 200)
        health = await side.health()
        assert "no longer reports" in health.message and "last heard" in health.message
    finally:
        virtual_node.start("virtual-kubelet")
    await until(lambda: _is(side, HealthState.healthy), 200)
