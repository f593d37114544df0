"""How a cluster ends: nothing of it stays behind, and its last word says why."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from pathlib import Path

from .files import last_lines, write_json
from .launch import Launch
from .slots import how_it_ended

log = logging.getLogger("offload.supervisor")


def verdict(launch: Launch, status: int | None, *, ready: bool, asked: bool) -> tuple[str, str]:
    """Return code and sentence of ``exit.json``.

    ``status`` is how the scheduler process ended (None: it did not), ``ready`` whether it ever listened, ``asked`` whether
    the cluster was told to stop.
    """
    if asked:
        return "stopped", "The cluster was stopped."
    if status is None:
        return "scheduler-died", f"The supervisor failed; its log is {launch.log('supervisor')}."
    if status == 0 and ready:
        return "stopped", "A client shut the cluster down."
    tail = last_lines(launch.log("scheduler"))
    end = f" Its log ends with:\n{tail}" if tail and status >= 0 else ""
    if not ready:
        return "scheduler-start-failed", f"The scheduler {how_it_ended(status)} while starting.{end}"
    return "scheduler-died", f"The scheduler {how_it_ended(status)}.{end}"


def group_lives(group: int) -> bool:
    """Whether any process is left in a process group."""
    try:
        os.killpg(group, 0)
    except OSError:
        return False
    return True


def end_orphans() -> None:
    """Kill what tasks left behind in sessions of their own; it is ours since its parents died (Linux)."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    for _ in range(50):  # each one may leave others
        try:
            pids = [int(pid) for pid in children.read_text().split()]
        except OSError:
            return
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def write_exit(launch: Launch, code: str, message: str, status: int | None) -> None:
    """Write ``exit.json``: the last thing a cluster does."""
    document = {"code": code, "message": message, "exit_status": status, "at": time.time()}
    try:
        write_json(launch.runtime / "exit.json", document)
    except OSError:
        log.exception("Cannot write exit.json")
