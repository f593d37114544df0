"""What one worker at a site is told, and how it is started: ``<python> -s <folder>/worker.pyz <folder>``.

The folder holds the bundle, ``job.json`` and the files of its credentials. It is secret as a whole, and it may be read-only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

JOB = "job.json"
BUNDLE = "worker.pyz"
#: Grows when a worker of before could not understand the file.
FORMAT = 1


class BadJob(ValueError):
    """A job file is no such thing; the message says where."""


@dataclass(frozen=True)
class WorkerJob:
    """One worker.

    Attributes:
        name: of the worker, unique in its cluster; Dask's ``--name``.
        cores: threads that run tasks.
        memory_limit_bytes: above 95 % of it the worker is started again; 0 = no limit.
        host: what it is called at the relay, Dask's ``--host`` (``JobCredentials.host``).
        scheduler_address: such as ``relay://scheduler``.
        dask_config: of the worker and of everything it starts (``JobCredentials.dask_config``); no secrets, but names of files.
        versions: of the scheduler, by names of packages, with ``python``; empty = not compared before the first connection.
        modules: imported before the worker registers.
        env: environment variables of the user, for tasks; above those of the image.
        lifetime_s: after which it hands its data on and ends; None = never.
        death_timeout_s: how long it goes on without having found the scheduler.
        resources: Dask's resources of the worker, such as ``{"GPU": 1}``.
    """

    name: str
    cores: int
    memory_limit_bytes: int
    host: str
    scheduler_address: str
    dask_config: Mapping[str, Any]
    versions: Mapping[str, str] = field(default_factory=dict)
    modules: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    lifetime_s: float | None = None
    death_timeout_s: float = 120.0
    resources: Mapping[str, float] = field(default_factory=dict)


def job_file(job: WorkerJob) -> bytes:
    """Return the content of ``job.json``."""
    return json.dumps({"format": FORMAT, **asdict(job)}, sort_keys=True).encode()


def read_job(content: bytes) -> WorkerJob:
    """Read ``job.json``. Fields that a newer release added are left out.

    Raises:
        BadJob: it cannot be understood.
    """
    try:
        told = json.loads(content)
        if told["format"] != FORMAT:
            raise BadJob(f"format {told['format']!r} is not known here, only {FORMAT}")
        known = {one.name for one in fields(WorkerJob)}
        return WorkerJob(**{name: value for name, value in told.items() if name in known})
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, BadJob):
            raise
        raise BadJob(f"{type(error).__name__}: {error}") from error


def job_command(python: str, folder: str) -> list[str]:
    """Return the words that start the worker of ``folder``, as it is called at the site.

    Without the packages of the home folder (``-s``): batch sites mount it, and what somebody once installed there would hide
    what the image has.

    Raises:
        ValueError: a word has a character that a shell would take for its own; sites put the words into scripts.
    """
    words = [python, "-s", f"{folder}/{BUNDLE}", folder]
    for word in words:
        if not word or not all(character.isalnum() or character in "/._+-:@=" for character in word):
            raise ValueError(f"{word!r} has a character that a shell would read; use letters, digits and /._+-:@=")
    return words
