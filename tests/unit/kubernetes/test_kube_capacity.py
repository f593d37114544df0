"""What sites have and what is free: their own numbers where they tell, else what is declared; never an invented number."""

from __future__ import annotations

import json
from typing import Any

from node_objects import SINFO, of_0_3_7, of_0_4_0, of_0_5_2, of_0_6_2, of_2025_07, ordinary

from jupyter_offload.api.models import Accelerator, Capacity, Profile
from jupyter_offload.backends.kubernetes.capacity import capacity_of
from jupyter_offload.backends.kubernetes.fit import unavailable
from jupyter_offload.backends.kubernetes.nodes import Heard, NodeView
from jupyter_offload.backends.kubernetes.options import KubernetesOptions


def views(*nodes: dict[str, Any]) -> list[NodeView]:
    return [NodeView.of(n, 0, Heard()) for n in nodes]


def capacity(
    *nodes: dict[str, Any], models: dict[str, str] | None = None, profiles: list[Profile] | None = None
) -> Capacity:
    options = KubernetesOptions(node="vk-a", accelerator_models=models or {})
    return capacity_of(views(*nodes), options, profiles or [])


def accelerators(found: Capacity) -> dict[str, tuple[int | None, int | None]]:
    return {a.title: (a.free, a.total) for a in found.accelerators}


def with_free(gpu: dict[str, int], allocatable: dict[str, str], **more: Any) -> dict[str, Any]:
    ping = json.dumps({"status": "ok", "site": {"free": {"cpu": 5, "memoryMi": 1024, "gpu": gpu}}})
    node = of_2025_07(ping=ping, **more)
    node["status"]["allocatable"] = {"cpu": "64", "memory": "64Gi", "pods": "100", **allocatable}
    return node


def test_a_site_that_tells() -> None:
    found = capacity(of_2025_07())
    assert (found.source, found.cores_total, found.cores_free) == ("site", 64, 64)
    assert found.memory_free_bytes == found.memory_total_bytes == 64 * 2**30
    assert accelerators(found) == {"A100": (2, 2), "A100 slice 1g.10gb": (7, 7)}
    assert [a.kind for a in found.accelerators] == ["gpu", "gpu-slice"]


def test_what_nobody_tells_is_unknown() -> None:
    for node in (of_0_3_7(), of_0_4_0(), of_0_5_2(SINFO), of_0_5_2("")):
        found = capacity(node)
        assert found.source == "nominal"
        assert found.cores_free is None and found.memory_free_bytes is None
        assert found.cores_total is not None
        assert all(a.free is None for a in found.accelerators)
    assert capacity(of_0_4_0()).memory_total_bytes == 16000 * 2**30


def test_what_was_free_before_the_site_fell_silent_is_unknown() -> None:
    found = capacity(of_2025_07(ready="Unknown"))
    assert (found.cores_total, found.cores_free, found.memory_free_bytes) == (64, None, None)
    assert accelerators(found) == {"A100": (None, 2), "A100 slice 1g.10gb": (None, 7)}


def test_resources_of_an_answer_are_totals_and_nothing_is_subtracted() -> None:
    found = capacity(of_0_6_2())
    assert (found.source, found.cores_total, found.cores_free) == ("site", 48, None)
    assert accelerators(found) == {"A100": (None, 2)}


def test_two_models_of_one_resource() -> None:
    # the node has their sum, and as its label the last one's model
    node = with_free({"a100": 1, "h200": 2}, {"nvidia.com/gpu": "6"}, labels={"nvidia-gpu-type": "h200"})
    assert accelerators(capacity(node)) == {"A100": (1, None), "H200": (2, None)}


def test_two_models_with_their_totals() -> None:
    listed = [{"resourceType": "nvidia.com/gpu", "model": m, "available": n} for m, n in (("A100", "4"), ("H200", "2"))]
    body = {"resources": {"cpu": "64", "accelerators": listed}, "site": {"free": {"gpu": {"a100": 1, "h200": 2}}}}
    assert accelerators(capacity(of_2025_07(ping=json.dumps(body)))) == {
        "A100": (1, 4), "H200": (2, 2), "A100 slice 1g.10gb": (None, 7),
    }  # fmt: skip


def test_slices_by_the_names_of_the_batch_system() -> None:
    allocatable = {"nvidia.com/gpu": "4", "nvidia.com/mig-1g.5gb": "7"}
    node = with_free({"a100": 3, "1g.5gb": 6}, allocatable, labels={"nvidia-gpu-type": "A100"})
    assert accelerators(capacity(node)) == {"A100": (3, 4), "A100 slice 1g.5gb": (6, 7)}
    # the node does not have the slice: its total is unknown, and no pod can ask for it
    node = with_free({"1g.5gb": 6}, {}, labels={"nvidia-gpu-type": ""})
    assert accelerators(capacity(node, models={"nvidia.com/gpu": "A100"})) == {"A100 slice 1g.5gb": (6, None)}


