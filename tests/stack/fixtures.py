"""The stack for pytest: each part once in a session, in a folder of its own, ended with it.

A conftest takes what it needs: ``from tests.stack.fixtures import kubernetes as kubernetes``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

from . import kubernetes as control_plane
from .interlink import programs as interlink
from .interlink.node import VirtualNode
from .kubernetes.client import Cluster


@pytest.fixture(scope="session")
def kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A control plane; tests share it, so each makes accounts and namespaces of its own."""
    if not control_plane.built():
        # Minutes, which must not count as those of a test.
        pytest.fail("Kubernetes is not built yet: python -m tests.stack build kubernetes", pytrace=False)
    folder = tmp_path_factory.mktemp("kubernetes") / "state"
    answer = control_plane.up(folder, controllers=True)
    cluster = Cluster(folder, answer["url"], answer["namespace"])
    try:
        yield cluster
    finally:
        cluster.close()
        control_plane.down(folder, keep_logs=True)


@pytest.fixture(scope="session")
def virtual_node(kubernetes: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualNode]:
    """A virtual node with two A100 and four slices; its image ``good`` is the Python of the tests."""
    if not interlink.MODULE.is_built():
        pytest.fail("interLink is not built yet: python -m tests.stack build interlink", pytrace=False)
    images = {"good": {"PATH": os.path.dirname(sys.executable)}}
    accelerators, models = {"nvidia.com/gpu": 2, "nvidia.com/mig-1g.10gb": 4}, {"nvidia.com/gpu": "A100"}
    folder = tmp_path_factory.mktemp("site") / "vk"
    node = VirtualNode(kubernetes, "vk-one", folder, images, accelerators=accelerators, models=models)
    try:
        node.up()
        node.until_ready()
        yield node
        assert not node.violations(), "pods broke the contract of interLink's plugins"
    finally:
        node.down(keep_logs=True)
