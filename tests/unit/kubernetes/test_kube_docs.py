"""The pages about Kubernetes sites say what the code does: every option, every example, every form of a site's answer."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from node_objects import of_2025_07

from jupyter_offload.api.models import Model
from jupyter_offload.backends.kubernetes.capacity import capacity_of
from jupyter_offload.backends.kubernetes.nodes import Heard, NodeView
from jupyter_offload.backends.kubernetes.options import (
    Deadlines,
    HostPath,
    KubernetesOptions,
    Storm,
    Toleration,
    read_options,
)
from jupyter_offload.keeper.site_files import parse_site_file

DOCS = Path(__file__).parents[3] / "docs"
REFERENCE = DOCS / "reference" / "kubernetes-sites.md"
HOW_TO = DOCS / "how-to" / "add-a-kubernetes-site.md"
SLICES = DOCS / "how-to" / "let-a-site-report-gpu-slices.md"


def blocks(page: Path, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("model", [KubernetesOptions, Toleration, HostPath, Deadlines, Storm])
def test_every_option_is_in_the_reference(model: type[Model]) -> None:
    _, _, rest = REFERENCE.read_text().partition(f"<!-- fields: {model.__name__} -->")
    table, _, _ = rest.partition("<!-- end -->")
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == list(model.model_fields)
    assert not re.search(r"\| *\|$", table, re.MULTILINE), "each has a meaning"


def test_every_example_of_a_site_file_is_right() -> None:
    files = [b for page in (REFERENCE, HOW_TO) for b in blocks(page, "yaml") if "backend:" in b]
    assert len(files) == 3
    for text in files:
        name = yaml.safe_load(text)["name"]
        file = parse_site_file(Path(f"{name}.yaml"), text.encode())
        assert file.problems == []
        assert file.definition is not None
        read_options(file.definition)


def test_every_part_of_a_site_file_is_right() -> None:
    parts = [b for page in (HOW_TO, SLICES) for b in blocks(page, "yaml") if b.startswith("profiles:")]
    assert len(parts) == 2
    for text in parts:
        file = parse_site_file(Path("part.yaml"), f"backend: kubernetes\n{text}".encode())
        assert file.definition is not None, file.problems
        read_options(file.definition)


def test_the_answer_that_sites_are_told_to_give() -> None:
    (text,) = blocks(SLICES, "json")
    allocatable = {"nvidia.com/gpu": "4", "nvidia.com/mig-1g.10gb": "7"}
    node = NodeView.of(of_2025_07(ping=text, allocatable=allocatable), 0, Heard())
    found = capacity_of([node], KubernetesOptions(node="vk"), [])
    answer: dict[str, Any] = json.loads(text)
    assert (found.source, found.cores_total, found.cores_free) == ("site", 256, answer["site"]["free"]["cpu"])
    assert found.memory_free_bytes == 800000 * 2**20
    assert {a.title: (a.free, a.total) for a in found.accelerators} == {"A100": (3, 4), "A100 slice 1g.10gb": (5, 7)}
    assert len(text.encode()) < 2000
    for name in re.findall(r"`([^`]+)`", SLICES.read_text().partition("The names in `gpu`")[2].partition("\n- ")[0]):
        other = text.replace('"a100": 3, "1g.10gb": 5', f'"{name}": 1')
        seen = capacity_of(
            [NodeView.of(of_2025_07(ping=other, allocatable=allocatable), 0, Heard())], KubernetesOptions(node="vk"), []
        )
        assert [a.free for a in seen.accelerators if a.free is not None] == [1], name
