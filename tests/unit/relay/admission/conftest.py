from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from relay_desk import Relay, running


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose paths are short enough for sockets."""
    folder = Path(tempfile.mkdtemp(dir="/tmp", prefix="relay-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
async def relay(tmp_path: Path, short: Path, request: pytest.FixtureRequest) -> AsyncIterator[Relay]:
    """A relay that believes its host; parametrize indirectly with what its configuration says otherwise."""
    async with running(tmp_path, short / "s", **getattr(request, "param", {})) as made:
        yield made
