from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .relay_process import RelayProcess


@pytest.fixture
def make_relay(tmp_path: Path) -> Iterator[Callable[..., RelayProcess]]:
    """Make a relay that is not started yet; further words are fields of its configuration."""
    made: list[RelayProcess] = []

    def make(**changes: Any) -> RelayProcess:
        made.append(RelayProcess(tmp_path / f"relay-{len(made)}", **changes))
        return made[-1]

    yield make
    for one in made:
        one.dispose()


@pytest.fixture
def relay(make_relay: Callable[..., RelayProcess]) -> RelayProcess:
    return make_relay().start()
