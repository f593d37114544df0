"""What the loop asks of relays: which one a cluster uses, a lease there, credentials for its jobs, and why workers wait."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cryptography.x509
from cryptography.hazmat.primitives.serialization import Encoding

from ...api import locations
from ...api.models import Reason
from ...api.problems import BadInput, ProblemCode
from ...ports import Backend, Capability, DialOut
from ...relay.certificates import make_cluster_certificates
from ...relay.names import fingerprint
from ..store import Record, Store
from .admission import Admission
from .dial_out import RelayDialOut
from .embedded import Embedded, guessed_host
from .files import RelayConfiguration, read_configuration
from .leases import Leases
from .problems import RelayProblem, refused, unregistered
from .settings import EmbeddedRelay, RelayUse

log = logging.getLogger(__name__)
#: A relay of our own has nobody to be protected from us, and must outlast a keeper that is not started again soon.
EMBEDDED_LEASE_S = 86400.0
REVOKE_TIMEOUT_S = 5.0
#: Characters; a relay tells all of it to its peers, in one line of at most 65536.
LONGEST_REVOKED = 60_000
_LOOK_S = 1.0


class Relays:
    """The facility's relay, or one that the keeper runs.

    Args:
        store: the records.
        wake: has a cluster looked at.
    """

    def __init__(self, store: Store, wake: Callable[[str], None]) -> None:
        self._store = store
        self.embedded = Embedded()
        self._leases = Leases(self._admit, self._withdraw, wake)
        self._wanted = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None

    # ------------------------------------------------------------ life
    def start(self) -> None:
        """Look after a relay of our own from now on: one that died is started again, one that nobody needs is ended."""
        self._watching = asyncio.create_task(self._watch(), name="embedded relay")

    async def stop(self) -> None:
        """Let go. A relay of our own goes on while a cluster needs it."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        await self._leases.stop()
        if not self._embedded_in_use():
            await self.embedded.end()
        self.embedded.close()

    async def _watch(self) -> None:
        while True:
            try:
                await self._look_at_embedded()
            except Exception:  # it is looked at again
                log.warning("the relay on this host cannot be looked after", exc_info=True)
                await asyncio.sleep(_LOOK_S)

    async def _look_at_embedded(self) -> None:
        if not self._embedded_in_use():
            await self.embedded.end()
            self._wanted.clear()
            await self._wanted.wait()
        alive = await self.embedded.running()
        await asyncio.sleep(_LOOK_S)
        if alive and self._embedded_in_use() and not await self.embedded.running():
            log.warning("the relay on this host died; it is started again")
            self._leases.take_again()

    def _embedded_in_use(self) -> bool:
        here = locations.host_name()
        return any(
            r.relay is not None and r.relay.embedded and not r.settled and r.host == here for r in self._store.all()
        )

    # ------------------------------------------------------------ for the doors
    async def require(self, site: str, backend: Backend) -> list[str]:
        """See that a site that needs a relay can have one; return what its user should know before.

        Raises:
            BadInput: ``relay.yaml`` has mistakes; ``errors`` lists them all.
        """
        if Capability.dial_out not in backend.capabilities:
            return []
        configuration = await asyncio.to_thread(read_configuration)
        if configuration.problems:
            raise BadInput(
                ProblemCode.site_unhealthy,
                f"Site {site!r} needs a relay, and {configuration.path} has mistakes.", field="site",
                hint="See the errors, or run: jupyter offload sites check", errors=configuration.problems,
            )  # fmt: skip
        told = configuration.file.embedded
        if configuration.facility is not None or (told is not None and told.host is not None):
            return []
        host = await asyncio.to_thread(guessed_host)
        return [f"Its workers dial this host as {host}, which is a guess; offload/relay.yaml can say better."]

    # ------------------------------------------------------------ for the loop
    async def bind(self, record: Record) -> RelayUse:
        """Return the relay that a cluster is started with.

        Raises:
            RelayProblem: it cannot be told which.
            OSError: the disk is full.
        """
        configuration = await asyncio.to_thread(read_configuration)
        use = await self._use(configuration)
        files = await asyncio.to_thread(make_cluster_certificates, Path(record.folder), record.id)
        return use.model_copy(update={"cluster": await asyncio.to_thread(_fingerprint, files.ca_file)})

    async def _use(self, configuration: RelayConfiguration) -> RelayUse:
        if configuration.problems:
            first = configuration.problems[0]
            raise refused(
                f"{configuration.path} is wrong: {first.field}: {first.message}",
                f"{first.hint or ''} Then start again.",
            )
        if configuration.facility is not None:
            return configuration.facility
        file = configuration.file
        lease_s = float(file.lease_s) if "lease_s" in file.model_fields_set else EMBEDDED_LEASE_S
        return await self.embedded.use(
            file.embedded or EmbeddedRelay(), file.resume_s, lease_s, in_use=self._embedded_in_use()
        )

    def keep(self, record: Record) -> None:
        """See that a cluster has its lease; idempotent. Nothing for a cluster without a relay."""
        if record.relay is not None:
            self._leases.keep(record)
            if record.relay.embedded:
                self._wanted.set()

    def problem(self, record: Record, status: Mapping[str, Any] | None) -> Reason | None:
        """Return why workers of a cluster wait at the relay, None where they need not."""
        if record.relay is None:
            return None
        return self._leases.problem(record.id) or unregistered(record.relay.domain, status)

    def dial_out(self, record: Record) -> DialOut | None:
        """Return how jobs of a cluster get their credentials; None for a cluster without a relay."""
        return RelayDialOut(record, record.relay, self._issued, self._revoke) if record.relay is not None else None

    async def give_back(self, record: Record) -> None:
        """Let the relay forget a cluster that is over."""
        if record.relay is not None:
            await self._leases.give_back(record)

    # ------------------------------------------------------------ jobs
    async def _issued(self, record_id: str, pattern: str, expires_at: float) -> None:
        """Note until when a job's certificate is valid, before anybody has it."""

        def edit(use: RelayUse) -> RelayUse:
            longest = max(expires_at, use.issued.get(pattern, 0))
            return use.model_copy(update={"issued": {**use.issued, pattern: longest}})

        await self._edit(record_id, edit)

    async def _revoke(self, record_id: str, pattern: str) -> None:
        """Revoke what a job has: first in the record, so that a relay that cannot be told now is told with the lease."""
        now = time.time()

        def edit(use: RelayUse) -> RelayUse:
            issued = {p: end for p, end in use.issued.items() if p != pattern and end > now}
            revoked = {p: end for p, end in use.revoked.items() if end > now}
            if (end := use.issued.get(pattern)) is not None:
                revoked[pattern] = end
            return use.model_copy(update={"issued": issued, "revoked": revoked})

        use = await self._edit(record_id, edit)
        if use is None or pattern not in use.revoked:
            return  # it never had a certificate, or one that is over
        try:
            async with asyncio.timeout(REVOKE_TIMEOUT_S):
                await (await self._admission(use)).revoke(use.cluster, pattern)
        except (RelayProblem, TimeoutError) as error:
            log.warning("cluster %s: %s is revoked with its next lease: %s", record_id, pattern, error)
            self._leases.take_again(record_id)

    async def _edit(self, record_id: str, edit: Callable[[RelayUse], RelayUse]) -> RelayUse | None:
        def whole(record: Record) -> tuple[Record, tuple[()]]:
            use = edit(record.relay) if record.relay is not None else None
            return (record if use == record.relay else record.model_copy(update={"relay": use})), ()

        return (await self._store.update(record_id, whole)).relay

    # ------------------------------------------------------------ admission
    async def _admit(self, record: Record) -> float:
        assert record.relay is not None
        if record.relay.embedded:
            configuration = await asyncio.to_thread(read_configuration)
            if await self.embedded.ensure(configuration.file.embedded or EmbeddedRelay()):
                self._leases.take_again()
        newest = self._store.get(record.id)
        use = newest.relay if newest is not None and newest.relay is not None else record.relay
        return await (await self._admission(use)).admit(Path(record.folder), use.lease_s, _sayable(use.revoked))

    async def _withdraw(self, record: Record) -> None:
        assert record.relay is not None
        if record.relay.embedded and not await self.embedded.running():
            return
        await (await self._admission(record.relay)).withdraw(record.relay.cluster)

    async def _admission(self, use: RelayUse) -> Admission:
        """Return where a cluster is admitted: as it is configured now, since tokens and sockets may move."""
        if not use.embedded:
            with contextlib.suppress(OSError):
                now = (await asyncio.to_thread(read_configuration)).facility
                if now is not None and now.domain == use.domain:
                    use = use.model_copy(update={n: getattr(now, n) for n in ("admission", "identity", "ca_file")})
        return Admission(use)


def _sayable(revoked: Mapping[str, float]) -> list[str]:
    """Return what fits into one message of a relay; those that end by themselves first give way."""
    size, names = 0, []
    for name, _ in sorted(revoked.items(), key=lambda item: -item[1]):
        size += len(name) + 4
        if size > LONGEST_REVOKED:
            log.warning("%d certificates are revoked, too many to tell a relay: %s is not told", len(revoked), name)
            break
        names.append(name)
    return names


def _fingerprint(ca_file: Path) -> str:
    return fingerprint(cryptography.x509.load_pem_x509_certificate(ca_file.read_bytes()).public_bytes(Encoding.DER))
