"""The stack for pytest: each part once in a session, in a folder of its own, ended with it.

A conftest takes what it needs: ``from tests.stack.fixtures import kubernetes as kubernetes``.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from . import kubernetes as control_plane
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
