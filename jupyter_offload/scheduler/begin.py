"""Becoming the supervisor of a cluster: in a fork of the zygote, or cold."""

from __future__ import annotations

import contextlib
import logging
import os
import sys

from . import become as child
from . import preload
from .endings import write_exit
from .launch import BadLaunch, Launch, read_launch

log = logging.getLogger("offload.supervisor")


def supervise(launch: Launch, env: dict[str, str], cwd: str | None) -> int:
    """Become the supervisor of this cluster, in a process that has imported Dask and has one thread."""
    from .supervisor import Supervisor  # after Dask, which it needs

    child.become("offload-supervisor", launch.log("supervisor"), die_with=None)
    try:
        child.apply_environment(env, cwd)
        supervisor = Supervisor(launch)
    except Exception as error:
        log.exception("The cluster cannot be started")
        write_exit(launch, "scheduler-start-failed", f"The cluster cannot be started: {error}.", None)
        return 1
    return supervisor.run()


def main_cold(path: str) -> int:
    """``supervise LAUNCH_JSON``: import and become the supervisor without a zygote."""
    os.umask(0o077)
    try:
        launch = read_launch(path)
    except BadLaunch as error:
        print(error, file=sys.stderr)
        return 2
    with contextlib.suppress(PermissionError):  # leads a session already
        os.setsid()
    try:
        preload.import_dask()
        preload.require_single_thread()
    except (ImportError, preload.NotSingleThreaded) as error:
        message = f"{sys.executable} cannot run a Dask cluster: {error}."
        if isinstance(error, ImportError):
            message += f" Try: {sys.executable} -m pip install distributed"
        print(message, file=sys.stderr)
        write_exit(launch, "scheduler-start-failed", message, None)
        return 1
    preload.settle()
    return supervise(launch, {**os.environ, **launch.worker.env}, None)
