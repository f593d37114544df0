"""Connection folders of clusters in the pod, on this host: what kernels here need, in private files as at the keeper's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..api import locations
from .identity import write_private

#: Fields of ``Connection``, and the file for each; certificate and key are usually one file.
_NAMES = {
    "ca_file": "ca.pem", "cert_file": "client.pem", "key_file": "client-key.pem", "relay_ca_file": "relay-ca.pem",
    "connection_file": "connection.json",
}  # fmt: skip


def folder() -> Path:
    """Return the folder of all connection folders."""
    return locations.runtime_folder() / "p"


def known() -> list[str]:
    """Return the ids of the clusters that have a connection folder here."""
    return [p.name for p in folder().iterdir()] if folder().is_dir() else []


def keep(connection: Mapping[str, Any], files: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Write the files of one cluster, and return the connection with their paths here. Blocking.

    Args:
        connection: as the keeper in the pod answers it.
        files: contents and paths there, by field.

    Raises:
        OSError: the files cannot be written.
    """
    mine = folder() / str(connection["id"])
    mine.mkdir(mode=0o700, parents=True, exist_ok=True)
    places = {f["path"]: str(mine / _NAMES[field]) for field, f in sorted(files.items(), reverse=True)}
    for field, file in files.items():
        text = file["text"]
        if field == "connection_file":
            text = json.dumps(_moved(json.loads(text), places))
        path = Path(places[file["path"]])
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            part = path.with_name(f"{path.name}.part")
            part.unlink(missing_ok=True)
            write_private(part, text.encode())
            part.replace(path)
    moved: dict[str, Any] = _moved(dict(connection), places)
    return moved


def _moved(value: Any, places: Mapping[str, str]) -> Any:
    """Return plain data with every path there replaced by the one here."""
    if isinstance(value, dict):
        return {k: _moved(v, places) for k, v in value.items()}
    if isinstance(value, list):
        return [_moved(v, places) for v in value]
    return places.get(value, value) if isinstance(value, str) else value


def forget(clusters: Iterable[str]) -> None:
    """Remove the folders of clusters that are over. Blocking. Idempotent."""
    for cluster in clusters:
        shutil.rmtree(folder() / cluster, ignore_errors=True)
