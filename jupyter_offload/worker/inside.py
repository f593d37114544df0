"""The process that runs tasks: Dask's worker with what local workers have too (``scheduler/worker_process.py``)."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Sequence
from typing import Any

import distributed

from ..scheduler.memory_return import MemoryReturn
from ..scheduler.modules import import_modules
from .surroundings import accelerators


class Worker(distributed.Worker):  # type: ignore[misc]
    """A worker that its nanny makes. (Dask reads configuration by the class name.)"""

    def __init__(self, *args: Any, modules: Sequence[str] = (), **kwargs: Any) -> None:
        failed = import_modules(modules)
        told = {"offload_failed_modules": failed, "offload_accelerators": accelerators()}
        asked = {name: lambda _, value=value: value for name, value in told.items()}
        startup = {**distributed.worker.DEFAULT_STARTUP_INFORMATION, **asked}
        super().__init__(*args, startup_information=startup, **kwargs)

    def start_http_server(self, *_: Any, **__: Any) -> None:
        """Do without: Dask's has no authentication."""

    async def start_unsafe(self) -> Worker:
        """Start; a site that ends a job signals all its processes, and the nanny alone decides what follows."""
        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: None)
        await super().start_unsafe()
        MemoryReturn(self, self.memory_manager.memory_limit or 0).start()
        return self
