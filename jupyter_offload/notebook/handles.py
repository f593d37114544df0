"""The objects that stand for a cluster in Python. Dask's ``Client`` accepts both kinds as it accepts a ``LocalCluster``.

What ``Client`` asks of them: ``scheduler_address``, ``security`` and ``status`` when it is made, ``await cluster`` before
it connects, ``status`` at each heartbeat and when its connection breaks, ``wait_for_workers``, ``dashboard_link``, and
``close()`` in ``client.shutdown()`` (never in ``client.close()``).
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from ..api import asking, models, text
from ..api.following import ended
from ..api.models import Phase, Reason
from ..api.problems import OffloadError
from . import bridge, html, versions
from .operations import CLOSE_TIMEOUT_S, FRESH_S, LOOK_S, Operations
from .results import Log, Logs, TimelineEntries
from .surroundings import dashboard_link

if TYPE_CHECKING:
    from distributed import Client
    from distributed.core import Status
    from distributed.security import Security

_DASK_STATUS = {
    Phase.pending: "created",
    Phase.starting: "starting",
    Phase.running: "running",
    Phase.stopping: "closing",
    Phase.stopped: "closed",
    Phase.failed: "closed",
}


class _Handle:
    """What both kinds share: what is known without asking."""

    def __init__(self, record: models.Cluster, *, created: bool) -> None:
        self._operations = Operations(record)
        self._created = created

    @property
    def id(self) -> str:
        """The id, which never changes and is never used again."""
        return self._operations.record.id

    @property
    def name(self) -> str:
        """The name its owner gave it."""
        return self._operations.record.name

    @property
    def dashboard_link(self) -> str:
        """Address of the dashboard on this kernel's Jupyter server, without any token; elsewhere how to open it."""
        return dashboard_link(self.id, self.name)

    @property
    def status(self) -> Status:
        """The phase in Dask's words: ``closed`` and ``closing`` tell a client not to connect again."""
        from distributed.core import Status

        self._look()
        return Status[_DASK_STATUS[self._operations.record.phase]]

    def _look(self) -> None:
        raise NotImplementedError

    @property
    def security(self) -> Security:
        """Dask's security settings with the paths of this cluster's TLS files (never their content), if it has any.

        Raises:
            BadInput: this kernel's Python is another one than the cluster's. ``Client`` asks here before it connects.
        """
        from distributed.security import Security

        connection = self._connection()
        versions.check(connection)
        if connection.relay is not None:
            _find_workers_by(connection.relay)
        tls = connection.tls
        if tls is None:
            return Security(require_encryption=False)
        return Security(
            tls_ca_file=tls.ca_file,
            tls_client_cert=tls.cert_file,
            tls_client_key=tls.key_file,
            require_encryption=True,
        )

    @property
    def scheduler_address(self) -> str:
        """Address of the scheduler, once a client can connect.

        Raises:
            NotNow: the cluster has ended; the message says why.
            Unavailable: the scheduler did not start in time, or cannot be seen.
        """
        return self._connection().scheduler_address

    def _connection(self) -> models.Connection:
        raise NotImplementedError

    def __repr__(self) -> str:
        record = self._operations.record
        return (
            f"<{type(self).__name__} {record.name!r}: {record.phase.value} at {record.site_title}, "
            f"{text.workers(record)} workers, each {text.worker_size(record.profile)}>"
        )

    def _repr_html_(self) -> str:
        connection = self._operations.connection
        address = connection.scheduler_address if connection else None
        return html.card(self._operations.record, address, self.dashboard_link)


def _find_workers_by(relay: models.RelayWay) -> None:
    """Tell Dask in this kernel where workers are, for ``gather(direct=True)`` and alike."""
    import dask.config

    dask.config.set({"relay.addresses": relay.addresses, "relay.domain": relay.domain, "relay.ca-file": relay.ca_file})


