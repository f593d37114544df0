"""A facility's charts, tried with Helm and a real API server."""

from __future__ import annotations

from tests.stack.fixtures import kubernetes as kubernetes
