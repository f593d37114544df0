"""A network of one hub and two sites for each module, and the numbers that its tests measured, shown at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import cloudpickle
import dask_sites
import pytest
from network import Network, NotPermitted

_measured: list[str] = []


class Measure:
    """Notes how long something took, or another number, for the summary."""

    def note(self, text: str) -> None:
        _measured.append(text)

    @contextmanager
    def time(self, what: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self.note(f"{what}: {time.monotonic() - begun:.2f} s")


@pytest.fixture
def measure() -> Measure:
    return Measure()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _measured:
        terminalreporter.section("measured")
        for line in _measured:
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
