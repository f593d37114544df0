"""Kubernetes sites against a real API server: accounts with real rights, nodes as objects, and a real virtual node."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from site_objects import MakeSite, definition

from jupyter_offload.backends.kubernetes.site_side import SiteSide
from tests.stack.fixtures import kubernetes as kubernetes
from tests.stack.fixtures import virtual_node as virtual_node
from tests.stack.interlink.accounts import make_user
from tests.stack.kubernetes.client import Cluster

_numbers = itertools.count(1)


@pytest.fixture
async def site() -> AsyncIterator[MakeSite]:
    """Makes sites, and closes them."""
    made: list[SiteSide] = []

    async def make(**changes: Any) -> SiteSide:
        made.append(await asyncio.to_thread(SiteSide, definition(**changes)))
        return made[-1]

    yield make
    for side in made:
        await side.close()


@pytest.fixture
def namespace(kubernetes: Cluster) -> str:
    """A new namespace."""
    name = f"site-{next(_numbers)}"
    kubernetes.make_namespace(name)
    return name


@pytest.fixture
def ann(kubernetes: Cluster, namespace: str) -> Path:
    """The kubeconfig of a user of that namespace, with all rights that a site needs there, nodes included."""
    return make_user(kubernetes, "ann", namespace)
