"""Accelerators and amounts, as nodes and sites name them."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from node_objects import SINFO

from jupyter_offload.backends.kubernetes.accelerators import (
    is_accelerator,
    kind_of,
    resource_of,
    same_model,
    title_of,
    with_models,
)
from jupyter_offload.backends.kubernetes.ping import ANNOTATION, Ping, read_ping
from jupyter_offload.backends.kubernetes.quantities import parse_quantity, whole


@pytest.mark.parametrize(
    ("resource", "model", "kind", "title"),
    [
        ("nvidia.com/gpu", "A100", "gpu", "A100"),
        ("nvidia.com/gpu", None, "gpu", "NVIDIA GPU"),
        ("nvidia.com/mig-1g.10gb", "A100", "gpu-slice", "A100 slice 1g.10gb"),
        ("nvidia.com/mig-1g.10gb", None, "gpu-slice", "GPU slice 1g.10gb"),
        ("nvidia.com/mig-1g.5gb.me", "A30", "gpu-slice", "A30 slice 1g.5gb.me"),
        ("nvidia.com/gpu.shared", "T4", "gpu-slice", "T4 (shared)"),
        ("amd.com/gpu", "MI250", "gpu", "MI250"),
        ("gpu.intel.com/i915", None, "gpu", "Intel GPU"),
        ("xilinx.com/fpga", "U50", "fpga", "U50 FPGA"),
        ("intel.com/fpga", None, "fpga", "Intel FPGA"),
        ("xilinx.com/fpga-xilinx_u50_gen3x16-0", None, "fpga", "Xilinx FPGA"),
        ("example.org/tpu", None, "other", "example.org/tpu"),
        ("example.org/tpu", "v5", "other", "v5"),
    ],
)
def test_kind_and_title(resource: str, model: str | None, kind: str, title: str) -> None:
    assert kind_of(resource) == kind
    assert title_of(resource, model) == title


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("a100", ("nvidia.com/gpu", "A100")),
        ("gpu", ("nvidia.com/gpu", None)),
        ("1g.5gb", ("nvidia.com/mig-1g.5gb", None)),
        ("mig-3g.20gb", ("nvidia.com/mig-3g.20gb", None)),
        ("a100_1g.5gb", ("nvidia.com/mig-1g.5gb", "A100")),
        ("A100 mig 1g.10gb", ("nvidia.com/mig-1g.10gb", "A100")),
        ("mi250", ("amd.com/gpu", "MI250")),
        ("u50", ("xilinx.com/fpga", "U50")),
        ("stratix10", ("intel.com/fpga", "STRATIX10")),
        ("v100", ("nvidia.com/gpu", "V100")),
        ("nvidia.com/mig-1g.10gb", ("nvidia.com/mig-1g.10gb", None)),
    ],
)
def test_what_a_site_means_by_a_name(key: str, meant: tuple[str, str | None]) -> None:
    assert resource_of(key) == meant


def test_models_are_the_same_by_their_words() -> None:
    assert same_model("a100", "NVIDIA A100-PCIE-40GB")
    assert same_model("A100", "a100")
    assert not same_model("a10", "a100")
    assert not same_model("", "a100")


def test_a_slice_is_of_the_card_that_the_administrator_names() -> None:
    assert with_models({"nvidia.com/gpu": "A100"}, "nvidia.com/mig-1g.5gb") == "A100"
    assert with_models({"nvidia.com/gpu": "A100"}, "amd.com/gpu") is None


@pytest.mark.parametrize(
    "resource", ["cpu", "memory", "pods", "ephemeral-storage", "hugepages-2Mi", "attachable-volumes-x"]
)
def test_what_every_node_has_is_no_accelerator(resource: str) -> None:
    assert not is_accelerator(resource)
    assert is_accelerator("nvidia.com/gpu")


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1000", 1000), ("31850m", 31), ("16000Gi", 16000 * 2**30), ("3000G", 3000 * 10**9), ("1e3", 1000), ("2.5Gi", 5 * 2**29),
        ("0", 0), ("-5", 0), ("3Ki", 3072), (64, 64), (1.5, 1), ("1E", 10**18), ("1k", 1000),
    ],
)  # fmt: skip
def test_amounts(text: object, amount: int) -> None:
    assert whole(text) == amount


@pytest.mark.parametrize("text", ["", "many", "1Zi", None, True, [], "1 Gi", "0x10", "∞", math.inf, math.nan])
def test_what_is_no_amount_is_unknown(text: object) -> None:
    assert whole(text) is None


@given(st.text())
def test_no_text_breaks_the_reading_of_amounts(text: str) -> None:
    parse_quantity(text)
    whole(text)


def ping(body: object) -> Ping:
    return read_ping({ANNOTATION: body if isinstance(body, str) else json.dumps(body)})


def test_forms_of_an_answer() -> None:
    assert read_ping({}).form == "absent"
    assert ping("").form == "empty"
    assert ping(SINFO).form == "text"
    assert ping("[1]").form == "text"
    assert ping({"status": "ok"}).form == "json"
    assert not ping(SINFO).tells_size and not ping(SINFO).tells_free


def test_numbers_of_an_answer() -> None:
    accelerators = [
        {"resourceType": "nvidia.com/gpu", "model": "a100", "available": "4"},
        {"ResourceType": "nvidia.com/gpu", "Model": "h200", "Available": 2},
        {"resourceType": "nvidia.com/mig-1g.5gb", "model": "1g.5gb", "available": "7"},
        {"resourceType": "nvidia.com/mig-2g.10gb", "model": "nvidia.com/mig-2g.10gb", "available": "3"},
        {"model": "nameless", "available": 1},
        {"resourceType": "x.org/tpu", "model": "x.org/tpu", "available": 1},
        {"resourceType": "amd.com/gpu", "available": "some"},
    ]
    found = ping(
        {
            "resources": {"cpu": "128", "memory": "512Gi", "pods": "100", "accelerators": accelerators},
            "site": {"free": {"cpu": 17, "memoryMi": 1024, "gpu": {"a100": 1, "1g.5gb": 6, "h200": "2"}}},
        }
    )
    assert (found.cores, found.memory_bytes, found.cores_free, found.memory_free_bytes) == (128, 512 * 2**30, 17, 2**30)
    assert found.totals == {
        ("nvidia.com/gpu", "a100"): 4, ("nvidia.com/gpu", "h200"): 2, ("nvidia.com/mig-1g.5gb", None): 7,
        ("nvidia.com/mig-2g.10gb", None): 3, ("x.org/tpu", None): 1,
    }  # fmt: skip
    assert found.free == {
        ("nvidia.com/gpu", "A100"): 1,
        ("nvidia.com/mig-1g.5gb", None): 6,
        ("nvidia.com/gpu", "H200"): 2,
    }
    assert found.zero == []


def test_none_of_something_is_heard() -> None:
    assert ping({"resources": {"cpu": "0", "memory": "0Mi", "pods": "10"}}).zero == ["cores", "memory"]


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)
    )
)
def test_no_answer_of_a_site_breaks_the_reading(value: object) -> None:
    for body in (value, {"resources": value, "site": value}, {"resources": {"accelerators": value}, "site": {"free": value}},
                 {"resources": {"cpu": value}, "site": {"free": {"gpu": value, "memoryMi": value}}}):  # fmt: skip
        read_ping({ANNOTATION: json.dumps(body)})
