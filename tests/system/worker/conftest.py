"""A cluster with a relay, and workers that are what a site gets: a folder with files, and a command."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "scheduler"))  # how to run a cluster without a keeper

from far_site import FarSite
from process_tree import TreeOfOne, Zygote, clean_environment


@pytest.fixture(autouse=True, scope="module")
def send_functions_by_value(request: pytest.FixtureRequest) -> Iterator[None]:
    """Workers cannot import the tests."""
    cloudpickle.register_pickle_by_value(request.module)
    yield
    cloudpickle.unregister_pickle_by_value(request.module)


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    one = Zygote(env=clean_environment())
    yield one
    one.dispose()


@pytest.fixture
def site(tmp_path: Path, zygote: Zygote) -> Iterator[FarSite]:
    """A running cluster of no local workers, and a place where workers may be started."""
    root = tmp_path / "cluster"
    root.mkdir(mode=0o700)
    tree = TreeOfOne(root, workers=0)
    site = FarSite(tree, tmp_path)
    # A task that kills its worker fails at once: what is looked at is the worker.
    env = clean_environment(DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0")
    tree.start_warm(zygote, env=env)
    yield site
    site.dispose()
    tree.dispose()


def pytest_runtest_makereport(item: pytest.Item, call: Any) -> None:
    """Show what the workers wrote when a test fails."""
    site = getattr(item, "funcargs", {}).get("site")
    if call.excinfo is not None and call.when == "call" and site is not None:
        print(site.logs())
