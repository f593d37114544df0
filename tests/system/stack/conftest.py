"""The stack looks after itself: what its tests start is ended by the stack's own ``down``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from small_pods import SmallPods

from tests.stack.fixtures import kubernetes as kubernetes
from tests.stack.fixtures import running_node
from tests.stack.interlink.node import VirtualNode
from tests.stack.interlink.standard import standard_node
from tests.stack.kubernetes.client import Cluster


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
