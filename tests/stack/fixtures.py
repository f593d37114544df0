"""The stack for pytest: each part once in a session, in a folder of its own, ended with it.

A conftest takes what it needs: ``from tests.stack.fixtures import kubernetes as kubernetes``.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import kubernetes as control_plane
from .interlink import programs as interlink
from .interlink.images import python_image
from .interlink.node import VirtualNode
from .interlink.runner import may_mount
from .interlink.standard import standard_node
from .kubernetes.client import Cluster
from .network import NotPermitted, WalledSite

#: Of the oldest line that still runs on each Python that we do.
OLD_DASK = ("dask==2024.12.1", "distributed==2024.12.1")


@contextlib.contextmanager
def running_control_plane(folder: Path, *, controllers: bool) -> Iterator[Cluster]:
    """Run a control plane in a folder as long as this lasts."""
    if not control_plane.built():
        # Minutes, which must not count as those of a test.
        pytest.fail("Kubernetes is not built yet: python -m tests.stack build kubernetes", pytrace=False)
    answer = control_plane.up(folder, controllers=controllers)
    cluster = Cluster(folder, answer["url"], answer["namespace"])
    try:
        yield cluster
    finally:
        cluster.close()
        control_plane.down(folder, keep_logs=True)


@contextlib.contextmanager
def running_node(node: VirtualNode) -> Iterator[VirtualNode]:
    """Run a virtual node as long as this lasts; it is ready from the beginning."""
    if not interlink.MODULE.is_built():
        pytest.fail("interLink is not built yet: python -m tests.stack build kubernetes", pytrace=False)
    try:
        node.up()
        node.until_ready()
        yield node
    finally:
        node.down(keep_logs=True)


@pytest.fixture(scope="session")
def kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A control plane that runs pods; tests share it, so each makes accounts and namespaces of its own."""
    with running_control_plane(tmp_path_factory.mktemp("kubernetes") / "state", controllers=True) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A control plane that only keeps objects, for tests of accounts and tokens; up sooner."""
    with running_control_plane(tmp_path_factory.mktemp("api-server") / "state", controllers=False) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def walled_site() -> Iterator[WalledSite]:
    """A network that can dial nothing but the ports of this machine that a test opens."""
    try:
        made = WalledSite()
    except NotPermitted as error:
        pytest.skip(str(error))
    yield made
    made.remove()


@pytest.fixture(scope="session")
def walled_node(
    kubernetes: Cluster, walled_site: WalledSite, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[VirtualNode]:
    """As ``virtual_node``, with jobs in ``walled_site``: what they dial must be opened, and is at ``walled_site.address``."""
    folder = tmp_path_factory.mktemp("walled-site") / "vk"
    node = standard_node(kubernetes, folder, "vk-walled", netns=walled_site.namespace.name)
    with running_node(node):
        yield node
        assert not node.violations(), "pods broke the contract of interLink's plugins"


@pytest.fixture(scope="session")
def old_image(virtual_node: VirtualNode, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Name of an image of ``virtual_node`` with a Dask of 2024; made when first asked for."""
    folder = tmp_path_factory.mktemp("images") / "old"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=120)
    install = [str(folder / "bin/python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", *OLD_DASK]
    subprocess.run(install, check=True, timeout=600)
    virtual_node.add_images(old=python_image(str(folder), alone=may_mount()))
    return "old"


@pytest.fixture(scope="session")
def virtual_node(kubernetes: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualNode]:
    """A virtual node (``standard_node`` says what it has), on which every pod must obey the contract of interLink's plugins."""
    with running_node(standard_node(kubernetes, tmp_path_factory.mktemp("site") / "vk")) as node:
        yield node
        assert not node.violations(), "pods broke the contract of interLink's plugins"
