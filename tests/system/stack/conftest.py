"""The stack looks after itself: what its tests start is ended by the stack's own ``down``."""

from __future__ import annotations

from tests.stack.fixtures import kubernetes as kubernetes
