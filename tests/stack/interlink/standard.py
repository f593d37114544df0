"""The virtual node that tests and people get."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ..kubernetes.client import Cluster
from .images import Image, python_image
from .node import VirtualNode
from .runner import may_mount

NAME = "vk-one"
_ACCELERATORS = {"nvidia.com/gpu": 2, "nvidia.com/mig-1g.10gb": 4}
_MODELS = {"nvidia.com/gpu": "A100"}


def standard_node(
    cluster: Cluster, folder: Path, name: str = NAME, *, netns: str | None = None, strict: bool = True
) -> VirtualNode:
    """Return a virtual node, not started, with two A100 and four slices of a GPU, and these images.

    ``good``: the Python environment of the tests and nothing else of this machine, so that our package is not there either (where the
    user may have no mounts of his own: as ``open``). ``open``: the same, and all of this machine. ``bare``: a Python without any package.
    """
    images = standard_images(folder)
    return VirtualNode(
        cluster, name, folder, images, accelerators=_ACCELERATORS, models=_MODELS, netns=netns, strict=strict
    )


def standard_images(folder: Path) -> dict[str, Image]:
    """Return the images, made below a folder where they are not there yet."""
    alone = may_mount()
    bare = folder.with_name(f"{folder.name}-images") / "bare"
    if not bare.exists():
        make = [sys.executable, "-m", "venv", "--without-pip", str(bare)]
        subprocess.run(make, check=True, capture_output=True, timeout=120)
    return {
        "good": python_image(alone=alone),
        "open": python_image(alone=False),
        "bare": python_image(str(bare), alone=alone),
    }
