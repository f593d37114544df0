"""Certificates that the relay says are revoked, by cluster, and the connections that end with them."""

from __future__ import annotations

import logging
import weakref
from collections import defaultdict
from collections.abc import Iterable

from distributed.comm.core import Comm, FatalCommClosedError

from ..names import is_revoked

log = logging.getLogger("distributed.relay")


class Revocations:
    """What is revoked in one cluster, as the relays last told."""

    def __init__(self) -> None:
        self._names: frozenset[str] = frozenset()
        self._comms: weakref.WeakKeyDictionary[Comm, tuple[str, ...]] = weakref.WeakKeyDictionary()

    def update(self, names: Iterable[str]) -> None:
        """Take in names that are revoked besides; connections with them are cut. A name never ceases to be revoked."""
        new = frozenset(names) - self._names
        if not new:
            return
        self._names |= new
        for comm, patterns in list(self._comms.items()):
            if is_revoked(patterns, self._names):
                log.warning("A certificate was revoked; cutting %r", comm)
                comm.abort()

    def check(self, patterns: tuple[str, ...]) -> None:
        """Refuse a certificate that is revoked.

        Raises:
            FatalCommClosedError: it is.
        """
        if is_revoked(patterns, self._names):
            raise FatalCommClosedError(f"the certificate of {', '.join(patterns) or 'the peer'} was revoked")

    def watch(self, comm: Comm, patterns: tuple[str, ...]) -> None:
        """Cut this connection once its peer's certificate is revoked."""
        self._comms[comm] = patterns


_clusters: defaultdict[str, Revocations] = defaultdict(Revocations)


def of(cluster: str) -> Revocations:
    """Return what is revoked in the cluster with this fingerprint."""
    return _clusters[cluster]
