"""One job of the site, as its folder has it: the plugin may be killed and started, and whoever tests may look."""

from __future__ import annotations

import contextlib
import fcntl
import json
import re
import shutil
import signal
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from .runner import write

CANCELLED = 143
_VANISHED = 137
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(m|Ki|Mi|Gi|Ti|k|M|G|T)?\Z")
_UNITS = {"m": 1e-3, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


def quantity(text: Any) -> float:
    """Return a quantity of Kubernetes as a number."""
    found = _QUANTITY.match(str(text))
    assert found is not None, f"no quantity: {text!r}"
    return float(found[1]) * _UNITS.get(found[2] or "", 1)


def timestamp(seconds: float) -> str:
    """Return a time as Kubernetes writes it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Job:
    """One pod's job in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.uid = folder.name
        document = json.loads((folder / "pod.json").read_text())
        self.pod: dict[str, Any] = document["pod"]
        self.number: int = document["number"]
        self.submitted: float = document["submitted"]
        self.mounts: dict[str, str] = document["mounts"]

    @property
    def name(self) -> str:
        return str(self.pod["metadata"]["name"])

    @property
    def container(self) -> dict[str, Any]:
        found: dict[str, Any] = self.pod["spec"]["containers"][0]
        return found

    def wants(self, resource: str) -> float:
        """Return how much of a resource it has while it runs."""
        limits: Mapping[str, Any] = (self.container.get("resources") or {}).get("limits") or {}
        return quantity(limits.get(resource, 0))

    # ------------------------------------------------------------ what became of it
    def document(self, name: str) -> dict[str, Any] | None:
        with contextlib.suppress(FileNotFoundError):
            found: dict[str, Any] = json.loads((self.folder / name).read_text())
            return found
        return None

    @property
    def ended(self) -> dict[str, Any] | None:
        return self.document("ended.json")

    @property
    def has_begun(self) -> bool:
        return (self.folder / "runner.json").exists()

    @property
    def is_running(self) -> bool:
        return self.has_begun and self.ended is None and self.runner is not None

    @property
    def runner(self) -> psutil.Process | None:
        """The living process that runs it: whoever holds its lock."""
        known = self.document("runner.json")
        if known is None or not self._is_locked():
            return None
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(known["pid"])
        return None

    def _is_locked(self) -> bool:
        with (self.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    @property
    def pid(self) -> int | None:
        """Process id of its command, None when it does not run."""
        started = self.document("started.json")
        return int(started["pid"]) if started and self.is_running else None

    def state(self, waits: tuple[str, str] | None) -> dict[str, Any]:
        """Return the container's state; ``waits`` is reason and message of one that does not run yet."""
        running = self.is_running
        ended = self.ended
        if self.has_begun and not running and ended is None:
            ended = self.reject("The job vanished: the process that ran it was killed.", _VANISHED)
        if ended is not None:
            return {"terminated": {
                "exitCode": ended["exit_code"], "reason": "Error" if ended["exit_code"] else "Completed",
                "message": ended["message"], "startedAt": timestamp(ended["began"]), "finishedAt": timestamp(ended["ended"]),
            }}  # fmt: skip
        if running:
            return {"running": {"startedAt": timestamp((self.document("runner.json") or {})["began"])}}
        reason, message = waits or ("Starting", f"job {self.number} is about to start")
        return {"waiting": {"reason": reason, "message": message}}

    def log(self) -> bytes:
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / "log").read_bytes()
        return b""

    # ------------------------------------------------------------ its end
    def reject(self, message: str, code: int = 1) -> dict[str, Any]:
        """Let it have ended without its runner; return what stands."""
        now = time.time()
        write(self.folder / "ended.json", {"exit_code": code, "message": message, "began": now, "ended": now})
        shutil.rmtree(self.folder / "volumes", ignore_errors=True)
        return self.ended or {}

    def cancel(self) -> None:
        """End it with its grace, if it runs or is about to."""
        (self.folder / "cancel").touch()  # before looking for the runner, which looks for it after it said who it is
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, and not let it start."""
        (self.folder / "cancel").touch()
        self._signal(signal.SIGALRM)

    def _signal(self, number: signal.Signals) -> None:
        runner = self.runner
        if runner is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                runner.send_signal(number)


def all_in(folder: Path) -> list[Job]:
    """Return a site's jobs as its folder has them, the oldest first."""
    return sorted((Job(path.parent) for path in folder.glob("*/pod.json")), key=lambda job: job.number)


def end_all(folder: Path, timeout_s: float = 10) -> None:
    """End what still runs in a folder of jobs whose plugin is over."""
    found = all_in(folder)
    for job in found:
        job.kill()
    deadline = time.monotonic() + timeout_s
    for job in found:
        while (runner := job.runner) is not None:
            if time.monotonic() > deadline:
                with contextlib.suppress(psutil.NoSuchProcess):
                    runner.kill()  # its job goes with it
            time.sleep(0.02)
