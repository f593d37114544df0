"""Looking at and ending exactly our processes, by id and start, off the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterable

import psutil

from ..scheduler.process import is_alive, process_start
from .store.records import ProcessName


async def alive(name: ProcessName) -> bool | None:
    """Return whether a process lives; None when the system cannot tell."""
    try:
        return await asyncio.to_thread(is_alive, name.pid, name.start)
    except OSError:
        return None


def send(name: ProcessName, number: signal.Signals) -> None:
    """Send a signal to a process if it is still the one; idempotent. Blocking."""
    with contextlib.suppress(OSError):  # gone meanwhile
        if is_alive(name.pid, name.start):
            os.kill(name.pid, number)


def family(name: ProcessName) -> list[ProcessName]:
    """Return a process and all its living descendants. Blocking."""
    names: list[ProcessName] = []
    with contextlib.suppress(OSError, psutil.Error):
        if is_alive(name.pid, name.start):
            names.append(name)
            for child in psutil.Process(name.pid).children(recursive=True):
                start = process_start(child.pid)
                if start is not None:
                    names.append(ProcessName(pid=child.pid, start=start))
    return names


def _living(names: Iterable[ProcessName]) -> list[ProcessName]:
    living = []
    for name in names:
        try:
            if is_alive(name.pid, name.start):
                living.append(name)
        except OSError:
            living.append(name)
    return living


def wait_gone(names: Iterable[ProcessName], timeout_s: float) -> list[ProcessName]:
    """Wait until none of these processes lives; return those that still do. Blocking."""
    deadline = time.monotonic() + timeout_s
    left = _living(names)
    while left and time.monotonic() < deadline:
        time.sleep(0.02)
        left = _living(left)
    return left


def end_tree(supervisor: ProcessName, others: Iterable[ProcessName], term_s: float = 3, kill_s: float = 3) -> bool:
    """End a cluster's processes: politely through the supervisor, then by force; True once none lives. Blocking."""
    tree = {n.pid: n for n in [*others, *family(supervisor)]}
    if not wait_gone(tree.values(), 0):
        return True
    send(supervisor, signal.SIGTERM)
    left = wait_gone(tree.values(), term_s)
    tree |= {n.pid: n for n in family(supervisor)}  # a worker may have been forked meanwhile
    left = _living(tree.values())
    # The supervisor first, so that it starts nothing again.
    for name in sorted(left, key=lambda n: n.pid != supervisor.pid):
        send(name, signal.SIGKILL)
    return not wait_gone(left, kill_s)
