"""The scheduler's second door: it listens at the relay too, for workers that can only dial out.

The first one, on loopback, is open whatever the relay does. The modules of ``../relay`` run as a private package of their own
(see ``__main__.py``), so that they cannot be another release than these, whatever the environment has installed.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import time
from typing import TYPE_CHECKING, Any

import dask.config

if TYPE_CHECKING:
    from .dask_scheduler import Scheduler
    from .journal import Journal
    from .launch import Relay, Tls

log = logging.getLogger("offload.relay")

RELAY_PACKAGE = "_jupyter_offload_relay"
ADDRESS = "relay://scheduler"
#: A relay that is there registers a scheduler in far less; only then is there something to tell.
FIRST_PATIENCE_S = 5.0
_LISTEN_AGAIN_S = 5.0
#: ``comm`` has this default too, but where Dask's configuration is read anew, as in each fork, Dask's own comes first.
_RETRIES = "distributed.comm.retry.count"
_RETRY_COUNT = 2


def use_relay_backend() -> None:
    """Make ``relay://`` addresses known to Dask in this process; starts no thread."""
    from distributed.comm.registry import backends

    comm = importlib.import_module(f"{RELAY_PACKAGE}.comm")
    if not isinstance(backends.get("relay"), comm.RelayBackend):
        backends["relay"] = comm.RelayBackend()


def configure(relay: Relay) -> None:
    """Tell Dask in this process about the relay. What the user configured beyond that stays."""
    settings: dict[str, Any] = {
        "relay.addresses": list(relay.addresses),
        "relay.domain": relay.domain,
        "relay.ca-file": relay.ca_file,
        "relay.resume": relay.resume_s,
    }
    if dask.config.get(_RETRIES, None, config=dask.config.collect(paths=dask.config.paths)) is None:
        settings[_RETRIES] = _RETRY_COUNT  # what breaks with the relay is still there a moment later
    dask.config.set(settings)


class RelayDoor:
    """Listens at the relay, again and again until it can, and knows how it stands."""

    def __init__(self, relay: Relay, tls: Tls, journal: Journal) -> None:
        self._relay = relay
        self._tls = tls
        self._journal = journal
        self._listener: Any = None
        self._problem: str | None = None
        self._registered = False
        self._since = self._opened_at = time.time()
        self._lost = False  # and told so

    async def open(self, scheduler: Scheduler) -> None:
        """Listen; returns once Dask has the listener, which registers by itself from then on."""
        use_relay_backend()
        comm = importlib.import_module(f"{RELAY_PACKAGE}.comm.security")
        file = self._tls.scheduler_file
        security = comm.RelaySecurity(
            tls_ca_file=self._tls.ca_file, tls_scheduler_cert=file, tls_scheduler_key=file, require_encryption=True
        )
        while True:
            try:
                await scheduler.listen(
                    ADDRESS, allow_offload=False, handshake_overrides={"pickle-protocol": 4, "compression": None},
                    **security.get_listen_args("scheduler"),
                )  # fmt: skip
            except Exception as error:
                if str(error) != self._problem:
                    log.warning("Cannot listen at the relay: %s", error, exc_info=not isinstance(error, OSError))
                self._problem = str(error) or type(error).__name__
                self.look()
                await asyncio.sleep(_LISTEN_AGAIN_S)
                continue
            self._listener = scheduler.listeners[-1]
            self.look()
            return

    def state(self) -> dict[str, Any]:
        """Return how it stands, as ``status`` of the control protocol tells it."""
        problem = (self._problem or "It does not answer.") if self._lost else None
        return {"registered": self._registered, "since": self._since, "problem": problem}

    def look(self) -> None:
        """Notice whether the relay has the scheduler's name, and tell what changed."""
        if self._listener is not None:
            self._problem = self._listener.peer.problem
        registered = self._listener is not None and self._listener.peer.registered
        now = time.time()
        if registered != self._registered:
            self._registered, self._since = registered, now
            self._journal.changed()
        if registered and self._lost:
            self._lost = False
            self._journal.add("info", "relay-back", f"The relay {self._relay.domain} is there again.")
        waited = now - self._since >= FIRST_PATIENCE_S or self._since != self._opened_at
        if not registered and waited and not self._lost:
            self._lost = True
            why = f" {self._problem}" if self._problem else ""
            self._journal.add(
                "warning", "relay-lost", f"The relay {self._relay.domain} cannot be reached.{why} Workers that come through"
                " it wait; they are not lost.",
            )  # fmt: skip
