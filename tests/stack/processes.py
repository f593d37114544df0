"""Processes that outlive the command which started them, known by process id and start time, each with its log."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil

#: A killed process is gone at once, unless the system is in trouble.
_KILL_TIMEOUT_S = 20
_LOG_TAIL_BYTES = 4000


class DidNotStart(RuntimeError):
    """A process ended or was not ready in time; the message has the end of its log."""


class Processes:
    """The processes of a folder: ``NAME.pid`` and ``NAME.log`` each.

    Args:
        folder: exists; also the processes' working directory.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._children: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, command: list[str]) -> None:
        """Start a process in a session of its own, so that a Ctrl-C in the terminal does not end it."""
        # It belongs to nobody's Jupyter, whoever starts it.
        env = {k: v for k, v in os.environ.items() if not k.startswith("JUPYTER")}
        with (self.folder / f"{name}.log").open("ab") as log:
            child = subprocess.Popen(
                command, cwd=self.folder, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        self._children.append(child)
        started = psutil.Process(child.pid).create_time()
        (self.folder / f"{name}.pid").write_text(json.dumps({"pid": child.pid, "started": started}))

    def find(self, name: str) -> psutil.Process | None:
        """Return the living process, and none that merely got its id."""
        with contextlib.suppress(OSError, ValueError, psutil.NoSuchProcess):
            known = json.loads((self.folder / f"{name}.pid").read_text())
            process = psutil.Process(known["pid"])
            # The clock may have been set since then, by which psutil computes the time.
            if abs(process.create_time() - known["started"]) < 2 and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None

    def wait_until(self, name: str, ready: Callable[[], bool], timeout_s: float) -> None:
        """Look until a process is ready.

        Raises:
            DidNotStart: it ended, or it was not ready in time.
        """
        deadline = time.monotonic() + timeout_s
        while not ready():
            if self.find(name) is None:
                raise DidNotStart(f"{name} ended. The end of its log:\n{self.log_tail(name)}")
            if time.monotonic() > deadline:
                raise DidNotStart(
                    f"{name} was not ready in {timeout_s:.0f} s. The end of its log:\n{self.log_tail(name)}"
                )
            time.sleep(0.05)

    def log_tail(self, name: str) -> str:
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / f"{name}.log").read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")
        return "(none)"

    def stop(self, names: list[str], timeout_s: float) -> None:
        """End these processes one after the other, by force those that do not end in time."""
        for name in names:
            process = self.find(name)
            if process is not None:
                _end(process, timeout_s)
            (self.folder / f"{name}.pid").unlink(missing_ok=True)
        self._children = [child for child in self._children if child.poll() is None]


def _end(process: psutil.Process, timeout_s: float) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
        try:
            process.wait(timeout_s)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(_KILL_TIMEOUT_S)
