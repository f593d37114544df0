"""How much of everything the hub takes, and how it keeps to that: by source address, and the oldest goes first."""

from __future__ import annotations

import asyncio
import ipaddress
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

#: File descriptors that are not for connections: listening sockets, the loop's own, certificates that are read again, pipes.
_RESERVED_DESCRIPTORS = 128


@dataclass(frozen=True)
class HubLimits:
    """Bounds of one relay process. ``None`` by source is no bound; IPv6 addresses count by their /64.

    A site's workers may all come from one address, so bounds by source are wide. ``silent`` connections have not sent a
    whole hello, ``handshakes`` are unfinished TLS (about 35 kB each), ``held`` are, by cluster, connections that wait for a
    peer to come back.
    """

    connections: int = 40_000
    connections_per_source: int | None = 16_384
    silent: int = 1024
    silent_per_source: int | None = 512
    handshakes: int = 1024
    handshakes_per_source: int | None = 512
    services: int = 1024
    services_per_source: int | None = 128
    held: int = 256
    hello_s: float = 5.0
    handshake_s: float = 10.0
    register_s: float = 10.0
    dial_back_s: float = 10.0
    keepalive_s: float = 10.0
    #: For so long after a start, or after a peer was lost, a connection waits ``hold_s`` for its peer instead of being refused.
    grace_s: float = 15.0
    hold_s: float = 5.0


class HasSource(Protocol):
    """Whatever came from an address."""

    @property
    def source(self) -> str:
        """The address, as ``source_of`` gives it."""
        ...


T = TypeVar("T", bound=HasSource)


def source_of(address: str) -> str:
    """Return what an address counts as: itself, an IPv6 address as its /64, since one host has a whole one."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ipaddress.IPv6Network((ip, 64), strict=False))


class Stage(Generic[T]):
    """Those who are in one unfinished state, each for ``timeout_s`` at most.

    Args:
        limit: how many in all; one more, and the oldest is dropped.
        per_source: how many of one source; one more, and its own oldest is dropped.
        drop: called with one who is out, and with ``evicted`` or ``timeout``; it has left already.
    """

    def __init__(self, limit: int, per_source: int | None, timeout_s: float, drop: Callable[[T, str], None]) -> None:
        self.limit = limit
        self._per_source = per_source
        self._timeout_s = timeout_s
        self._drop = drop
        self._inside: dict[T, float] = {}
        self._by_source: dict[str, dict[T, None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._inside)

    def __contains__(self, one: T) -> bool:
        return one in self._inside

    def enter(self, one: T) -> None:
        """Take one in; the oldest may have to go for it."""
        loop = asyncio.get_running_loop()
        self._inside[one] = loop.time() + self._timeout_s
        mine = self._by_source.setdefault(one.source, {})
        mine[one] = None
        if self._timer is None:
            self._timer = loop.call_later(self._timeout_s, self._expire)
        if self._per_source is not None and len(mine) > self._per_source:
            self._out(next(iter(mine)), "evicted")
        elif len(self._inside) > self.limit:
            self.evict_oldest()

    def leave(self, one: T) -> bool:
        """Return whether it was inside; it no longer is."""
        if self._inside.pop(one, None) is None:
            return False
        mine = self._by_source[one.source]
        del mine[one]
        if not mine:
            del self._by_source[one.source]
        return True

    def evict_oldest(self) -> bool:
        """Drop the oldest; return whether there was one."""
        oldest = next(iter(self._inside), None)
        if oldest is None:
            return False
        self._out(oldest, "evicted")
        return True

    def close(self) -> None:
        """Drop all."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._inside:
            self._out(next(iter(self._inside)), "closed")

    def _out(self, one: T, why: str) -> None:
        self.leave(one)
        self._drop(one, why)

    def _expire(self) -> None:
        """The timeout is the same for all, so the oldest is always the next: one timer is enough."""
        loop = asyncio.get_running_loop()
        self._timer = None
        while self._inside:
            one, deadline = next(iter(self._inside.items()))
            if deadline > loop.time():
                self._timer = loop.call_at(deadline, self._expire)
                return
            self._out(one, "timeout")


def raise_descriptor_limit() -> int:
    """Raise this process's bound on file descriptors as far as it may; return how many connections they allow."""
    if sys.platform == "win32":
        return 512
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = 1 << 20
    if soft < hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError):  # macOS allows less than it says
            pass
    return max(soft - _RESERVED_DESCRIPTORS, 64)
