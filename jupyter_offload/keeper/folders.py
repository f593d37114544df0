"""The folders and files of one cluster, as ``docs/reference/control-protocol.md`` lays them out. Blocking: use a thread."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from ..api import locations
from ..relay.certificates import make_cluster_certificates
from .resolve import MALLOC_MMAP, MALLOC_TRIM
from .store.records import Record

PROTOCOL = 1
#: Both thresholds of the allocator: far better columnar throughput than Dask's defaults, for a little more memory.
_MALLOC_BYTES = 16 * 2**20
#: Key material and addresses; of no use, and no business on the disk, once the cluster is over.
_SECRETS = ("*.pem", "connection.json")


def clusters_folder() -> Path:
    """Return the folder that holds one folder for each cluster."""
    return locations.data_folder() / "clusters"


def runtimes_folder() -> Path:
    """Return the short private folder that holds each cluster's sockets."""
    return locations.runtime_folder() / "c"


class Places(NamedTuple):
    """Where the folders of a cluster are."""

    folder: str
    runtime: str
    spill: str


def places(cluster_id: str) -> Places:
    """Return the places of a new cluster; nothing is made yet."""
    short = hashlib.sha256(cluster_id.encode()).hexdigest()[:8]  # socket paths are bounded by the system
    return Places(
        folder=str(clusters_folder() / cluster_id),
        runtime=str(runtimes_folder() / short),
        spill=str(Path(tempfile.gettempdir()) / f"jupyter-offload-spill-{os.getuid()}-{cluster_id}"),
    )


def make(record: Record, workers: int) -> Path:
    """Make the folders, the certificates and ``launch.json``; return the path of the latter.

    Raises:
        OSError: the disk is full, or a folder of this name belongs to somebody else.
    """
    folder, runtime, spill = Path(record.folder), Path(record.runtime), Path(record.spill)
    logs = folder / "logs"
    for path in (folder, logs, runtime):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
    for stale in runtime.iterdir():
        stale.unlink()
    spill.mkdir(mode=0o700, exist_ok=True)
    if spill.lstat().st_uid != os.getuid() or spill.is_symlink():
        raise PermissionError(f"{spill} belongs to somebody else")
    files = make_cluster_certificates(folder, record.id)
    tls = {f"{k}_file": str(getattr(files, f"{k}_file")) for k in ("ca", "scheduler", "worker", "client")}
    write_private(folder / "record.json", record.model_dump_json(indent=1))
    launch = folder / "launch.json"
    write_private(launch, json.dumps(launch_document(record, workers, tls), indent=1))
    return launch


def make_for_own_scheduler(record: Record, address: str | None = None) -> None:
    """Make the folders of a cluster whose scheduler runs elsewhere, and what a kernel without this package connects by.

    Raises:
        OSError: as ``make``.
    """
    folder = Path(record.folder)
    for path in (folder, folder / "logs", Path(record.runtime)):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
    write_private(folder / "record.json", record.model_dump_json(indent=1))
    if address is not None:
        write_private(folder / "connection.json", json.dumps({"scheduler_address": address, "tls": None}, indent=1))


def launch_document(record: Record, workers: int, tls: dict[str, str]) -> dict[str, Any]:
    """Return what the supervisor is told."""
    spec = record.spec
    return {
        "protocol": PROTOCOL,
        "cluster": {"id": record.id, "name": record.name, "owner": record.owner},
        "folder": record.folder,
        "runtime": record.runtime,
        "spill": record.spill,
        "logs": str(Path(record.folder) / "logs"),
        "tls": tls,
        "host": locations.kernel_address(),
        "workers": workers,
        "worker": {
            "cores": record.profile.cores,
            "memory_bytes": record.profile.memory_bytes,
            "env": spec.env,
            "modules": spec.modules,
            "malloc_trim_bytes": int(spec.env.get(MALLOC_TRIM, _MALLOC_BYTES)),
            "malloc_mmap_bytes": int(spec.env.get(MALLOC_MMAP, _MALLOC_BYTES)),
            "death_timeout_s": 60,
        },
        "scheduler": {"modules": spec.modules, "dashboard": True},
        "relay": record.relay.launch_part() if record.relay is not None else None,
    }


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    part.replace(path)


def read_json(path: Path) -> dict[str, Any] | None:
    """Return a JSON object, or None where there is none (yet)."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def clean(record: Record) -> None:
    """Delete sockets, spilled data and keys of a cluster that is over; logs stay. Idempotent."""
    shutil.rmtree(record.runtime, ignore_errors=True)
    shutil.rmtree(record.spill, ignore_errors=True)
    for pattern in _SECRETS:
        for path in Path(record.folder).glob(pattern):
            path.unlink(missing_ok=True)


def forget(record: Record) -> None:
    """Delete everything of a cluster, its logs too. Idempotent."""
    clean(record)
    shutil.rmtree(record.folder, ignore_errors=True)


def keep_last_record(record: Record) -> None:
    """Write the final record beside the logs, so that a lost database can be made again. Best effort."""
    with contextlib.suppress(OSError):
        write_private(Path(record.folder) / "record.json", record.model_dump_json(indent=1))
