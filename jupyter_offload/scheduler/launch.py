"""What one cluster is made of: ``launch.json``, read and checked."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROTOCOL = 1
MAXIMUM_WORKERS = 10_000


class BadLaunch(ValueError):
    """``launch.json`` is missing, unreadable or wrong; the message names file, field and value."""


@dataclass(frozen=True)
class Tls:
    """Paths of PEM files; each role's file holds its certificate and its key."""

    ca_file: str
    scheduler_file: str
    worker_file: str
    client_file: str


@dataclass(frozen=True)
class WorkerSpec:
    """One local worker."""

    cores: int
    memory_bytes: int
    env: dict[str, str] = field(default_factory=dict)
    modules: tuple[str, ...] = ()
    malloc_trim_bytes: int = 16 << 20
    malloc_mmap_bytes: int = 16 << 20
    death_timeout_s: float = 60


@dataclass(frozen=True)
class Relay:
    """Where workers that can only dial out meet the scheduler; ``ca_file`` is None for the system's authorities."""

    addresses: tuple[str, ...]
    domain: str
    ca_file: str | None = None
    resume_s: float = 60


@dataclass(frozen=True)
class Launch:
    """One cluster as the keeper asks for it. Folders exist already; they are the keeper's to make and to delete."""

    id: str
    name: str
    folder: Path
    runtime: Path
    spill: Path
    logs: Path
    tls: Tls
    host: str
    workers: int
    worker: WorkerSpec
    scheduler_modules: tuple[str, ...]
    dashboard: bool
    relay: Relay | None = None

    @property
    def control_socket(self) -> Path:
        """Where the scheduler process answers the keeper."""
        return self.runtime / "control.sock"

    @property
    def dashboard_socket(self) -> Path:
        """Where the dashboard is served, and nowhere else."""
        return self.runtime / "dashboard.sock"

    def log(self, name: str) -> Path:
        """Return the log file of one process of this cluster."""
        return self.logs / f"{name}.log"


def read_launch(path: str | Path) -> Launch:
    """Read ``launch.json``.

    Raises:
        BadLaunch: it cannot be read, or a field is missing or wrong.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadLaunch(f"{path} cannot be read: {error}") from error
    try:
        return _parse(document)
    except KeyError as error:
        raise BadLaunch(f"{path} lacks the field {error}") from error
    except (TypeError, ValueError) as error:
        raise BadLaunch(f"{path} is wrong: {error}") from error


def _parse(document: dict[str, Any]) -> Launch:
    protocol = document["protocol"]
    if protocol != PROTOCOL:
        raise ValueError(f"protocol {protocol!r} is not known here, only {PROTOCOL}")
    workers = document["workers"]
    if not isinstance(workers, int) or not 0 <= workers <= MAXIMUM_WORKERS:
        raise ValueError(f"workers {workers!r} is no number from 0 to {MAXIMUM_WORKERS}")
    worker = dict(document["worker"])
    worker["modules"] = tuple(worker.get("modules", ()))
    scheduler = document.get("scheduler", {})
    relay = document.get("relay")
    if relay is not None:
        relay = Relay(**{**relay, "addresses": tuple(relay["addresses"])})
    return Launch(
        id=document["cluster"]["id"],
        name=document["cluster"]["name"],
        folder=Path(document["folder"]),
        runtime=Path(document["runtime"]),
        spill=Path(document["spill"]),
        logs=Path(document["logs"]),
        tls=Tls(**document["tls"]),
        host=document.get("host", "127.0.0.1"),
        workers=workers,
        worker=WorkerSpec(**worker),
        scheduler_modules=tuple(scheduler.get("modules", ())),
        dashboard=bool(scheduler.get("dashboard", True)),
        relay=relay,
    )
