"""What the doctor says of a node, a clock and a quota, each by itself; and the names of sites that are discovered."""

from __future__ import annotations

import json
from typing import Any

import pytest
from node_objects import BEAT_AT, SINFO, of_0_4_0, of_0_5_2, of_0_6_2, of_2025_07, ordinary

from jupyter_offload.api.models import Accelerator, Finding, Profile, SiteDefinition, WorkerImage
from jupyter_offload.backends.kubernetes import discovery
from jupyter_offload.backends.kubernetes.doctor import _clock
from jupyter_offload.backends.kubernetes.doctor_node import node_findings
from jupyter_offload.backends.kubernetes.doctor_rules import probe, room_for
from jupyter_offload.backends.kubernetes.health import Sight
from jupyter_offload.backends.kubernetes.nodes import Heard, NodeView
from jupyter_offload.backends.kubernetes.options import KubernetesOptions
from jupyter_offload.backends.kubernetes.placement import Placement

NOW = BEAT_AT + 10
OPTIONS = KubernetesOptions(node="vk-a")


def found(node: dict[str, Any], now: float = NOW, options: KubernetesOptions = OPTIONS) -> dict[str, Finding]:
    sight = Sight([NodeView.of(node, now, Heard(BEAT_AT, BEAT_AT))])
    return {f.check: f for f in node_findings(sight, options, now)}


def test_a_node_that_is_well() -> None:
    findings = found(of_2025_07())
    assert list(findings) == ["node", "taint", "label", "heartbeat", "interlink", "ping"]
    assert {f.state for f in findings.values()} == {"ok"}
    assert findings["heartbeat"].message == "Its heartbeat changed 10 s ago, by our own clock."
    assert "Response" not in findings["interlink"].message


@pytest.mark.parametrize(
    ("node", "check", "says", "repair"),
    [
        (of_2025_07(taints=[]), "taint", "lacks the taint", "kubectl taint node vk-a virtual-node.interlink/no-schedule"),
        (of_2025_07(link=("False", "code 500")), "interlink", "code 500", "pinglink"),
        (of_0_4_0(), "ping", "keeps no answer", "let-a-site-report"),
        (of_0_5_2(SINFO), "ping", "with a table", "let-a-site-report"),
        (of_0_5_2(""), "ping", "empty", "let-a-site-report"),
        (of_0_6_2(), "ping", "does not say how much is free", "let-a-site-report"),
        (of_2025_07(ping=json.dumps({"resources": {"cpu": "0"}})), "ping", "no cores", "558"),
        (of_2025_07(ping=json.dumps({"site": {"free": {"cpu": 1}}, "x": "y" * 5000})), "ping", "bytes", "2 kB"),
        (ordinary("vk-a"), "taint", "ordinary node", "node_selector"),
        (of_0_6_2(allocatable={"pods": "0"}), "node", "no pods", "558"),
    ],
)  # fmt: skip
def test_faults_of_a_node(node: dict[str, Any], check: str, says: str, repair: str) -> None:
    finding = found(node)[check]
    assert finding.state != "ok"
    assert says in finding.message
    assert repair in str(finding.hint)


def test_a_node_without_label_or_heartbeat() -> None:
    node = of_2025_07()
    node["metadata"]["labels"] = {}
    assert "kubectl label node vk-a virtual-node.interlink/type=virtual-kubelet" in str(found(node)["label"].hint)
    assert found(of_2025_07(), NOW + 200)["heartbeat"].state == "warning"
    silent = Sight([NodeView.of(of_2025_07(), NOW, Heard())])
    assert next(f for f in node_findings(silent, OPTIONS, NOW) if f.check == "heartbeat").state == "warning"


def test_old_versions_do_not_say_whether_they_reach_their_site() -> None:
    assert found(of_0_4_0())["interlink"].state == "ok"


def test_taints_that_keep_workers_off_ordinary_nodes() -> None:
    taint = {"key": "pool", "value": "dask", "effect": "NoSchedule"}
    options = KubernetesOptions(node_selector={"pool": "dask"})
    assert "keeps workers off" in found(ordinary(taints=[taint]), options=options)["taint"].message
    tolerant = KubernetesOptions(node_selector={"pool": "dask"}, tolerations=[{"key": "pool", "operator": "Exists"}])
    assert "taint" not in found(ordinary(taints=[taint]), options=tolerant)


@pytest.mark.parametrize(
    ("offset_s", "state", "says"),
    [
        (0.4, "ok", "0 s apart"),
        (-20, "ok", "20 s"),
        (60, "warning", "1 min behind"),
        (-4000, "error", "1 h 6 min ahead of"),
    ],
)
def test_clocks(offset_s: float, state: str, says: str) -> None:
    (finding,) = _clock(offset_s)
    assert finding.state == state
    assert says in finding.message
    assert _clock(None) == []


def profile(**size: Any) -> Profile:
    return Profile(name="p", **{"cores": 2, "memory_bytes": 2 * 2**30, **size})


@pytest.mark.parametrize(
    ("hard", "used", "room"),
    [
        ({"requests.cpu": "10"}, {"requests.cpu": "3"}, (3, 5)),
        ({"cpu": "10", "limits.memory": "6Gi"}, {}, (3, 3)),
        ({"pods": "4", "count/secrets": "3"}, {"pods": "4"}, (0, 3)),
        ({"requests.nvidia.com/gpu": "1"}, {"requests.nvidia.com/gpu": "0"}, (1, 1)),
        ({"requests.cpu": "1"}, {"requests.cpu": "500m"}, (0, 0)),
        ({"services": "1"}, {}, (None, None)),
        ({}, {}, (None, None)),
    ],
)
def test_what_a_quota_leaves_room_for(
    hard: dict[str, str], used: dict[str, str], room: tuple[int | None, int | None]
) -> None:
    wanted = profile(accelerators=[Accelerator(resource="nvidia.com/gpu")])
    assert room_for(wanted, {"hard": hard, "used": used}) == room


def test_the_pod_that_asks_for_the_rules_asks_for_what_a_worker_does() -> None:
    options = KubernetesOptions(node="vk-a", host_paths=[{"path": "/cvmfs"}])
    wanted = profile(accelerators=[Accelerator(resource="nvidia.com/gpu", count=2)])
    site = SiteDefinition(
        name="x", backend="kubernetes", profiles=[wanted], images=[WorkerImage(name="a", image="b:1")]
    )
    pod = probe(site, options, wanted, Placement({"kubernetes.io/hostname": "vk-a"}, [{"operator": "Exists"}]))
    (container,) = pod["spec"]["containers"]
    assert container["resources"]["limits"] == container["resources"]["requests"] == {
        "cpu": "2", "memory": "2048Mi", "nvidia.com/gpu": "2",
    }  # fmt: skip
    assert pod["spec"]["volumes"][0]["hostPath"] == {"path": "/cvmfs", "type": "Directory"}
    assert container["volumeMounts"] == [{"name": "path-0", "mountPath": "/cvmfs", "readOnly": True}]
    assert pod["spec"]["nodeSelector"] and pod["spec"]["tolerations"]
    assert pod["spec"]["automountServiceAccountToken"] is False


def test_names_of_discovered_sites() -> None:
    taken: set[str] = set()
    for node, expected in (
        ("vk-leonardo", "vk-leonardo"),
        ("vk.leonardo", "vk-leonardo-2"),
        ("x" * 60, "x" * 40),
        ("x" * 61, f"{'x' * 36}-2"),
    ):
        name = discovery._name(node, taken)
        taken.add(name)
        assert name == expected
        SiteDefinition(name=name, backend="kubernetes", profiles=[profile()])
