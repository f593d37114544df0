"""Tickets: who may look at a dashboard from a sandboxed frame, which has no cookie to show.

A ticket is a random name that stands for one user and one cluster for five minutes. Asking again before it lapses renews
it under the same name, so that a page that is shown keeps working; nothing else renews it. Tickets lie in memory only, so
they end with the server.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

LIFE_S = 300.0


@dataclass
class Ticket:
    """What a name stands for. ``expires_at`` is by the clock of the book that issued it."""

    user: str
    cluster_id: str
    expires_at: float


class TicketBook:
    """All tickets of this server. ``clock`` returns seconds and never goes backwards."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tickets: dict[bytes, Ticket] = {}
        self._names: dict[tuple[str, str], str] = {}

    def issue(self, user: str, cluster_id: str) -> str:
        """Return the name of this user's ticket for this cluster, renewed or new."""
        for ticket in list(self._tickets.values()):
            if self.left_s(ticket) <= 0:
                self._drop(ticket)
        name = self._names.setdefault((user, cluster_id), secrets.token_urlsafe(32))
        ticket = self._tickets.setdefault(_digest(name), Ticket(user, cluster_id, 0))
        ticket.expires_at = self._clock() + LIFE_S
        return name

    def find(self, name: str) -> Ticket | None:
        """Return a valid ticket. Looked up by digest, so that the time it takes tells nothing about other names."""
        ticket = self._tickets.get(_digest(name))
        return None if ticket is None or self.left_s(ticket) <= 0 else ticket

    def left_s(self, ticket: Ticket) -> float:
        """Return how long a ticket is still valid; not above zero once it lapsed or was withdrawn."""
        return ticket.expires_at - self._clock()

    def withdraw(self, cluster_id: str) -> None:
        """End all tickets of a cluster."""
        for ticket in [t for t in self._tickets.values() if t.cluster_id == cluster_id]:
            self._drop(ticket)

    def _drop(self, ticket: Ticket) -> None:
        ticket.expires_at = self._clock()
        del self._tickets[_digest(self._names.pop((ticket.user, ticket.cluster_id)))]


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()