def test_the_administrator_names_the_model() -> None:
    node = with_free({"gpu": 1}, {"nvidia.com/gpu": "2"}, labels={"nvidia-gpu-type": ""})
    assert accelerators(capacity(node)) == {"NVIDIA GPU": (1, 2)}
    assert accelerators(capacity(node, models={"nvidia.com/gpu": "A100"})) == {"A100": (1, 2)}
    profile = Profile(
        name="gpu", cores=1, memory_bytes=1, accelerators=[Accelerator(resource="nvidia.com/gpu", model="L40S")]
    )
    assert accelerators(capacity(node, profiles=[profile])) == {"L40S": (1, 2)}


def test_other_accelerators() -> None:
    allocatable = {"xilinx.com/fpga": "2", "amd.com/gpu": "1"}
    node = with_free({"u50": 2}, allocatable, labels={"xilinx-fpga-type": "U50"})
    assert accelerators(capacity(node)) == {"AMD GPU": (None, 1), "U50 FPGA": (2, 2)}


def test_more_free_than_declared_leaves_the_total_unknown() -> None:
    assert accelerators(capacity(with_free({"a100": 5}, {"nvidia.com/gpu": "2"}))) == {"A100": (5, None)}


def test_a_node_that_says_nothing_of_its_size() -> None:
    node = of_0_4_0()
    node["status"]["allocatable"] = {}
    found = capacity(node)
    assert (found.cores_total, found.memory_total_bytes, found.accelerators) == (None, None, [])


def test_ordinary_nodes_are_added_up_where_they_take_work() -> None:
    gpu = ordinary(
        "worker-2", allocatable={"nvidia.com/gpu": "8"}, labels={"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB"}
    )
    away = ordinary("worker-3", ready="False")
    closed = ordinary("worker-4")
    closed["spec"]["unschedulable"] = True
    found = capacity(ordinary(), gpu, away, closed)
    assert (found.cores_total, found.cores_free, found.source) == (62, None, "site")
    assert found.memory_total_bytes == 256 * 2**30
    assert accelerators(found) == {"A100-SXM4-40GB": (None, 8)}


def profile(name: str = "p", *, resource: str | None = None, model: str | None = None, **size: Any) -> Profile:
    wanted = [Accelerator(resource=resource, model=model)] if resource else []
    return Profile(name=name, accelerators=wanted, **{"cores": 1, "memory_bytes": 2**30, **size})


def why_not(wanted: Profile, *nodes: dict[str, Any]) -> str | None:
    return unavailable([wanted], views(*nodes)).get(wanted.name)


def test_what_fits() -> None:
    assert why_not(profile(), of_2025_07()) is None
    assert why_not(profile(resource="nvidia.com/mig-1g.10gb"), of_2025_07()) is None
    assert unavailable([profile(cores=1000)], []) == {}, "nobody saw a node: nothing is known against it"


def test_what_the_site_does_not_have() -> None:
    text = why_not(profile(resource="xilinx.com/fpga", model="U50"), of_2025_07())
    assert text == "The site has no U50 FPGA (xilinx.com/fpga); it has nvidia.com/gpu, nvidia.com/mig-1g.10gb."
    assert "no accelerators" in str(why_not(profile(resource="amd.com/gpu"), ordinary()))
    none_left = of_2025_07(allocatable={"nvidia.com/gpu": "0"})
    assert "no NVIDIA GPU" in str(why_not(profile(resource="nvidia.com/gpu"), none_left))


def test_a_slice_that_only_the_sites_numbers_name() -> None:
    node = with_free({"1g.5gb": 6}, {})
    text = str(why_not(profile(resource="nvidia.com/mig-1g.5gb"), node))
    assert "let-a-site-report-gpu-slices" in text
    assert "let-a-site" not in str(why_not(profile(resource="nvidia.com/mig-2g.10gb"), node))


def test_what_is_larger_than_any_node() -> None:
    assert why_not(profile(cores=65), of_2025_07()) == "No node has 65 cores; the largest has 64 cores."
    text = why_not(profile(memory_bytes=65 * 2**30), of_2025_07())
    assert text == "No node has 65 GiB of memory; the largest has 64 GiB of memory."
    many = Profile(name="p", cores=1, memory_bytes=1, accelerators=[Accelerator(resource="nvidia.com/gpu", count=3)])
    assert why_not(many, of_2025_07()) == "No node has 3 nvidia.com/gpu; the largest has 2 nvidia.com/gpu."


def test_what_no_node_has_together() -> None:
    one, other = ordinary("a", allocatable={"cpu": "64", "memory": "8Gi"}), ordinary("b", allocatable={"cpu": "4"})
    text = str(why_not(profile(cores=32, memory_bytes=64 * 2**30), one, other))
    assert text == "No node has 32 cores, 64 GiB of memory together."


def test_an_architecture_that_the_site_lacks() -> None:
    assert why_not(profile(architecture="arm64"), ordinary()) == "The site's nodes are amd64, not arm64."
    assert why_not(profile(architecture="amd64"), ordinary()) is None
    assert why_not(profile(architecture="arm64"), of_2025_07()) is None, "a virtual node does not say"
    arm = ordinary("arm", labels={"kubernetes.io/arch": "arm64"}, allocatable={"cpu": "2"})
    assert "the largest has 2" in str(why_not(profile(architecture="arm64", cores=8), ordinary(), arm))


def test_zero_capacity_is_said() -> None:
    assert why_not(profile(), of_0_6_2(allocatable={"cpu": "0"})) == "The site says that it has no cores now."
