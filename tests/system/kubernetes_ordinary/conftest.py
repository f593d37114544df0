"""A keeper that knows the ordinary nodes of a cluster as a site."""

from __future__ import annotations

from tests.stack.fixtures import kubernetes as kubernetes
from tests.stack.ordinary_node.fixtures import ordinary_node as ordinary_node

from ..keeper.conftest import desk as desk
