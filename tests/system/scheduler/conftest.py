"""A zygote for all tests here, and clusters that are ended by process id."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from process_tree import TreeOfOne, Zygote, clean_environment


@pytest.fixture(autouse=True, scope="module")
def send_functions_by_value(request: pytest.FixtureRequest) -> Iterator[None]:
    """Workers cannot import the tests."""
    cloudpickle.register_pickle_by_value(request.module)
    yield
    cloudpickle.unregister_pickle_by_value(request.module)


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    one = Zygote(env=clean_environment(OF_THE_ZYGOTE="must not be inherited"))
    yield one
    one.dispose()


@pytest.fixture
def make_tree(tmp_path: Path) -> Iterator[Callable[..., TreeOfOne]]:
    """Make clusters that are not started yet."""
    made: list[TreeOfOne] = []

    def make(**changes: Any) -> TreeOfOne:
        root = tmp_path / f"a cluster {len(made)}"  # every path has a space in it
        root.mkdir(mode=0o700)
        made.append(TreeOfOne(root, **changes))
        return made[-1]

    yield make
    for one in made:
        one.dispose()


@pytest.fixture
def start(make_tree: Callable[..., TreeOfOne], zygote: Zygote) -> Callable[..., TreeOfOne]:
    """Start a cluster from the zygote."""

    def started(**changes: Any) -> TreeOfOne:
        return make_tree(**changes).start_warm(zygote)

    return started


@pytest.fixture(params=["warm", "cold"])
def start_either(
    request: pytest.FixtureRequest, make_tree: Callable[..., TreeOfOne], zygote: Zygote
) -> Callable[..., TreeOfOne]:
    """Start a cluster from the zygote, and in a second test without one."""

    def started(**changes: Any) -> TreeOfOne:
        tree = make_tree(**changes)
        return tree.start_warm(zygote) if request.param == "warm" else tree.start_cold()

    return started
