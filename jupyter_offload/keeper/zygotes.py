"""Zygotes: one process per environment that imported Dask once and forks the supervisor of each new cluster.

A zygote is named by interpreter, the variables of its kernelspec (Python and the loader read some only when they start),
site-packages and our own files of scheduler and relay, so that an installed package or a new release gets a new one. It ends itself when
idle; the keeper ends it when the keeper ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .. import scheduler as scheduler_package
from ..api import locations
from ..relay import bundle
from ..scheduler.process import process_start
from . import processes
from .control import ask_once
from .folders import read_json, write_private
from .store.records import ProcessName

log = logging.getLogger(__name__)
SCHEDULER_FOLDER = Path(scheduler_package.__file__).parent
SCHEDULER_MAIN = SCHEDULER_FOLDER / "__main__.py"
START_TIMEOUT_S = 30.0
LAUNCH_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Interpreter:
    """A Python and the variables that its kernelspec sets for it."""

    python: str
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What differs between two interpreters, and tells nothing of the variables, which may be secret."""
        return _digest([self.python, *(f"{k}={v}" for k, v in sorted(self.variables.items()))])


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def zygote_key(interpreter: Interpreter) -> str:
    """Return what names the zygote of an interpreter as it is installed now. Blocking: looks at files."""
    python = interpreter.python
    parts = [interpreter.name, os.path.realpath(python)]
    folders = [Path(entry) for entry in interpreter.variables.get("PYTHONPATH", "").split(os.pathsep) if entry]
    for prefix in sorted({Path(python).parent.parent, Path(python).resolve().parent.parent}):
        folders += sorted(prefix.glob("lib*/python*/*-packages"))
    for folder in folders:
        with contextlib.suppress(OSError):
            parts.append(f"{folder} {folder.stat().st_mtime_ns}")
    for file in [*sorted(SCHEDULER_FOLDER.rglob("*.py")), *bundle.files()]:
        seen = file.stat()
        parts.append(f"{file} {seen.st_size} {seen.st_mtime_ns}")
    return _digest(parts)


