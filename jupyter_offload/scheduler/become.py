"""The first steps of a process after a fork: nothing of the parent that must not be shared stays shared."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import logging
import multiprocessing
import os
import random
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from io import TextIOWrapper
from pathlib import Path
from types import ModuleType
from typing import NoReturn

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PARENT_LOOK_S = 0.5
LOG_FORMAT = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"

log = logging.getLogger("offload")

#: Signals whose handling each process of a cluster decides for itself.
_OWN_SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def fork(function: Callable[[], int], close: Iterable[int] = ()) -> int:
    """Fork a child that runs ``function`` and exits with what it returns; return the child's process id.

    ``close`` are descriptors of the parent that the child must not hold.

    Raises:
        OSError: the system refuses another process.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    # A signal to the child must not find the parent's handlers: they would tell the parent, through the wake-up
    # descriptor that both hold, that the signal was meant for it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _OWN_SIGNALS)
    try:
        pid = os.fork()
        if not pid:
            signal.set_wakeup_fd(-1)
            for number in _OWN_SIGNALS:
                signal.signal(number, signal.SIG_DFL)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if pid:
        return pid
    status = 1
    try:
        for descriptor in close:
            os.close(descriptor)
        status = function()
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        log.exception("This process ends by an error")
    return leave(status)


def leave(status: int) -> NoReturn:
    """End this process now. Exit handlers belong to the process that was forked from, so they do not run."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def become(name: str, log_file: Path, *, die_with: int | None) -> None:
    """Turn a fresh fork into the process ``name`` of a cluster.

    ``die_with`` is the process id of the parent that must not be outlived.
    """
    if die_with is not None:
        _die_with_parent(die_with)
    _renew_randomness()
    _redirect_output(log_file)
    # Otherwise a spawned child of a task would run the entry script of this project again.
    sys.modules["__main__"] = ModuleType("__main__")
    sys.argv = [name]
    _set_up_logging()


def apply_environment(env: Mapping[str, str], cwd: str | None) -> None:
    """Replace the environment and read again what Python and Dask took from the old one."""
    os.environ.clear()
    os.environ.update(env)
    if cwd is not None:
        try:
            os.chdir(cwd)
        except OSError as error:
            log.warning("Cannot work in %s (%s); working in / instead", cwd, error)
            os.chdir("/")
    time.tzset()
    tempfile.tempdir = None
    entries = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [entry for entry in entries if entry and entry not in sys.path]  # Python looks only when it starts
    refresh_configuration()


def refresh_configuration() -> None:
    """Read Dask's configuration of now: YAML files and ``DASK_`` variables. Logging follows it."""
    import dask.config

    before = _logging_configuration()
    paths = dask.config._get_paths()  # computed once at import from HOME and DASK_CONFIG of then
    dask.config.paths[:] = paths
    dask.config.refresh(paths=paths)
    if _logging_configuration() != before:
        _set_up_dask_logging()


def _logging_configuration() -> list[object]:
    import dask.config

    keys = ("logging", "distributed.logging", "logging-file-config", "distributed.logging-file-config")
    return [dask.config.get(key, None) for key in keys]


def _set_up_dask_logging() -> None:
    import dask.config

    for name in list(logging.root.manager.loggerDict):  # else each line would be written twice
        if name.partition(".")[0] in ("distributed", "bokeh", "tornado"):
            logging.getLogger(name).handlers.clear()
    # As an attribute of distributed that name is Dask's dictionary.
    importlib.import_module("distributed.config").initialize_logging(dask.config.config)


def adopt_orphans() -> None:
    """Make this process the parent of orphaned descendants, so that it can end them (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _die_with_parent(parent: int) -> None:
    if sys.platform == "linux" and ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) == 0:
        if os.getppid() != parent:  # it died before the call
            os._exit(1)
        return
    watch = threading.Thread(target=_watch_parent, args=(parent,), name="offload-parent-watch", daemon=True)
    watch.start()


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_PARENT_LOOK_S)
    os._exit(1)


def _renew_randomness() -> None:
    """Forks must not draw the same numbers; numpy does not reseed by itself."""
    random.seed()
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()
    multiprocessing.current_process().authkey = os.urandom(32)


def _redirect_output(log_file: Path) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    out = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(null, 0)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.close(null)
    os.close(out)
    for stream in (sys.stdout, sys.stderr):  # stdout to a file would be buffered in blocks
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")


def _set_up_logging() -> None:
    log.handlers.clear()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(LOG_FORMAT))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


def close_all(sockets: Iterable[socket.socket]) -> None:
    """Close sockets, whatever state they are in."""
    for one in sockets:
        with contextlib.suppress(OSError):
            one.close()
