"""Leases: which clusters are admitted, for whom, and until when. What is not renewed in time is cut."""

from __future__ import annotations

import asyncio
import fnmatch
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from .config import Quota, QuotaFor
from .events import Events
from .problems import Problem, bad_request
from .registry import ClusterLimits, Registry, merged
from .store import LeaseStore, StoredLease

LOOK_S = 1.0
_PENDING = ClusterLimits()


@dataclass(frozen=True)
class Terms:
    """What may be had: shortest and longest lease in seconds, and quotas; of those for some the first that fits counts."""

    shortest_s: float
    longest_s: float
    quota: Quota
    quotas: Sequence[QuotaFor] = ()

    def quota_of(self, identity: str) -> Quota:
        """Return the quota of an identity."""
        return next((q for q in self.quotas if fnmatch.fnmatchcase(identity, q.identity)), self.quota)

    def limits_of(self, identity: str) -> ClusterLimits:
        """Return the bounds of its clusters."""
        quota = self.quota_of(identity)
        return ClusterLimits(
            peers=quota.peers, connections=quota.connections, pending=min(quota.connections, _PENDING.pending),
            pending_per_peer=min(quota.connections, _PENDING.pending_per_peer),
        )  # fmt: skip


@dataclass(frozen=True)
class Lease:
    """A lease of now. ``ends`` and ``confirmed_ends`` are monotonic: a clock that is set cuts nobody."""

    stored: StoredLease
    ends: float
    confirmed_ends: float


