"""Nodes of every version of interLink: what they are, whether they are well, and when they were heard by our own clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from node_objects import BEAT, BEAT_AT, of_0_3_7, of_0_4_0, of_0_5_2, of_0_6_2, of_2025_07, ordinary

from jupyter_offload.backends.kubernetes.nodes import STALE_S, Heard, NodeView, is_virtual
from jupyter_offload.backends.kubernetes.options import KubernetesOptions
from jupyter_offload.backends.kubernetes.placement import tolerations
from jupyter_offload.backends.kubernetes.watch import BeatClock

Maker = Callable[..., dict[str, Any]]
VERSIONS = [of_0_3_7, of_0_4_0, of_0_5_2, of_2025_07, of_0_6_2]
NOW = BEAT_AT + 10


def view(node: dict[str, Any], now: float = NOW) -> NodeView:
    return NodeView.of(node, now, BeatClock().note(node, now, 0))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_virtual_node_is_told_in_every_version(version: Maker) -> None:
    assert is_virtual(version())
    assert is_virtual(version(taints=[])), "by its label, where its taint was taken away"
    node = version()
    node["metadata"]["labels"] = {}
    assert is_virtual(node), "by its taint"
    assert not is_virtual(ordinary())


@pytest.mark.parametrize("version", VERSIONS)
def test_health_of_every_version(version: Maker) -> None:
    assert view(version()).ready is True
    assert view(version(ready="False")).ready is False
    assert view(version(ready="Unknown")).ready is None


def test_why_it_is_not_ready() -> None:
    said = "Ping failed with exit code: 500. Error: slurmctld is down"
    assert view(of_2025_07(ready="False", link=("False", said))).message == said
    # Ready's reason is always KubeletPending and its message says nothing
    assert view(of_0_4_0(ready="False")).message == ""
    node = ordinary(ready="False")
    node["status"]["conditions"][0] |= {"reason": "KubeletNotReady", "message": "disk is full"}
    assert view(node).message == "disk is full"


def test_a_heartbeat_that_stopped_is_no_health() -> None:
    clock = BeatClock()
    clock.note(of_2025_07(), NOW, 0)
    late = NOW + STALE_S + 60
    stale = NodeView.of(of_2025_07(), late, clock.note(of_2025_07(), late, 0))
    assert stale.ready is None
    assert "heartbeat" in stale.message


def test_the_first_look_goes_by_the_servers_clock() -> None:
    # the server is 100 s ahead of us: a heartbeat at BEAT was 10 s ago by its clock, when ours shows 90 s less
    assert BeatClock().note(of_2025_07(), NOW - 100, 100).beat_at == BEAT_AT - 100
    assert BeatClock().note(of_2025_07(), NOW, None).beat_at == BEAT_AT
    # a node whose own clock is ahead was heard now, not in the future
    assert BeatClock().note(of_2025_07(), BEAT_AT - 500, 0).beat_at == BEAT_AT - 500


def test_later_looks_go_by_our_own_clock() -> None:
    clock = BeatClock()
    clock.note(of_2025_07(), NOW, 0)
    assert clock.note(of_2025_07(), NOW + 20, 0).beat_at == BEAT_AT, "nothing changed"
    # the node's clock is an hour behind: what counts is that it changed
    changed = of_2025_07(beat="2026-11-27T10:37:12Z")
    assert clock.note(changed, NOW + 30, 0).beat_at == NOW + 30
    assert clock.note(changed, NOW + 90, 0).beat_at == NOW + 30


def test_the_site_was_heard_when_its_node_was_last_ready() -> None:
    clock = BeatClock()
    clock.note(of_2025_07(), NOW, 0)
    failing = of_2025_07(ready="False", beat="2026-11-27T11:38:12Z")
    heard = clock.note(failing, NOW + 90, 0)
    assert heard == Heard(beat_at=NOW + 90, ready_at=BEAT_AT), (
        "the virtual kubelet was heard, the site behind it was not"
    )
    back = of_2025_07(beat="2026-11-27T11:40:00Z")
    assert clock.note(back, NOW + 200, 0).ready_at == NOW + 200


def test_what_was_well_before_we_looked() -> None:
    # the cluster lost the node; interLink's own condition stays as it was
    lost = of_2025_07(ready="Unknown")
    assert BeatClock().note(lost, NOW, 0).ready_at == BEAT_AT
    # a node that is not ready rewrites all its times at each ping: since when is not known
    assert BeatClock().note(of_2025_07(ready="False"), NOW, 0).ready_at is None
    assert BeatClock().note(of_0_4_0(ready="Unknown"), NOW, 0).ready_at is None


def test_a_node_that_was_made_anew_is_another() -> None:
    clock = BeatClock()
    clock.note(of_2025_07(), NOW, 0)
    anew = of_2025_07(ready="False", beat="2026-11-27T11:36:43Z")
    anew["metadata"]["uid"] = "another"
    assert clock.note(anew, NOW, 0) == Heard(BEAT_AT + 1, None), (
        "its heartbeat did not change just now: this is the first look"
    )
    assert clock.last("vk-a") == Heard(BEAT_AT + 1, None)
    assert clock.last("vk-b") is None


def test_no_heartbeat_at_all() -> None:
    node = of_2025_07()
    node["status"]["conditions"] = []
    seen = view(node)
    assert (seen.ready, seen.heard) == (None, Heard(None, None))


@pytest.mark.parametrize("resource", ["cpu", "memory", "pods"])
def test_zero_capacity_is_noticed(resource: str) -> None:
    assert view(of_0_6_2(allocatable={resource: "0"})).zero == [{"cpu": "cores"}.get(resource, resource)]
    assert view(of_0_6_2()).zero == []


def test_architectures() -> None:
    assert view(ordinary()).architecture == "amd64"
    assert view(of_2025_07()).architecture is None, "'virtual-kubelet' is none"
    assert view(of_2025_07(labels={"kubernetes.io/arch": "arm64"})).architecture == "arm64"


def test_cordoned() -> None:
    node = of_2025_07()
    node["spec"]["unschedulable"] = True
    assert view(node).cordoned
    assert not view(of_2025_07()).cordoned


SITE_TAINT = {"key": "site", "value": "vk-a", "effect": "NoSchedule"}
LOST = [
    {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 3600}
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
]


@pytest.mark.parametrize("version", VERSIONS)
def test_taints_of_a_virtual_node_are_tolerated_as_they_are(version: Maker) -> None:
    found = tolerations(KubernetesOptions(node="vk-a"), view(version()).taints, virtual=True)
    assert found == [
        {"key": "virtual-node.interlink/no-schedule", "operator": "Exists"},
        {"key": "site", "operator": "Equal", "value": "vk-a", "effect": "NoSchedule"},
        *LOST,
    ]


def test_taints_of_kubernetes_are_not_tolerated() -> None:
    taints = [
        {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"},
        {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"},
        {"key": "node.cloudprovider.kubernetes.io/uninitialized", "value": "true", "effect": "NoSchedule"},
        {"key": "workload", "effect": "NoExecute"},
    ]
    found = tolerations(KubernetesOptions(node="vk-a"), taints, virtual=True)
    assert found[1:] == [{"key": "workload", "operator": "Exists", "effect": "NoExecute"}, *LOST]


def test_what_the_administrator_adds() -> None:
    options = KubernetesOptions(
        node="vk-a", tolerations=[{"key": "pool.vk.io", "value": "recas"}], unreachable_toleration_s="2 h"
    )
    found = tolerations(options, [], virtual=True)
    assert found[-1] == {"key": "pool.vk.io", "operator": "Equal", "value": "recas"}
    assert {t["tolerationSeconds"] for t in found if "tolerationSeconds" in t} == {7200}


def test_taints_of_ordinary_nodes_keep_workers_off() -> None:
    found = tolerations(KubernetesOptions(node_selector={"pool": "dask"}), [SITE_TAINT], virtual=False)
    assert found == LOST


def test_the_captured_node_is_what_these_tests_take_it_for() -> None:
    conditions = {c["type"]: c for c in of_2025_07()["status"]["conditions"]}
    assert conditions["Ready"]["reason"] == "KubeletPending"
    assert conditions["Ready"]["lastHeartbeatTime"] == BEAT
    assert conditions["InterlinkConnectivity"]["reason"] == "InterlinkPingSuccessful"
