"""The scheduler process of each cluster: launched, looked at, ended. The same for every backend."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..api import locations
from ..api.models import Reason, ReasonCode
from ..api.problems import OffloadError
from ..api.start import ENDS_WITH_SERVER, clean_environment
from ..scheduler.process import process_start
from . import folders, processes
from .control import ControlLine
from .lifecycle import Exit, Sight
from .quoting import brief
from .store.records import ProcessName, Record, boot_id, container_id
from .zygotes import SCHEDULER_MAIN, Interpreter, Zygotes

log = logging.getLogger(__name__)
LOOK_TIMEOUT_S = 5.0
STOP_GRACE_S = 5.0


class LaunchFailed(Exception):
    """The scheduler process could not be started; ``reason`` is for the card."""

    def __init__(self, reason: Reason) -> None:
        self.reason = reason
        super().__init__(reason.message)


@dataclass(frozen=True)
class SchedulerSeen:
    """What was seen of a scheduler process; ``status`` is its own answer, when it gave one."""

    sight: Sight
    exit: Exit | None = None
    address: str | None = None
    supervisor: ProcessName | None = None
    scheduler: ProcessName | None = None
    status: Mapping[str, Any] | None = None
    #: of a scheduler that the site runs
    problem: Reason | None = None


def launch_environment(variables: Mapping[str, str], extra: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a cluster's processes: this one without the session's secrets, and more.

    Args:
        variables: what the kernelspec sets.
        extra: what the user asked for, which counts most.
    """
    env = {k: v for k, v in clean_environment().items() if k not in (ENDS_WITH_SERVER, "PYTHONHOME")}
    return env | dict(variables) | dict(extra)