class Zygotes:
    """Starts, uses and ends zygotes. On macOS there are none, since forking after imports is not safe there."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._folder = locations.runtime_folder()
        self._starting: dict[str, asyncio.Task[bool]] = {}
        self._broken: set[str] = set()
        self._reapers: set[asyncio.Task[int]] = set()

    @property
    def supported(self) -> bool:
        """Whether this system can use zygotes."""
        return sys.platform == "linux"

    def _socket(self, key: str) -> Path:
        return self._file(key, "sock")

    async def prepare(self, interpreter: Interpreter) -> bool:
        """Have the zygote of this interpreter running; False where that is not possible."""
        if not self.supported:
            return False
        key = await asyncio.to_thread(zygote_key, interpreter)
        if key in self._broken:
            return False
        if await self._answers(key):
            return True
        task = self._starting.get(key)
        if task is None:
            task = self._starting[key] = asyncio.create_task(self._start(interpreter, key))
            task.add_done_callback(lambda _: self._starting.pop(key, None))
        return await asyncio.shield(task)

    async def launch(
        self, interpreter: Interpreter, launch_file: Path, env: Mapping[str, str], cwd: str, requested: Path
    ) -> ProcessName | None:
        """Fork a supervisor; None when no zygote can, and the cold start must be taken.

        The file ``requested`` exists from the moment on when something may have been forked.

        Raises:
            OSError: the zygote broke at it. It may have forked all the same, so do not start a second one.
        """
        if not self.supported:
            return None
        key = await asyncio.to_thread(zygote_key, interpreter)
        request = {"op": "launch", "launch": str(launch_file), "env": dict(env), "cwd": cwd}
        try:
            requested.touch(mode=0o600)  # noqa: ASYNC240  (a local disk)
            answer = await ask_once(self._socket(key), request, LAUNCH_TIMEOUT_S)
        except (FileNotFoundError, ConnectionRefusedError):  # none, or a dead one: nothing was forked
            requested.unlink(missing_ok=True)  # noqa: ASYNC240  (a local disk)
            if not await self.prepare(interpreter):
                return None
            requested.touch(mode=0o600)  # noqa: ASYNC240  (a local disk)
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

    async def _start(self, interpreter: Interpreter, key: str) -> bool:
        python = interpreter.python
        began = time.monotonic()
        name = self._known(key)  # a keeper that was killed may have just started one
        if name is None or await processes.alive(name) is False:
            name = await self._spawn(interpreter, key)
        try:
            while name is not None and time.monotonic() - began < START_TIMEOUT_S:
                if await self._answers(key):
                    log.info("zygote %s of %s is ready after %.2f s", key, python, time.monotonic() - began)
                    await self._end_others(interpreter, key)
                    return True
                if await processes.alive(name) is False:
                    break
                await asyncio.sleep(0.02)
        except asyncio.CancelledError:  # the keeper ends before it was ready
            await self._end_one(key)
            raise
        self._broken.add(key)
        tail = await asyncio.to_thread(_tail, self._file(key, "log"))
        log.warning("no zygote for %s, clusters start cold: %s", python, tail)
        await self._end_one(key)
        return False

    async def _spawn(self, interpreter: Interpreter, key: str) -> ProcessName | None:
        try:
            with self._file(key, "log").open("wb") as out:
                process = await asyncio.create_subprocess_exec(
                    interpreter.python, str(SCHEDULER_MAIN), "zygote", str(self._socket(key)), stdin=subprocess.DEVNULL,
                    stdout=out, stderr=out, env=self._environment | dict(interpreter.variables), cwd="/",
                    start_new_session=True,
                )  # fmt: skip
        except OSError as error:
            log.warning("the zygote of %s cannot be started: %s", interpreter.python, error)
            return None
        name = ProcessName(pid=process.pid, start=process_start(process.pid) or "gone")
        write_private(
            self._file(key, "json"), json.dumps({"interpreter": interpreter.name, "process": name.model_dump()})
        )
        reaper = asyncio.create_task(process.wait())  # no zombie while this keeper lives
        self._reapers.add(reaper)
        reaper.add_done_callback(self._reapers.discard)
        return name

    def _file(self, key: str, kind: str) -> Path:
        return self._folder / f"z-{key}.{kind}"

    def _known(self, key: str) -> ProcessName | None:
        said = read_json(self._file(key, "json"))
        return ProcessName.model_validate(said["process"]) if said else None

    def _keys(self) -> list[str]:
        return [p.stem.removeprefix("z-") for p in self._folder.glob("z-*.json")]

    async def _end_others(self, interpreter: Interpreter, key: str) -> None:
        """End zygotes of the same interpreter as it was before something was installed."""
        for other in self._keys():
            said = read_json(self._file(other, "json")) or {}
            if other != key and said.get("interpreter") == interpreter.name:
                await self._end_one(other)

    async def _end_one(self, key: str) -> None:
        with contextlib.suppress(OSError):
            await ask_once(self._socket(key), {"op": "exit"}, 2)
        name = self._known(key)
        left = await asyncio.to_thread(processes.wait_gone, [name], 1) if name is not None else []
        for process in left:
            await asyncio.to_thread(processes.send, process, signal.SIGKILL)
        for kind in ("sock", "json", "log"):
            with contextlib.suppress(OSError):  # what cannot be taken away is in the way of zygotes, not of clusters
                self._file(key, kind).unlink(missing_ok=True)

    async def end(self) -> None:
        """End all zygotes of this keeper and of earlier ones; their clusters go on."""
        starting = list(self._starting.values())
        for task in starting:
            task.cancel()
        await asyncio.gather(*starting, return_exceptions=True)
        await asyncio.gather(*(self._end_one(key) for key in self._keys()))


def _tail(path: Path) -> str:
    try:
        return path.read_text(errors="replace")[-2000:]
    except OSError:
        return "(no log)"
