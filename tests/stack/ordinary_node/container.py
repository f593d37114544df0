"""One container of a pod: started, started again as its pod wants it, and what a kubelet says of it."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .api import JSON

_SHIM = Path(__file__).parent / "shim.py"
#: Between starts of a container that ends again and again; a kubelet waits 10 s to 5 min.
_BACKOFF_S, _LONGEST_BACKOFF_S = 0.5, 10.0


def now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class View:
    """What a container's process gets besides its command: see ``shim.py``."""

    hostname: str
    mounts: list[JSON]
    env: dict[str, str]
    cwd: str


async def begin(folder: Path, command: list[str], view: View, output: Any) -> asyncio.subprocess.Process:
    """Start a command in a view of its own; ``folder`` is where the view may be put together."""
    root = folder / "root"
    root.mkdir(parents=True, exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", str(_SHIM), stdin=asyncio.subprocess.PIPE, stdout=output, stderr=output, start_new_session=True
    )  # fmt: skip
    assert process.stdin is not None
    what = {
        "hostname": view.hostname, "command": command, "env": view.env, "folder": str(root), "mounts": view.mounts, "cwd": view.cwd,
    }  # fmt: skip
    with contextlib.suppress(ConnectionError):
        process.stdin.write(json.dumps(what).encode())
        await process.stdin.drain()
        process.stdin.close()
    return process


class Container:
    """A container while its pod is on the node.

    Args:
        spec: as the pod has it.
        restart: ``Always``, ``OnFailure`` or ``Never``.
        folder: its own; the log of its last start is ``log`` there, the one before ``previous.log``.
        changed: called when its state is another.
    """

    def __init__(self, spec: JSON, restart: str, folder: Path, changed: Callable[[], None]) -> None:
        self.spec = spec
        self.folder = folder
        self.state: JSON = {"waiting": {"reason": "ContainerCreating"}}
        self.last_state: JSON = {}
        self.restarts = 0
        self.ready = False
        self._restart = restart
        self._changed = changed
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def name(self) -> str:
        return str(self.spec["name"])

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def is_over(self) -> bool:
        return "terminated" in self.state

    @property
    def exit_code(self) -> int | None:
        return self.state.get("terminated", {}).get("exitCode")

    def status(self) -> JSON:
        """Return its ``ContainerStatus``."""
        running = "running" in self.state
        return {
            "name": self.name,
            "image": self.spec["image"],
            "imageID": "" if self.state.get("waiting", {}).get("reason", "").endswith("Pull") else self.spec["image"],
            "state": self.state,
            "lastState": self.last_state,
            "ready": self.ready and running,
            "started": running,
            "restartCount": self.restarts,
        }

    def wait_for(self, reason: str, message: str) -> None:
        """Say why it does not run."""
        if self.state.get("waiting") != (said := {"reason": reason, "message": message}):
            self.state = {"waiting": said}
            self._changed()

    async def run(self, view: View, command: list[str]) -> None:
        """Run it until it is over: for ever, if its pod wants it started anew whenever it ends."""
        backoff_s = _BACKOFF_S
        while not self._stopping:
            code = await self._once(view, command)
            if self._stopping or self._restart == "Never" or (self._restart == "OnFailure" and code == 0):
                return
            self.last_state = self.state
            self.restarts += 1
            text = f"back-off {backoff_s:g}s restarting failed container={self.name}"
            self.wait_for("CrashLoopBackOff", text)
            await asyncio.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, _LONGEST_BACKOFF_S)

    async def _once(self, view: View, command: list[str]) -> int:
        if self.log.exists():
            self.log.replace(self.folder / "previous.log")
        started = now()
        with self.log.open("wb") as log:
            self._process = await begin(self.folder, command, view, log)
        self.state = {"running": {"startedAt": started}}
        self.ready = "readinessProbe" not in self.spec
        self._changed()
        if self._stopping:
            self._signal(signal.SIGTERM)
        code = await self._process.wait()
        code = code if code >= 0 else 128 - code
        reason = "Completed" if code == 0 else "Error"
        over = {"exitCode": code, "reason": reason, "startedAt": started, "finishedAt": now()}
        if self.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError" and code:
            over["message"] = self.log.read_bytes()[-2048:].decode(errors="replace")
        self.state, self.ready = {"terminated": over}, False
        self._changed()
        return code

    async def stop(self, grace_s: float) -> None:
        """Ask it to end, by force after ``grace_s``. Idempotent."""
        self._stopping = True
        self._signal(signal.SIGTERM)
        if self._process is None:
            return
        try:
            await asyncio.wait_for(self._process.wait(), grace_s or 0.01)
        except TimeoutError:
            self._signal(signal.SIGUSR1)
            await self._process.wait()

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)
