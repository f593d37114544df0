"""The folder that came with the worker: what must be in it, and whether it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .endings import FILES_MISSING, Ended
from .job import JOB, BadJob, WorkerJob, read_job

_HINT = (
    "They are in the Secret of the worker's pod. Ask the site's administrator whether its plugin delivers Secret volumes"
    " to jobs, and whether the job may read them."
)


def find_job(folder: Path) -> WorkerJob:
    """Return what the worker is told.

    Raises:
        Ended: a file is missing, unreadable, empty or wrong.
    """
    content = _read(folder / JOB)
    try:
        job = read_job(content)
    except BadJob as error:
        raise Ended(FILES_MISSING, f"The site gave the worker a {JOB} that is wrong: {error}.", _HINT) from error
    for path in named_files(job.dask_config):
        _read(path)
    return job


def named_files(dask_config: Any) -> list[Path]:
    """Return the files that Dask's configuration names for the relay and for TLS, each once."""
    config = dask_config or {}
    tls = config.get("distributed", {}).get("comm", {}).get("tls", {})
    worker, client = tls.get("worker", {}), tls.get("client", {})
    named = [tls.get("ca-file"), *(one.get(what) for one in (worker, client) for what in ("cert", "key"))]
    named.append(config.get("relay", {}).get("ca-file"))
    return list(dict.fromkeys(Path(path) for path in named if path))


def _read(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Ended(FILES_MISSING, f"The worker cannot read {path} at the site: {error.strerror}.", _HINT) from error
    if not content:
        raise Ended(FILES_MISSING, f"The file {path} that the site gave the worker is empty.", _HINT)
    return content
