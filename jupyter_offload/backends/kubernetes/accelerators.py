"""Accelerators as nodes and sites name them, and as people call them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

Kind = Literal["gpu", "gpu-slice", "fpga", "other"]

#: Slices of NVIDIA's Multi-Instance GPU: compute slices and memory, such as ``1g.10gb`` or ``1g.5gb+me``.
_MIG = re.compile(
    r"(?:(?P<card>.+)[ _:-])?(?:mig-)?(?P<size>(?:\d+c\.)?\d+g\.\d+gb(?:[+.](?:me|gfx|all)[\w.]*)?)\Z", re.IGNORECASE
)
_AMD_MODEL = re.compile(r"(?:amd[-_ ]?)?(?:instinct[-_ ]?)?mi\d{2,3}", re.IGNORECASE)
_FPGA_MODEL = re.compile(r"(?:alveo[-_ ]?)?(?:u\d{2,3}|v\d0)\b|arria|stratix|agilex", re.IGNORECASE)
_VENDORS = {
    "nvidia.com": "NVIDIA",
    "amd.com": "AMD",
    "intel.com": "Intel",
    "gpu.intel.com": "Intel",
    "xilinx.com": "Xilinx",
}
_GPUS = {
    "nvidia.com/gpu",
    "nvidia.com/gpu.shared",
    "amd.com/gpu",
    "intel.com/gpu",
    "gpu.intel.com/i915",
    "gpu.intel.com/xe",
}
#: What every node has and nobody calls an accelerator.
_ORDINARY = re.compile(r"(cpu|memory|pods|storage|ephemeral-storage|hugepages-.*|attachable-volumes-.*)\Z")


def is_accelerator(resource: str) -> bool:
    """Tell whether a node's resource is one that people choose a site for."""
    return _ORDINARY.match(resource) is None and "/" in resource


def slice_of(resource: str) -> str | None:
    """Return the size of a GPU's slice, such as ``1g.10gb`` of ``nvidia.com/mig-1g.10gb``; None for what is no slice."""
    found = _MIG.match(resource.rpartition("/")[2])
    return found["size"].lower() if found else None


def kind_of(resource: str) -> Kind:
    """Return what a resource is."""
    if slice_of(resource) or resource.endswith("gpu.shared"):
        return "gpu-slice"
    if resource in _GPUS:
        return "gpu"
    return "fpga" if "fpga" in resource.lower() else "other"


def title_of(resource: str, model: str | None = None) -> str:
    """Return what people call it, such as ``A100``, ``A100 slice 1g.10gb``, ``U50 FPGA``; resource and model as known."""
    vendor = _VENDORS.get(resource.partition("/")[0], "")
    size = slice_of(resource)
    if size is not None:
        return f"{model or 'GPU'} slice {size}"
    if resource.endswith("gpu.shared"):
        return f"{model or vendor + ' GPU'} (shared)"
    kind = kind_of(resource)
    if kind == "gpu":
        return model or f"{vendor} GPU"
    if kind == "fpga":
        return f"{model or vendor} FPGA".strip()
    return model or resource


def resource_of(key: str) -> tuple[str, str | None]:
    """Return the resource and the model that a site means by a name in its free numbers.

    Sites name them as their batch system does: ``a100``, ``1g.5gb``, ``mi250``, ``u50``. A name with a ``/`` is a resource.
    """
    if "/" in key:
        return key, None
    if (found := _MIG.match(key)) is not None:
        card = re.sub(r"[ _:-]*mig\Z", "", found["card"] or "", flags=re.IGNORECASE)
        return f"nvidia.com/mig-{found['size'].lower()}", model_name(card) if card else None
    if _AMD_MODEL.match(key):
        return "amd.com/gpu", model_name(key)
    if _FPGA_MODEL.match(key):
        vendor = "intel.com" if re.match("arria|stratix|agilex", key, re.IGNORECASE) else "xilinx.com"
        return f"{vendor}/fpga", model_name(key)
    return "nvidia.com/gpu", None if key.lower() == "gpu" else model_name(key)


def model_name(key: str) -> str:
    """Return a batch system's name of a model as people write it: ``a100`` is ``A100``."""
    return key.upper() if key.islower() or key.isdigit() else key


def same_model(one: str, other: str) -> bool:
    """Tell whether two names mean one model: ``a100``, ``NVIDIA A100`` and ``A100-PCIE-40GB`` do, ``a10`` and ``a100`` do not."""
    mine, theirs = set(_words(one)), set(_words(other))
    return bool(mine) and bool(theirs) and (mine <= theirs or theirs <= mine)


def _words(model: str) -> list[str]:
    return [
        w
        for w in re.split(r"[^a-z0-9]+", model.lower())
        if w and w not in ("nvidia", "amd", "tesla", "intel", "xilinx")
    ]


def with_models(models: Mapping[str, str], resource: str) -> str | None:
    """Return the model that the administrator gives a resource; a slice is of the card that ``nvidia.com/gpu`` has."""
    return models.get(resource) or (models.get("nvidia.com/gpu") if slice_of(resource) else None)
