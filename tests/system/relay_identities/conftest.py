"""Relays that ask real identity providers who asks."""

from __future__ import annotations

from tests.stack.fixtures import api_server as kubernetes  # noqa: F401  (a fixture; these tests need no more of it)
