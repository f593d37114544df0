"""Folders of a user of a test's own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data folder and a private folder for sockets, whose paths are short."""
    folder = Path(tempfile.mkdtemp(prefix="jo", dir="/tmp"))
    (folder / "x").mkdir(mode=0o700)
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(folder / "data"))
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(folder / "config"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder / "x"))
    yield folder
    shutil.rmtree(folder)