class Leases:
    """All leases of this relay, in memory and on disk; the registry has the same clusters.

    Args:
        store: of the leases of this relay, and of those that share its folder.
        registry: of the data plane.
        terms: what may be had.
    """

    def __init__(
        self,
        store: LeaseStore,
        registry: Registry,
        terms: Terms,
        events: Events,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._registry = registry
        self._terms = terms
        self._events = events
        self._clock = clock
        self._leases: dict[str, Lease] = {}
        self._writing = asyncio.Lock()
        self._disk_bad = False
        self.lapsed = 0

    def __len__(self) -> int:
        return len(self._leases)

    def get(self, cluster: str) -> Lease | None:
        """Return the lease of a cluster; None when it is not admitted."""
        return self._leases.get(cluster)

    def left_s(self, lease: Lease) -> float:
        """Return how many seconds a lease still has."""
        return max(0.0, lease.ends - self._clock())

    def set_terms(self, terms: Terms) -> None:
        """Take over new quotas, also for clusters that are admitted; leases that are longer than allowed now stay so."""
        self._terms = terms
        for lease in self._leases.values():
            self._admit(lease.stored)

    async def admit(
        self, cluster: str, ca_pem: str, identity: str, wanted_s: float, revoked: Collection[str], *, confirmed: bool
    ) -> Lease:
        """Give a lease or renew it.

        Args:
            cluster: the fingerprint of the CA.
            ca_pem: the CA's certificate; whoever asks has proved to have its key.
            identity: who asks.
            wanted_s: how long; the terms may cut it.
            revoked: what certificates are to be refused, besides those that are known.
            confirmed: False when the identity is taken for granted since nobody can confirm it now; then a lease that is there
                goes on for one length more than it was confirmed for, and no longer.

        Raises:
            Problem: it is somebody else's; the quota is used up; the disk takes nothing.
        """
        async with self._writing:
            known = self.get(cluster)
            if known is not None:
                check_owner(known, identity)
            else:
                self._check_quota(identity)
            lease = self._next(known, cluster, ca_pem, identity, wanted_s, revoked, confirmed)
            try:
                self._admit(lease.stored)
            except ValueError as error:
                raise bad_request(f"{error}.") from error
            try:
                await self._save(lease, renewed=known is not None)
            except Problem:
                self._registry.withdraw(cluster)
                raise
            self._leases[cluster] = lease
            return lease

    async def revoke(self, cluster: str, identity: str, pattern: str) -> Lease:
        """Refuse certificates of this name or pattern from now on, and cut them.

        Raises:
            Problem: there is no such cluster, it is somebody else's, or the disk takes nothing.
        """
        async with self._writing:
            lease = owned(self.get(cluster), cluster, identity)
            revoked = tuple(sorted({*lease.stored.revoked, pattern}))
            try:
                self._registry.revoke(cluster, revoked)  # first: a disk that is full must not keep a thief in
            except ValueError as error:
                raise bad_request(f"{error}.") from error
            lease = self._leases[cluster] = replace(lease, stored=replace(lease.stored, revoked=revoked))
            await self._save(lease, renewed=False)
            return lease

    async def withdraw(self, cluster: str, identity: str) -> None:
        """End a lease and cut the cluster's connections; one that is not there is no error.

        Raises:
            Problem: it is somebody else's, or the disk takes nothing.
        """
        async with self._writing:
            lease = self.get(cluster)
            if lease is None:
                return
            check_owner(lease, identity)
            self._put_out(lease, "withdrawn")
            try:
                await asyncio.to_thread(self._store.end, lease.stored)
            except OSError as error:
                raise self._disk_fails(error) from error

    # ------------------------------------------------------------ time and disk
    async def open(self) -> None:
        """Take over what is on disk.

        Raises:
            OSError: it cannot be read.
        """
        async with self._writing:
            for stored in await asyncio.to_thread(self._store.changes):
                self._take_over(stored)

    async def watch(self) -> None:
        """End what lapses, and follow other relays on the same folder, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            async with self._writing:
                try:
                    changes = await asyncio.to_thread(self._store.changes)
                except OSError as error:
                    self._disk_fails(error)
                    changes = []
                for stored in changes:
                    self._take_over(stored)
                now = self._clock()
                for lease in [one for one in self._leases.values() if one.ends <= now]:
                    # its file is left to the sweep: another relay may be renewing it at this moment
                    self.lapsed += 1
                    self._put_out(lease, "lapsed")

    def _take_over(self, stored: StoredLease) -> None:
        """Believe a file that another process wrote. Its wall clock is not worth more time than was granted."""
        left_s = min(stored.expires_at - time.time(), stored.lease_s)
        known = self._leases.get(stored.cluster)
        if stored.ended or left_s <= 0:
            if known is not None and stored.ended:
                del self._leases[stored.cluster]
                self._registry.withdraw(stored.cluster)
            return
        if known is not None:  # two may have revoked at the same time
            stored = replace(stored, revoked=merged(known.stored.revoked, stored.revoked))
        now = self._clock()
        confirmed_s = min(stored.confirmed_until - time.time(), stored.lease_s)
        try:
            self._admit(stored)
        except ValueError as error:
            self._events.log("lease-corrupt", cluster=stored.cluster, reason=str(error))
            return
        self._leases[stored.cluster] = Lease(stored, now + left_s, now + confirmed_s)

    def _put_out(self, lease: Lease, why: str) -> None:
        cluster = lease.stored.cluster
        del self._leases[cluster]
        self._registry.withdraw(cluster)
        self._events.log(f"lease-{why}", cluster=cluster, identity=lease.stored.identity)

    async def _save(self, lease: Lease, *, renewed: bool) -> None:
        """A lease that is there is renewed even if the disk is full: only a restart would miss it."""
        try:
            await asyncio.to_thread(self._store.save, lease.stored)
        except OSError as error:
            problem = self._disk_fails(error)
            if not renewed:
                raise problem from error
        else:
            self._disk_bad = False

    def _disk_fails(self, error: OSError) -> Problem:
        if not self._disk_bad:
            self._events.log("disk-fails", folder=str(self._store.folder), reason=str(error))
        self._disk_bad = True
        return Problem(
            503, "storage", "The relay's disk takes nothing now.",
            "Its administrator finds the cause in the log; try again later.", retry_after_s=10,
        )  # fmt: skip

    # ------------------------------------------------------------ terms
    def _next(
        self, known: Lease | None, cluster: str, ca_pem: str, identity: str, wanted_s: float,
        revoked: Collection[str], confirmed: bool,
    ) -> Lease:  # fmt: skip
        """Return the lease as it is from now on."""
        now, wall = self._clock(), time.time()
        lease_s = min(max(wanted_s, self._terms.shortest_s), self._terms.longest_s)
        ends = confirmed_ends = now + lease_s
        before: tuple[str, ...] = ()
        if known is not None:
            before = known.stored.revoked
            if not confirmed:
                confirmed_ends = known.confirmed_ends
                ends = max(known.ends, min(ends, confirmed_ends + known.stored.lease_s))
        stored = StoredLease(
            cluster, identity, ca_pem, lease_s, wall + ends - now, wall + confirmed_ends - now, merged(before, revoked)
        )
        return Lease(stored, ends, confirmed_ends)

    def _admit(self, stored: StoredLease) -> None:
        limits = self._terms.limits_of(stored.identity)
        self._registry.admit(stored.cluster, stored.ca_pem, stored.identity, limits, stored.revoked)

    def _check_quota(self, identity: str) -> None:
        quota = self._terms.quota_of(identity)
        mine = sum(1 for lease in self._leases.values() if lease.stored.identity == identity)
        if mine >= quota.clusters:
            raise Problem(
                403, "quota-exceeded", f"{identity} has {mine} clusters here, of {quota.clusters} that it may have.",
                "Stop a cluster that you no longer need, or ask the relay's administrator for more.",
            )  # fmt: skip


def check_owner(lease: Lease, identity: str) -> None:
    """See that a lease belongs to whoever asks.

    Raises:
        Problem: it does not.
    """
    if lease.stored.identity != identity:
        raise Problem(
            403, "not-yours", f"The cluster was admitted by somebody else than {identity}.",
            "Use the identity that admitted it; once its lease is over, whoever has the CA's key may admit it.",
        )  # fmt: skip


def owned(lease: Lease | None, cluster: str, identity: str) -> Lease:
    """Return a lease that is there and belongs to whoever asks.

    Raises:
        Problem: there is none, or it is somebody else's.
    """
    if lease is None:
        raise Problem(404, "not-found", f"The cluster {cluster} is not admitted here.", "Admit it.")
    check_owner(lease, identity)
    return lease
