"""An ordinary node for pytest: ``from tests.stack.ordinary_node.fixtures import ordinary_node as ordinary_node``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..kubernetes.client import Cluster
from .running import NotPermitted, OrdinaryNode


@pytest.fixture(scope="module")
def ordinary_node(kubernetes: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrdinaryNode]:
    """A node that takes any pod, for the tests of a module; skipped where this user may make no namespaces."""
    node = OrdinaryNode(kubernetes, tmp_path_factory.mktemp("ordinary-node"))
    try:
        node.start()
    except NotPermitted as error:
        pytest.skip(str(error))
    try:
        yield node
    finally:
        node.stop()
