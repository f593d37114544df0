"""The Dask end of the relay as one file, for environments that have ``distributed`` and nothing of this project.

``PYTHONPATH=relay.zip`` is all it takes: Python imports from it, and Dask finds the scheme ``relay`` by the entry point in it,
in nannies and in everything they start as well. Its package has a name of its own, so that it hides nothing.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

PACKAGE = "jupyter_offload_relay"
_HERE = Path(__file__).parent
#: What the Dask end consists of, in this folder.
PARTS = ("__init__.py", "names.py", "hello.py", "sockets.py", "comm")
#: The oldest date of a zip: the same sources give the same bytes.
_DATE = (1980, 1, 1, 0, 0, 0)


def write_bundle(path: Path, version: str) -> None:
    """Write the bundle.

    Args:
        path: of the file to write; ``.zip`` at its end is what Python expects.
        version: of this project.

    Raises:
        OSError: it cannot be written.
    """
    with path.open("wb") as file:
        write_zip(file, contents(version))


def write_zip(file: IO[bytes], members: Iterable[tuple[str, str]]) -> None:
    """Write a zip of names and texts that has the same bytes whenever it is written."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in members:
            bundle.writestr(zipfile.ZipInfo(name, _DATE), content, zipfile.ZIP_DEFLATED)


def files() -> Iterator[Path]:
    """Yield the source files of the Dask end, in a fixed order."""
    for part in PARTS:
        source = _HERE / part
        yield from sorted(source.rglob("*.py")) if source.is_dir() else [source]


def contents(version: str) -> Iterator[tuple[str, str]]:
    """Yield names and texts of what the bundle holds."""
    for file in files():
        yield f"{PACKAGE}/{file.relative_to(_HERE).as_posix()}", file.read_text(encoding="utf-8")
    info = f"{PACKAGE}-{version}.dist-info"
    yield f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: {version}\n"
    yield f"{info}/entry_points.txt", f"[distributed.comm.backends]\nrelay = {PACKAGE}.comm:RelayBackend\n"