class Cluster(_Handle):
    """One cluster; every method waits until it is done. Made by ``new_cluster`` and ``cluster``.

    Methods return the cluster itself, so that a cell's last line shows it. A ``with`` block closes the cluster it created
    (``with offload.new_cluster(...)``) and leaves alone one that was there (``with offload.cluster(...)``).
    Every method may raise ``OffloadError``: a sentence, the field at fault and the remedy.
    """

    @property
    def record(self) -> models.Cluster:
        """Everything the keeper knows about this cluster, now."""
        return bridge.run(self._operations.refresh())

    @property
    def phase(self) -> Phase:
        """pending, starting, running, stopping, stopped or failed; now."""
        return self.record.phase

    @property
    def reason(self) -> Reason:
        """Why it is in this phase, and what to do about it; now."""
        return self.record.reason

    def scale(self, n: int) -> Cluster:
        """Ask for ``n`` workers and return at once; ends adaptive scaling. The idlest go first, their data moved off."""
        bridge.run(self._operations.change({"workers": n, "adaptive": None}))
        return self

    def adapt(self, minimum: int = 0, maximum: int = 1) -> Cluster:
        """Let the number of workers follow the work, between these two."""
        bridge.run(self._operations.change({"adaptive": {"minimum": minimum, "maximum": maximum}}))
        return self

    def extend(
        self,
        by: str | float | None = None,
        *,
        lifetime: str | float | None = None,
        idle_timeout: str | float | None = None,
    ) -> Cluster:
        """Move the end.

        Args:
            by: this much later than planned now; seconds, or text such as ``1 h``.
            lifetime: instead of ``by``, the whole time from the cluster's creation; 0 = no end.
            idle_timeout: how long it may do nothing; 0 = for ever.
        """
        bridge.run(self._operations.extend({"lifetime_s": lifetime, "idle_timeout_s": idle_timeout}, by))
        return self

    def close(self, timeout: str | float | None = CLOSE_TIMEOUT_S) -> Cluster:
        """Stop the cluster and wait until nothing of it is left; its record, logs and timeline stay.

        Raises:
            Unavailable: something is still there after ``timeout`` (seconds or text); the keeper goes on deleting it.
        """
        bridge.run(self._operations.close(asking.seconds(timeout, "timeout")))
        return self

    def wait_for_workers(self, n_workers: int, timeout: str | float | None = None) -> Cluster:
        """Wait until at least ``n_workers`` are connected; ``timeout`` in seconds or text, None = as long as it takes.

        Raises:
            NotNow: the cluster ended before; the message says why.
            Unavailable: the time is over.
        """
        bridge.run(self._operations.wait_for_workers(n_workers, asking.seconds(timeout, "timeout")))
        return self

    def logs(self, source: str | None = None, tail: str | int = "1 MiB") -> Log | Logs:
        """Return the logs by source, or the log of one source; at most the last ``tail`` of each."""
        logs = bridge.run(self._operations.logs(source, tail))
        return logs if source is None else logs[source]

    def timeline(self) -> TimelineEntries:
        """Return what happened to this cluster and why, oldest first."""
        return bridge.run(self._operations.timeline())

    def get_client(self, **arguments: Any) -> Client:
        """Return a new Dask client of this cluster; arguments go to ``dask.distributed.Client``."""
        from distributed import Client

        return Client(self, **arguments)

    def _connection(self) -> models.Connection:
        known = self._operations.connection
        is_fresh = time.monotonic() - self._operations.connected_at < FRESH_S
        if known is not None and is_fresh and self._operations.has_files():
            return known
        return bridge.run(self._operations.connect())

    def _repr_html_(self) -> str:
        try:
            bridge.run(self._operations.refresh())
        except OffloadError:  # show what was seen last rather than no cell output at all
            return super()._repr_html_()
        return super()._repr_html_()

    def _look(self) -> None:
        # Dask asks on its own thread's loop, every 5 s and when a connection broke; then the answer must be true.
        bridge.run(self._operations.refresh_quietly(LOOK_S))

    def __await__(self) -> Generator[Any, None, Cluster]:
        return self._awaited().__await__()

    async def _awaited(self) -> Cluster:
        await bridge.awaited(self._operations.refresh_quietly(LOOK_S))
        return self

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        if self._created:
            self.close()

    async def __aenter__(self) -> Cluster:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._created:
            await bridge.awaited(self._operations.close(CLOSE_TIMEOUT_S))


