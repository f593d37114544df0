"""Whether a scheduler can be reached from here, and what it says of itself on its HTTP port."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from . import names

_CONNECT_S, _ANSWER_S = 2.0, 5.0
#: How long it counts that a scheduler could, or could not, be reached; its numbers are asked anew each time.
_REACHED_S, _MISSED_S = 5.0, 3.0


@dataclass(frozen=True)
class Reached:
    """Where a scheduler answers from here: a host name or an address."""

    host: str

    @property
    def address(self) -> str:
        """Return what a client is told."""
        return f"tcp://{self.host}:{names.SCHEDULER_PORT}"

    @property
    def dashboard(self) -> str:
        """Return where its pages are."""
        return f"http://{self.host}:{names.DASHBOARD_PORT}"


class Reach:
    """Tries the ways to schedulers. It never opens one that is not there, such as a port-forward."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, Reached | None]] = {}
        self._http = httpx.AsyncClient(timeout=_ANSWER_S, trust_env=False)

    async def find(self, uid: str, hosts: Sequence[str]) -> Reached | None:
        """Return the first of these hosts where a scheduler listens, None if none does.

        Args:
            uid: of the scheduler's pod: another pod is tried anew.
            hosts: names and addresses, the best first.
        """
        at, reached = self._known.get(uid, (0.0, None))
        if time.monotonic() - at < (_REACHED_S if reached else _MISSED_S) and at:
            return reached
        for host in hosts:
            if await _listens(host):
                reached = Reached(host)
                break
        else:
            reached = None
        self._known = {k: v for k, v in self._known.items() if time.monotonic() - v[0] < 10 * _MISSED_S}
        self._known[uid] = (time.monotonic(), reached)
        return reached

    async def identity(self, reached: Reached) -> Mapping[str, Any] | None:
        """Return what the scheduler tells of its workers and tasks; None if it does not answer."""
        with contextlib.suppress(httpx.HTTPError, ValueError):
            identity, counts = await asyncio.gather(
                self._http.get(f"{reached.dashboard}/json/identity.json"),
                self._http.get(f"{reached.dashboard}/json/counts.json"),
            )
            if identity.status_code == counts.status_code == httpx.codes.OK:
                return {**identity.json(), "counts": counts.json()}
        return None

    async def close(self) -> None:
        """Release connections."""
        await self._http.aclose()


async def _listens(host: str) -> bool:
    try:
        async with asyncio.timeout(_CONNECT_S):
            _, writer = await asyncio.open_connection(host, names.SCHEDULER_PORT)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
