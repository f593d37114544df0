"""The stack looks after itself: what its tests start is ended by the stack's own ``down``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from small_pods import SmallPods

from tests.stack.fixtures import kubernetes as kubernetes
from tests.stack.fixtures import old_image as old_image
from tests.stack.fixtures import running_node
from tests.stack.fixtures import walled_site as walled_site
from tests.stack.interlink.node import VirtualNode
from tests.stack.interlink.standard import standard_node
from tests.stack.kubernetes.client import Cluster
from tests.stack.network import WalledSite


@pytest.fixture(scope="session")
def virtual_node(kubernetes: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualNode]:
    """The standard one; its pods here need not obey the contract."""
    with running_node(standard_node(kubernetes, tmp_path_factory.mktemp("site") / "vk")) as node:
        yield node


@pytest.fixture
def pods(virtual_node: VirtualNode) -> Iterator[SmallPods]:
    virtual_node.behave()
    made = SmallPods(virtual_node)
    yield made
    virtual_node.behave()
    made.clear()
    made.close()


@pytest.fixture(scope="session")
def walled_node(
    kubernetes: Cluster, walled_site: WalledSite, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[VirtualNode]:
    """One whose jobs are in ``walled_site``."""
    folder = tmp_path_factory.mktemp("walled-site") / "vk"
    node = standard_node(kubernetes, folder, "vk-walled", netns=walled_site.namespace.name, strict=False)
    with running_node(node):
        yield node
