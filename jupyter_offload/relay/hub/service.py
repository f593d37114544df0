"""The relay as a service: hub, leases and doors from a configuration file, and what signals do to them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import ssl
from collections.abc import Coroutine, Iterator
from pathlib import Path

from . import admission, logs, metrics, preflight
from .challenges import Challenges
from .config import RelayConfig
from .counters import Sample
from .doors import MetricsDoor, UnixDoor, server
from .hub import Hub
from .identities import Identities
from .identities.chain import providers_of
from .leases import Leases, Terms
from .mistakes import BadConfig, read_config
from .notify import notify, notify_reloading
from .registry import Registry
from .store import LeaseStore
from .throttle import Throttle
from .tls import RelayCertificate

logger = logging.getLogger("offload.relay")
#: Certificates are renewed by others, who may not know that we are here.
_LOOK_AT_FILES_S = 10.0
#: What only counts at the start; a reload says so.
_FIXED = ("domain", "certificate_file", "key_file", "state_dir", "listen", "unix_socket", "metrics", "limits")


class Service:
    """One relay. Made in the thread of a running event loop.

    Args:
        path: of the configuration file, which a reload reads again.
        config: what is in it.
        version: of this project.

    Raises:
        OSError: a file or folder cannot be had.
    """

    def __init__(self, path: Path, config: RelayConfig, version: str) -> None:
        self._path = path
        self._config = config
        self._registry = Registry()
        self._events = self._registry.events
        self._answers = metrics.Answers()
        self._throttle = Throttle()
        self._leases = Leases(LeaseStore(config.state_dir, self._events), self._registry, _terms(config), self._events)
        self._files = [f for f in (config.certificate_file, config.key_file) if f is not None]
        self._seen = _stamps(self._files)  # before they are read
        certificate = RelayCertificate(config.certificate_file, config.key_file)
        self._certificate_end = preflight.certificate_end(config)
        self._hub = Hub(
            config.domain, certificate, self._registry, config.limits.of_hub(),
            lambda stream, address: self._http.handle_stream(stream, address),
        )  # fmt: skip
        self._desk = admission.Desk(
            domain=config.domain, version=version, leases=self._leases, registry=self._registry,
            identities=self._identities(config), throttle=self._throttle, challenges=Challenges(), events=self._events,
            draining=lambda: self._ending.is_set(), answers=self._answers.count,
        )  # fmt: skip
        self._http = server(admission.application(self._desk))
        self._unix: UnixDoor | None = None
        self._metrics: MetricsDoor | None = None
        self._ending = asyncio.Event()
        self._at_once = asyncio.Event()
        self._reloading = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed: BaseException | None = None

    async def run(self) -> None:
        """Serve until a signal ends it: SIGTERM or SIGINT once gently, twice at once. SIGHUP reloads.

        Raises:
            OSError: a port, socket or file cannot be had.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.end)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._spawn(self.reload()))
        try:
            await self.start()
            notify("READY=1")
            await self._ending.wait()
            notify("STOPPING=1")
            await self._drain()
        finally:
            await self.close()
        if self._failed is not None:
            raise self._failed

    def end(self) -> None:
        """End gently; called again, at once."""
        if self._ending.is_set():
            self._at_once.set()
        self._ending.set()

    async def reload(self) -> None:
        """Read the configuration and the certificate again. What is wrong with them is logged, and the old ones stay."""
        notify_reloading()
        async with self._reloading:
            try:
                new = await asyncio.to_thread(read_config, self._path)
            except BadConfig as error:
                for mistake in error.mistakes:
                    self._events.log("reload-failed", file=str(self._path), reason=str(mistake))
            else:
                await self._take_over(new)
            self._read_certificate()
        notify("READY=1")

    # ------------------------------------------------------------ begin
    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Host and port of every listening socket."""
        return self._hub.addresses

    @property
    def metrics_port(self) -> int | None:
        """Where metrics are read, if that is a port."""
        return self._metrics.port if self._metrics is not None else None

    async def start(self) -> None:
        """Take over the leases on disk, and open the doors.

        Raises:
            OSError: a port or socket cannot be had, or the leases cannot be read.
        """
        config = self._config
        await self._leases.open()
        self._spawn(self._leases.watch())
        self._spawn(self._watch_files())
        await self._hub.start(config.listen.host, config.listen.port, reuse_port=config.listen.reuse_port)
        if config.metrics is not None:
            numbers = metrics.application(self._samples, config.metrics.token_file)
            self._metrics = MetricsDoor(config.metrics.address, numbers, reuse_port=config.listen.reuse_port)
            self._events.log("metrics", address=config.metrics.address, port=self._metrics.port or 0)
        if config.unix_socket is not None:
            where = config.unix_socket
            self._unix = UnixDoor(where.path, int(where.mode, 8), where.group, self._http)
        self._events.log("ready", domain=config.domain, version=self._desk.version, leases=len(self._leases))

    def _identities(self, config: RelayConfig) -> Identities:
        return Identities(providers_of(config.identities), self._throttle)

    def _samples(self) -> Iterator[Sample]:
        yield from self._hub.samples()
        yield from self._answers.samples()
        yield Sample("offload_relay_leases", "gauge", "Leases that are not over.", len(self._leases))
        yield Sample("offload_relay_leases_lapsed_total", "counter", "Leases that nobody renewed.", self._leases.lapsed)
        yield Sample("offload_relay_certificate_expiry_timestamp_seconds", "gauge", "End of the relay's certificate.",
                     self._certificate_end)  # fmt: skip
        yield from metrics.process_samples()

    # ------------------------------------------------------------ reload
    async def _take_over(self, new: RelayConfig) -> None:
        old = self._config
        for field in _FIXED:
            if getattr(new, field) != getattr(old, field):
                self._events.log("reload-ignores", field=field, reason="it counts when the relay is started again")
        self._config = new
        self._leases.set_terms(_terms(new))
        logs.set_up(new.log_level)
        before, self._desk.identities = self._desk.identities, self._identities(new)
        self._events.log("reloaded", file=str(self._path))
        # whoever is being asked about may still be told
        longest_s = max(getattr(one, "timeout_s", 0.0) for one in old.identities)
        self._spawn(_close_later(before, longest_s))

    def _read_certificate(self) -> None:
        try:
            self._hub.reload()
            self._certificate_end = preflight.certificate_end(self._config)
        except (OSError, ssl.SSLError) as error:
            self._events.log("certificate-bad", file=str(self._config.certificate_file), reason=str(error))

    async def _watch_files(self) -> None:
        for mistake in await asyncio.to_thread(preflight.soon, self._config):
            self._events.log("certificate-old", reason=str(mistake))
        while True:
            await asyncio.sleep(_LOOK_AT_FILES_S)
            now = await asyncio.to_thread(_stamps, self._files)
            if now != self._seen:
                self._seen = now
                self._read_certificate()

    # ------------------------------------------------------------ end
    async def _drain(self) -> None:
        """Whoever asks for a lease here is sent to the successor, who may have the unix socket already."""
        if self._unix is not None:
            self._unix.stop_listening()
        draining = asyncio.create_task(self._hub.drain(self._config.drain_s))
        at_once = asyncio.create_task(self._at_once.wait())
        await asyncio.wait((draining, at_once), return_when=asyncio.FIRST_COMPLETED)
        for task in (draining, at_once):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def close(self) -> None:
        """Close everything now."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._unix is not None:
            self._unix.close()
        await self._hub.close()
        if self._metrics is not None:
            await self._metrics.close()
        await self._desk.identities.close()

    def _spawn(self, what: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(what)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        """A relay without its clock is none: what watches leases must not stop unnoticed."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("internal", exc_info=error, extra={"event": "internal"})
            self._failed = error
            self._ending.set()


async def serve(path: Path, config: RelayConfig, version: str) -> None:
    """Be a relay until a signal ends it.

    Raises:
        OSError: a port, socket, file or folder cannot be had.
    """
    logs.set_up(config.log_level)
    await Service(path, config, version).run()


async def _close_later(identities: Identities, seconds: float) -> None:
    try:
        await asyncio.sleep(seconds)
    finally:
        await identities.close()


def _terms(config: RelayConfig) -> Terms:
    return Terms(config.shortest_lease_s, config.longest_lease_s, config.quota, config.quotas)


def _stamps(files: list[Path]) -> list[tuple[int, int] | None]:
    stamps: list[tuple[int, int] | None] = []
    for file in files:
        try:
            seen = file.stat()
        except OSError:
            stamps.append(None)
        else:
            stamps.append((seen.st_mtime_ns, seen.st_ino))
    return stamps
