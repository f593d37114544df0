"""A network of one hub and two sites for each module, and the numbers that its tests measured, shown at the end."""

from __future__ import annotations

from collections.abc import Iterator

import cloudpickle
import dask_sites
import measuring
import pytest
from measuring import Measure
from network import Network, NotPermitted


@pytest.fixture
def measure() -> Measure:
    return Measure()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if measuring.lines:
        terminalreporter.section("measured")
        for line in measuring.lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    try:
        made = Network()
    except NotPermitted as error:
        pytest.skip(str(error))
    yield made
    made.remove()


@pytest.fixture(autouse=True, scope="module")
def send_functions_by_value(request: pytest.FixtureRequest) -> Iterator[None]:
    """Workers cannot import the tests."""
    for module in (request.module, dask_sites):
        cloudpickle.register_pickle_by_value(module)
    yield
    for module in (request.module, dask_sites):
        cloudpickle.unregister_pickle_by_value(module)
