"""Import everything that scheduler and workers need, once, before any fork, without starting a thread.

pandas, pyarrow, awkward and dask.dataframe stay out: pyarrow starts a thread when it is imported, and a fork copies only the
thread that forks.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import sys
import threading
from pathlib import Path

_ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")

#: Imported late by distributed, bokeh or tornado: on the way to the first result a child would pay for each of them.
_LATE = (
    "distributed.comm.tcp",
    "distributed.comm.asyncio_tcp",
    "distributed.diagnostics.nvml",
    "distributed.http.scheduler.info",
    "tornado.platform.asyncio",
    "numpy.random",
)
#: Of the private package beside this one; its folder is registered by ``__main__.py``.
_RELAY = "_jupyter_offload_relay.comm"
_DASHBOARD = ("distributed.dashboard.scheduler", "bokeh.application.handlers.document_lifecycle", "bokeh.server.server")


class NotSingleThreaded(RuntimeError):
    """A library started a thread while it was imported, so forking would not be safe."""


def import_dask() -> None:
    """Import distributed and what it imports late, with one BLAS thread.

    Raises:
        ImportError: the environment lacks distributed.
    """
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    try:
        importlib.import_module("distributed.scheduler")
        importlib.import_module("distributed.worker")
        for name in _LATE:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        _import_routes()
        _fill_caches()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def import_relay() -> bool:
    """Import what a cluster with a relay needs; False where it does not suit this Dask."""
    try:
        importlib.import_module(_RELAY)
    except ImportError:
        return False
    return True


def import_dashboard() -> bool:
    """Import what the dashboard needs; False where bokeh is missing or does not suit this Dask."""
    try:
        for name in _DASHBOARD:
            importlib.import_module(name)
    except ImportError:
        return False
    return True


def dashboard_is_imported() -> bool:
    """Whether ``import_dashboard`` has succeeded in this process or the one it was forked from."""
    return all(name in sys.modules for name in _DASHBOARD)


def settle() -> None:
    """Keep the garbage collector away from what all children share."""
    gc.collect()
    gc.freeze()


def thread_names() -> list[str]:
    """Return the names of this process's threads, those of libraries included where the system tells."""
    try:
        return sorted(p.joinpath("comm").read_text().strip() for p in Path("/proc/self/task").iterdir())
    except OSError:
        return [thread.name for thread in threading.enumerate()]


def require_single_thread() -> None:
    """Refuse to go on with a second thread.

    Raises:
        NotSingleThreaded: names the threads found.
    """
    names = thread_names()
    if len(names) != 1:
        raise NotSingleThreaded(f"{len(names)} threads run here ({', '.join(names)}); forking would not be safe")


def _fill_caches() -> None:
    """Let each child find what it would otherwise compute on the way to its first connection, 0.1 s in all."""
    import tornado.netutil
    from distributed.versions import get_versions

    get_versions()  # starts uname and reads the metadata of ten packages
    defaults = getattr(tornado.netutil, "_client_ssl_defaults", None)
    if callable(defaults):  # parses all of the system's CA certificates
        defaults()


def _import_routes() -> None:
    import dask.config

    for role in ("scheduler", "worker"):
        for module in dask.config.get(f"distributed.{role}.http.routes", []):
            with contextlib.suppress(ImportError):
                if module != "distributed.http.proxy":  # see dashboard.py
                    importlib.import_module(module)
