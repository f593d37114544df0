"""Zygotes: one process per environment that imported Dask once and forks the supervisor of each new cluster.

A zygote is named by interpreter, site-packages and our own scheduler files, so that an installed package or a new release
gets a new one. It ends itself when idle; the keeper ends it when the keeper ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from .. import scheduler as scheduler_package
from ..api import locations
from .control import ask_once
from .store.records import ProcessName

log = logging.getLogger(__name__)
SCHEDULER_FOLDER = Path(scheduler_package.__file__).parent
SCHEDULER_MAIN = SCHEDULER_FOLDER / "__main__.py"
START_TIMEOUT_S = 30.0
LAUNCH_TIMEOUT_S = 5.0


def zygote_key(python: str) -> str:
    """Return what names the zygote of an interpreter as it is installed now. Blocking: looks at files."""
    parts = [python, os.path.realpath(python)]
    for prefix in {Path(python).parent.parent, Path(python).resolve().parent.parent}:
        for packages in sorted(prefix.glob("lib*/python*/*-packages")):
            parts.append(f"{packages} {packages.stat().st_mtime_ns}")
    for file in sorted(SCHEDULER_FOLDER.rglob("*.py")):
        seen = file.stat()
        parts.append(f"{file.relative_to(SCHEDULER_FOLDER)} {seen.st_size} {seen.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


class Zygotes:
    """Starts, uses and ends zygotes. On macOS there are none, since forking after imports is not safe there."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._folder = locations.runtime_folder()
        self._starting: dict[str, asyncio.Task[bool]] = {}
        self._broken: set[str] = set()

    @property
    def supported(self) -> bool:
        """Whether this system can use zygotes."""
        return sys.platform == "linux"

    def _socket(self, key: str) -> Path:
        return self._folder / f"z-{key}.sock"

    async def prepare(self, python: str) -> bool:
        """Have the zygote of this interpreter running; False where that is not possible."""
        if not self.supported:
            return False
        key = await asyncio.to_thread(zygote_key, python)
        if key in self._broken:
            return False
        if await self._answers(key):
            return True
        task = self._starting.get(key)
        if task is None:
            task = self._starting[key] = asyncio.create_task(self._start(python, key))
            task.add_done_callback(lambda _: self._starting.pop(key, None))
        return await asyncio.shield(task)

    async def launch(self, python: str, launch_file: Path, env: Mapping[str, str], cwd: str) -> ProcessName | None:
        """Fork a supervisor; None when no zygote can, and the cold start must be taken.

        Raises:
            OSError: the zygote broke at it. It may have forked all the same, so do not start a second one.
        """
        if not self.supported:
            return None
        key = await asyncio.to_thread(zygote_key, python)
        request = {"op": "launch", "launch": str(launch_file), "env": dict(env), "cwd": cwd}
        try:
            answer = await ask_once(self._socket(key), request, LAUNCH_TIMEOUT_S)
        except (FileNotFoundError, ConnectionRefusedError):  # none, or a dead one: nothing was forked
            if not await self.prepare(python):
                return None
            answer = await ask_once(self._socket(key), request, LAUNCH_TIMEOUT_S)
        if not answer.get("ok"):
            log.warning("zygote %s refused: %s", key, answer)
            return None
        return ProcessName(pid=answer["pid"], start=answer["start"])

    async def _answers(self, key: str) -> bool:
        if not self._socket(key).exists():
            return False
        try:
            return bool((await ask_once(self._socket(key), {"op": "ping"}, 2)).get("ok"))
        except OSError:
            return False

    async def _start(self, python: str, key: str) -> bool:
        socket = self._socket(key)
        began = time.monotonic()
        with (self._folder / f"z-{key}.log").open("wb") as out:
            try:
                process = await asyncio.create_subprocess_exec(
                    python, str(SCHEDULER_MAIN), "zygote", str(socket), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                    env=self._environment, cwd="/", start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                log.warning("no zygote for %s: %s", python, error)
                return False
        try:
            while time.monotonic() - began < START_TIMEOUT_S and process.returncode is None:
                if await self._answers(key):
                    log.info("zygote %s of %s is ready after %.2f s", key, python, time.monotonic() - began)
                    return True
                await asyncio.sleep(0.02)
        except asyncio.CancelledError:  # the keeper ends before it was ready
            await _kill(process)
            raise
        await _kill(process)
        self._broken.add(key)
        tail = await asyncio.to_thread((self._folder / f"z-{key}.log").read_text, errors="replace")
        log.warning("no zygote for %s, clusters start cold: %s", python, tail[-2000:])
        return False

    async def end(self) -> None:
        """End all zygotes of this keeper and of earlier ones; their clusters go on."""
        starting = list(self._starting.values())
        for task in starting:
            task.cancel()
        await asyncio.gather(*starting, return_exceptions=True)
        for socket in self._folder.glob("z-*.sock"):
            with contextlib.suppress(OSError):
                await ask_once(socket, {"op": "exit"}, 2)
            with contextlib.suppress(OSError):
                socket.unlink()
            socket.with_suffix(".log").unlink(missing_ok=True)

    async def end_outdated(self, keep: set[str]) -> None:
        """End zygotes that no known interpreter, as it is now, would use."""
        for socket in self._folder.glob("z-*.sock"):
            if socket.stem.removeprefix("z-") not in keep:
                with contextlib.suppress(OSError):
                    await ask_once(socket, {"op": "exit"}, 2)


async def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
        await process.wait()
