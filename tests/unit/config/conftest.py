"""Every test here has its own Jupyter folders, none of this user's."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Own folders for data, configuration, home and sockets; returns the one they are all in."""
    home = tmp_path / "home"
    for name, folder in {
        "HOME": home,
        "JUPYTER_DATA_DIR": home / "data",
        "JUPYTER_CONFIG_DIR": home / "config",
        "JUPYTER_RUNTIME_DIR": home / "runtime",
        "DASK_CONFIG": home / "dask",
    }.items():
        folder.mkdir(parents=True, exist_ok=True)
        monkeypatch.setenv(name, str(folder))
    (home / "data").chmod(0o700)
    for name in ("JUPYTER_PATH", "JUPYTER_CONFIG_PATH", "XDG_CONFIG_HOME", "JUPYTERHUB_SERVICE_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    short = tempfile.mkdtemp(dir="/tmp")
    monkeypatch.setenv("XDG_RUNTIME_DIR", short)
    yield home
    shutil.rmtree(short)


@pytest.fixture
def sites_folder(folders: Path) -> Path:
    folder = folders / "config" / "offload" / "sites"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def add_kernelspec(folders: Path) -> Callable[..., Path]:
    """Returns a function that installs a kernelspec of this user: name, argv, and more of kernel.json."""

    def add(name: str, argv: list[str], **more: object) -> Path:
        folder = folders / "data" / "kernels" / name
        folder.mkdir(parents=True)
        file = folder / "kernel.json"
        file.write_text(json.dumps({"argv": argv, "display_name": f"The {name}", "language": "python", **more}))
        return file

    return add