class AsyncCluster(_Handle):
    """The same for asyncio: every method is a coroutine and nothing blocks the loop.

    Made by ``await new_cluster(..., asynchronous=True)`` and ``await cluster(name, asynchronous=True)``. Properties hold
    what was seen last; ``await cluster`` looks again.
    """

    @property
    def record(self) -> models.Cluster:
        """Everything the keeper knew about this cluster when it was asked last."""
        return self._operations.record

    @property
    def phase(self) -> Phase:
        """pending, starting, running, stopping, stopped or failed; as last seen."""
        return self.record.phase

    @property
    def reason(self) -> Reason:
        """Why it is in this phase, and what to do about it; as last seen."""
        return self.record.reason

    async def scale(self, n: int) -> AsyncCluster:
        """Ask for ``n`` workers; ends adaptive scaling. See ``Cluster.scale``."""
        await bridge.awaited(self._operations.change({"workers": n, "adaptive": None}))
        return self

    async def adapt(self, minimum: int = 0, maximum: int = 1) -> AsyncCluster:
        """Let the number of workers follow the work, between these two."""
        await bridge.awaited(self._operations.change({"adaptive": {"minimum": minimum, "maximum": maximum}}))
        return self

    async def extend(
        self,
        by: str | float | None = None,
        *,
        lifetime: str | float | None = None,
        idle_timeout: str | float | None = None,
    ) -> AsyncCluster:
        """Move the end. See ``Cluster.extend``."""
        await bridge.awaited(self._operations.extend({"lifetime_s": lifetime, "idle_timeout_s": idle_timeout}, by))
        return self

    async def close(self, timeout: str | float | None = CLOSE_TIMEOUT_S) -> AsyncCluster:  # noqa: ASYNC109
        """Stop the cluster and wait until nothing of it is left. See ``Cluster.close``."""
        await bridge.awaited(self._operations.close(asking.seconds(timeout, "timeout")))
        return self

    async def wait_for_workers(self, n_workers: int, timeout: str | float | None = None) -> AsyncCluster:  # noqa: ASYNC109
        """Wait until at least ``n_workers`` are connected. See ``Cluster.wait_for_workers``."""
        await bridge.awaited(self._operations.wait_for_workers(n_workers, asking.seconds(timeout, "timeout")))
        return self

    async def logs(self, source: str | None = None, tail: str | int = "1 MiB") -> Log | Logs:
        """Return the logs by source, or the log of one source; at most the last ``tail`` of each."""
        logs = await bridge.awaited(self._operations.logs(source, tail))
        return logs if source is None else logs[source]

    async def timeline(self) -> TimelineEntries:
        """Return what happened to this cluster and why, oldest first."""
        return await bridge.awaited(self._operations.timeline())

    async def get_client(self, **arguments: Any) -> Client:
        """Return a new asynchronous Dask client of this cluster."""
        from distributed import Client

        return await Client(self, asynchronous=True, **arguments)

    def _connection(self) -> models.Connection:
        record, connection = self._operations.record, self._operations.connection
        if text.is_final(record) or record.phase is Phase.stopping:
            raise ended(record)
        if connection is None:
            raise self._operations.not_connected()
        if not self._operations.has_files():
            raise self._operations.stale()
        return connection

    def _look(self) -> None:
        # Asked on the user's loop, which must not wait: what is seen now serves the next time.
        if time.monotonic() - self._operations.seen_at > FRESH_S:
            bridge.start(self._operations.refresh_quietly(LOOK_S))

    def __await__(self) -> Generator[Any, None, AsyncCluster]:
        return self._awaited().__await__()

    async def _awaited(self) -> AsyncCluster:
        await bridge.awaited(self._operations.connect())
        return self

    async def __aenter__(self) -> AsyncCluster:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._created:
            await self.close()