class Schedulers:
    """Scheduler processes by cluster."""

    def __init__(self) -> None:
        self.zygotes = Zygotes(launch_environment({}, {}))
        self._lines: dict[str, ControlLine] = {}
        self._waiting: set[asyncio.Task[Any]] = set()

    def control(self, record: Record) -> ControlLine:
        """Return the line to a cluster's scheduler process; it connects on first use."""
        if record.id not in self._lines:
            socket = Path(record.runtime) / "control.sock"
            self._lines[record.id] = ControlLine(socket, f"The scheduler of {record.name!r}", LOOK_TIMEOUT_S)
        return self._lines[record.id]

    async def forget(self, record_id: str) -> None:
        """Close the line to a cluster that is over."""
        line = self._lines.pop(record_id, None)
        if line is not None:
            await line.close()

    # ------------------------------------------------------------ launch
    async def launch(self, record: Record, workers: int) -> ProcessName | None:
        """Make the cluster's folders and start its supervisor; None when it is not known which process that is.

        Raises:
            LaunchFailed: it cannot be started, and why.
        """
        try:
            launch_file = await asyncio.to_thread(folders.make, record, workers)
            env = launch_environment(record.variables, record.spec.env)
            cwd = await asyncio.to_thread(_home)
            try:
                name = await self.zygotes.launch(
                    Interpreter(record.python, record.variables), launch_file, env, cwd, _requested(record)
                )
            except OSError as error:
                log.warning("the zygote broke while launching %s: %s", record.id, error)
                return None  # ready.json or the start timeout decides
            return name or await self._cold(record, launch_file, env, cwd)
        except OSError as error:
            raise LaunchFailed(why_not(record, error)) from error

    async def _cold(self, record: Record, launch_file: Path, env: Mapping[str, str], cwd: str) -> ProcessName:
        _requested(record).touch(mode=0o600)
        with (Path(record.folder) / "logs" / "supervisor.log").open("ab") as out:
            process = await asyncio.create_subprocess_exec(
                record.python, str(SCHEDULER_MAIN), "supervise", str(launch_file), stdin=subprocess.DEVNULL, stdout=out,
                stderr=out, env=dict(env), cwd=cwd, start_new_session=True,
            )  # fmt: skip
        reaper = asyncio.create_task(process.wait())  # no zombie while this keeper lives
        self._waiting.add(reaper)
        reaper.add_done_callback(self._waiting.discard)
        start = await asyncio.to_thread(process_start, process.pid)
        return ProcessName(pid=process.pid, start=start or "gone")

    # ------------------------------------------------------------ look
    async def look(self, record: Record) -> SchedulerSeen:
        """Return what can be seen of a cluster's scheduler process now."""
        # A keeper's own pod is a host of its own: of the one before nothing lives, on this node or another.
        in_pod_before = locations.in_own_pod() and record.container_id != container_id()
        if record.boot_id != boot_id() or in_pod_before:
            other = record.host != locations.host_name()
            return SchedulerSeen(Sight.other_host if other else Sight.host_restarted)
        if record.launched_at is None:
            return SchedulerSeen(Sight.nothing)
        runtime = Path(record.runtime)
        ready = folders.read_json(runtime / "ready.json")
        seen = SchedulerSeen(
            Sight.starting,
            address=ready["scheduler_address"] if ready else record.scheduler_address,
            supervisor=ProcessName.model_validate(ready["supervisor"]) if ready else record.supervisor,
            scheduler=ProcessName.model_validate(ready["scheduler"]) if ready else record.scheduler,
        )
        if ready is None and record.scheduler is None:
            return await self._not_ready(record, seen)
        try:
            status = await self.control(record).call("status", events_since=record.last_event)
        except OffloadError:
            return await self._unanswered(record, seen)
        return _with(seen, Sight.ready, status=status)

    async def _not_ready(self, record: Record, seen: SchedulerSeen) -> SchedulerSeen:
        over = self._left(record)
        if over is None and seen.supervisor is None and not _requested(record).exists():
            return _with(seen, Sight.nothing)  # the keeper that meant to launch it died before it did
        if over is None and seen.supervisor is not None and await self._alive(record, seen.supervisor) is False:
            over = self._left(record)  # it may have written its last word between the two looks
            return _with(seen, Sight.exited if over else Sight.gone, exit=over)
        return _with(seen, Sight.exited, exit=over) if over else seen

    async def _unanswered(self, record: Record, seen: SchedulerSeen) -> SchedulerSeen:
        """Tell dead from silent. A supervisor whose scheduler died needs a moment to write its last word."""
        for _ in range(20):
            over = self._left(record)
            if over is not None:
                return _with(seen, Sight.exited, exit=over)
            living = await self._alive(record, seen.supervisor) if seen.supervisor else None
            if living is False:
                over = self._left(record)
                return _with(seen, Sight.exited if over else Sight.gone, exit=over)
            if seen.scheduler is None or await self._alive(record, seen.scheduler) is not False:
                return _with(seen, Sight.silent)
            await asyncio.sleep(0.05)
        return _with(seen, Sight.silent)

    async def _alive(self, record: Record, name: ProcessName) -> bool | None:
        if record.container_id == container_id():
            return await processes.alive(name)
        # Its process ids do not count here. Its sockets do, if they can be reached at all.
        if not await asyncio.to_thread(Path(record.runtime).is_dir):
            return False
        try:
            _, writer = await asyncio.wait_for(asyncio.open_unix_connection(str(self.control(record).socket)), 2)
        except ConnectionRefusedError:
            return False
        except OSError:
            return None
        writer.close()
        return True

    @staticmethod
    def _left(record: Record) -> Exit | None:
        left = folders.read_json(Path(record.runtime) / "exit.json")
        return Exit(str(left.get("code")), str(left.get("message", ""))) if left else None

    # ------------------------------------------------------------ end
    async def end(self, record: Record) -> bool:
        """End a cluster's processes and delete what they leave but the logs; True once nothing is left. Idempotent."""
        seen = await self.look(record)
        if seen.sight is Sight.other_host:
            return False
        if seen.sight is Sight.ready:
            with contextlib.suppress(OffloadError):
                await self.control(record).call("stop", grace_s=STOP_GRACE_S)
                await self._wait_exit(record, STOP_GRACE_S + 1)
        known = [n for n in (seen.supervisor, seen.scheduler) if n is not None]
        if known and seen.sight is not Sight.host_restarted:
            if record.container_id != container_id():
                return await self._alive(record, known[0]) is False and await self._clean(record)
            if not await asyncio.to_thread(processes.end_tree, known[0], known[1:]):
                return False
        return await self._clean(record)

    async def _wait_exit(self, record: Record, timeout_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._left(record) is None:  # noqa: ASYNC110  (another process writes it)
                    await asyncio.sleep(0.02)

    async def _clean(self, record: Record) -> bool:
        await self.forget(record.id)
        await asyncio.to_thread(folders.clean, record)
        return True

    async def close(self, *, end_zygotes: bool) -> None:
        """Let go of everything; clusters go on."""
        for record_id in list(self._lines):
            await self.forget(record_id)
        if end_zygotes:
            await self.zygotes.end()
        for task in self._waiting:
            task.cancel()


def _requested(record: Record) -> Path:
    """Return the file that exists once somebody was asked to start this cluster: until then it is safe to ask again."""
    return Path(record.runtime) / "requested"


def _home() -> str:
    home = Path.home()
    return str(home) if home.is_dir() else "/"


def _with(seen: SchedulerSeen, sight: Sight, **changes: Any) -> SchedulerSeen:
    return SchedulerSeen(**{**vars(seen), "sight": sight, **changes})


def why_not(record: Record, error: OSError) -> Reason:
    """Return why a cluster could not be started, for its card."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Reason(
            code=ReasonCode.disk_full, message=f"The disk is full: {error.filename or record.folder}.",
            hint="Free space, then start again.",
        )  # fmt: skip
    if isinstance(error, FileNotFoundError) and error.filename in (record.python, None):
        return Reason(
            code=ReasonCode.environment_unusable, message=f"The Python {record.python} is not there any more.",
            hint="Choose another environment, then start again.",
        )  # fmt: skip
    return Reason(
        code=ReasonCode.scheduler_start_failed, message=brief(f"The scheduler could not be started: {error}"),
        hint="Run: jupyter offload doctor",
    )  # fmt: skip
