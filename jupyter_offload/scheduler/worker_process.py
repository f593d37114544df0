"""The process of one local worker."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from typing import Any

import dask.config
import distributed
from distributed.security import Security

from . import malloc
from .launch import Launch
from .memory_return import MemoryReturn
from .modules import import_modules

log = logging.getLogger("offload.worker")

_CLOSE_TIMEOUT_S = 5


class Worker(distributed.Worker):  # type: ignore[misc]
    """A worker that serves no HTTP: Dask's has no authentication. (Dask reads configuration by the class name.)"""

    def start_http_server(self, *_: Any, **__: Any) -> None:
        """Do without."""


async def run(launch: Launch, name: str, address: str, failed_modules: dict[str, str]) -> None:
    """Run one worker until it is closed."""
    spec, tls = launch.worker, launch.tls
    security = Security(
        tls_ca_file=tls.ca_file,
        tls_worker_cert=tls.worker_file,
        tls_worker_key=tls.worker_file,
        require_encryption=True,
    )
    worker = Worker(
        address,
        host=launch.host,
        name=name,
        nthreads=spec.cores,
        memory_limit=spec.memory_bytes,
        local_directory=str(launch.spill),
        security=security,
        dashboard=False,
        death_timeout=spec.death_timeout_s,
        startup_information={
            **distributed.worker.DEFAULT_STARTUP_INFORMATION,
            "offload_failed_modules": lambda _: failed_modules,
        },
    )
    loop = asyncio.get_running_loop()
    closing: list[asyncio.Task[None]] = []
    loop.add_signal_handler(signal.SIGTERM, lambda: closing.append(loop.create_task(_close(worker))))
    await worker
    MemoryReturn(worker, spec.memory_bytes).start()
    await worker.finished()


async def _close(worker: Worker) -> None:
    """Close on SIGTERM: with its data moved away while the scheduler listens, at once otherwise."""
    scheduler = worker.batched_stream.comm
    if worker.status.name in ("running", "paused") and scheduler is not None and not scheduler.closed():
        await worker.close_gracefully(reason="terminated")
    else:
        await worker.close(timeout=_CLOSE_TIMEOUT_S, executor_wait=False, reason="terminated")


def main(launch: Launch, name: str, address: str | None, gate: int | None) -> int:
    """Be a worker; ``gate`` tells the scheduler's address where it is not known yet. Return the exit status."""
    malloc.set_thresholds(launch.worker.malloc_trim_bytes, launch.worker.malloc_mmap_bytes)
    _limit_library_threads()
    # Only the keeper ends a worker for its age.
    dask.config.set({"distributed.worker.lifetime.duration": None})
    failed = import_modules(launch.worker.modules)
    if address is None:
        assert gate is not None
        address = os.read(gate, 1 << 12).decode()
        os.close(gate)
        if not address:  # the supervisor is ending
            return 0
    asyncio.run(run(launch, name, address, failed))
    return 0


def _limit_library_threads() -> None:
    """One thread for each task, as Dask's nanny has it; what the user set wins."""
    for variable, value in dask.config.get("distributed.nanny.pre-spawn-environ", {}).items():
        if not variable.startswith("MALLOC_"):
            os.environ.setdefault(variable, str(value))
