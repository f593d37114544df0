"""A relay of the keeper's own, for sites that need one where the facility has none.

It is a process of its own that outlives keeper and Jupyter server, as clusters do, and is named by id and start. Workers know
its address, so certificate and port stay the same for ever. It admits this user alone, through a unix socket.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import BinaryIO

from ...api import locations
from ...api.start import clean_environment
from ...relay.certificates import make_relay_certificate
from ...scheduler.process import process_start
from .. import processes
from ..folders import read_json, write_private
from ..store.records import ProcessName
from .hub_file import hub_configuration
from .problems import unreachable
from .settings import EmbeddedRelay, RelayUse

log = logging.getLogger(__name__)
#: Nobody resolves it; it is in the certificate, and below it peers are named.
DOMAIN = "relay.offload.internal"
START_TIMEOUT_S = 20.0
END_TIMEOUT_S = 5.0
_LOG_BYTES = 4 << 20


def folder() -> Path:
    """Return where certificate, port and log lie: the data dir may be shared with other hosts, which have their own."""
    return locations.data_folder() / "relay" / locations.host_name()


def socket_path() -> Path:
    """Return the socket at which clusters are admitted."""
    return locations.runtime_folder() / "relay.sock"


def _process_file() -> Path:
    return locations.runtime_folder() / "relay.json"


def guessed_host() -> str:
    """Return the name of this host as others may know it. Blocking: may ask a name server."""
    return socket.getfqdn()


def kept_port() -> int | None:
    """Return the port that this relay has; None before its first start. Blocking."""
    kept = read_json(folder() / "port.json") or {}
    port = kept.get("port")
    return port if isinstance(port, int) else None


def _choose_port(settings: EmbeddedRelay, *, fixed: bool) -> int:
    """Return the port to use, and keep it; ``fixed`` if somebody knows the one it has."""
    kept = kept_port()
    if kept and fixed:
        return kept
    port = settings.port or kept or 0
    if not port or (not settings.port and not is_free(settings.bind, port)):
        with _trial(settings.bind, 0) as trial:
            port = int(trial.getsockname()[1])
    if port != kept:
        write_private(folder() / "port.json", json.dumps({"port": port}))
    return port


def is_free(bind: str, port: int) -> bool:
    """Whether a port of this host can be had. Blocking."""
    try:
        with _trial(bind, port):
            return True
    except OSError:
        return False


def _trial(bind: str, port: int) -> socket.socket:
    return socket.create_server((bind, port), family=socket.AF_INET6 if ":" in bind else socket.AF_INET)


class Embedded:
    """Starts, finds and ends the one relay of this user, host and data dir."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._reapers: set[asyncio.Task[int]] = set()

    async def use(self, settings: EmbeddedRelay, resume_s: float, lease_s: float, *, in_use: bool) -> RelayUse:
        """Return how a new cluster uses it; nothing is started yet.

        Args:
            settings: host, port and address to listen on.
            resume_s: how long connections survive without it.
            lease_s: how long it serves a cluster whose keeper is not heard of.
            in_use: whether a cluster knows its port already. If not, and the port was taken meanwhile, it gets another.

        Raises:
            OSError: its folder cannot be written.
        """
        ca_file, _ = await asyncio.to_thread(make_relay_certificate, folder(), DOMAIN)
        fixed = in_use or await self.running()
        port = await asyncio.to_thread(_choose_port, settings, fixed=fixed)
        host = settings.host
        if host is None:
            host = await asyncio.to_thread(guessed_host)
        host = f"[{host}]" if ":" in host and not host.startswith("[") else host
        return RelayUse(
            embedded=True, addresses=[f"{host}:{port}"], domain=DOMAIN, ca_file=str(ca_file),
            admission=str(socket_path()), lease_s=lease_s, resume_s=resume_s,
        )  # fmt: skip

    async def running(self) -> bool:
        """Whether it lives, or nobody can tell."""
        name = await asyncio.to_thread(self._known)
        return name is not None and await processes.alive(name) is not False

    async def ensure(self, settings: EmbeddedRelay) -> bool:
        """Have it running and answering; True if it had to be started.

        Raises:
            RelayProblem: it does not start; the reason quotes its log.
        """
        async with self._lock:
            if await self.running():
                return False
            try:
                name = await self._start(settings)
                await self._until_ready(name)
            except OSError as error:
                raise unreachable(f"The relay on this host cannot be started: {error}.") from error
            return True

    async def end(self) -> None:
        """End it, whoever started it; idempotent."""
        async with self._lock:
            name = await asyncio.to_thread(self._known)
            if name is not None:
                await asyncio.to_thread(_end, name)
                log.info("the relay on this host has ended")
            for path in (_process_file(), socket_path(), locations.runtime_folder() / "relay.yaml"):
                path.unlink(missing_ok=True)

    # ------------------------------------------------------------ the process
    @staticmethod
    def _known() -> ProcessName | None:
        said = read_json(_process_file())
        return ProcessName.model_validate(said) if said else None

    async def _start(self, settings: EmbeddedRelay) -> ProcessName:
        port = await asyncio.to_thread(kept_port)
        if port is None:
            raise FileNotFoundError(f"{folder()} was removed while a cluster uses the relay")
        # not beside the records: the data dir may be seen by other hosts, whose relays differ
        file = locations.runtime_folder() / "relay.yaml"
        text = hub_configuration(folder(), socket_path(), DOMAIN, settings.bind, port)
        await asyncio.to_thread(write_private, file, text)
        socket_path().unlink(missing_ok=True)
        with await asyncio.to_thread(_open_log) as out:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "jupyter_offload.relay.hub", str(file), stdin=subprocess.DEVNULL, stdout=out,
                stderr=out, env=clean_environment(), cwd="/", start_new_session=True,
            )  # fmt: skip
        reaper = asyncio.create_task(process.wait())  # no zombie while this keeper lives
        self._reapers.add(reaper)
        reaper.add_done_callback(self._reapers.discard)
        start = await asyncio.to_thread(process_start, process.pid)
        name = ProcessName(pid=process.pid, start=start or "gone")
        await asyncio.to_thread(write_private, _process_file(), name.model_dump_json())
        log.info("the relay on this host starts as process %d, port %d", name.pid, port)
        return name

    async def _until_ready(self, name: ProcessName) -> None:
        """Wait until it answers.

        Raises:
            RelayProblem: it ended, or takes too long.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if await _listens(socket_path()):
                return
            if await processes.alive(name) is False:
                break
            await asyncio.sleep(0.02)
        else:
            await asyncio.to_thread(_end, name)
        tail = await asyncio.to_thread(_tail)
        raise unreachable(
            f"The relay on this host does not start: {tail or 'it said nothing'}",
            f"Look at its log, {folder() / 'relay.log'}; if its port is taken, free it or set embedded.port in relay.yaml.",
        )

    def close(self) -> None:
        """Let go of it; it goes on."""
        for task in self._reapers:
            task.cancel()


def _end(name: ProcessName) -> None:
    """Blocking."""
    processes.send(name, signal.SIGTERM)
    for left in processes.wait_gone([name], END_TIMEOUT_S):
        processes.send(left, signal.SIGKILL)
        processes.wait_gone([left], END_TIMEOUT_S)


async def _listens(path: Path) -> bool:
    try:
        _, writer = await asyncio.wait_for(asyncio.open_unix_connection(str(path)), 2)
    except OSError:
        return False
    writer.close()
    return True


def _open_log() -> BinaryIO:
    path = folder() / "relay.log"
    large = path.exists() and path.stat().st_size > _LOG_BYTES
    if large:
        path.replace(path.with_suffix(".log.1"))
    path.touch(0o600)
    return path.open("ab")


def _tail() -> str:
    try:
        return " ".join((folder() / "relay.log").read_text(errors="replace").splitlines()[-3:])[-600:]
    except OSError:
        return ""
