"""The stack's ordinary node, with a control plane that puts pods on it."""

from __future__ import annotations

from tests.stack.fixtures import kubernetes as kubernetes
from tests.stack.ordinary_node.fixtures import ordinary_node as ordinary_node
