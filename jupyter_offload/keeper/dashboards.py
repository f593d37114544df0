"""Which individual plots a cluster's Dask dashboard has, asked over its private socket."""

from __future__ import annotations

import json
from pathlib import Path

import httpx

from ..api.models import DashboardPlot, DashboardTarget
from ..api.problems import ProblemCode, Unavailable

TIMEOUT_S = 5.0


async def fetch(socket: Path, path: str) -> bytes:
    """Return the body of a page of a dashboard.

    Raises:
        Unavailable: it does not answer, or not with that page.
    """
    try:
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(socket)), timeout=TIMEOUT_S) as http:
            answer = await http.get(f"http://localhost{path}")
    except (httpx.HTTPError, OSError) as error:
        raise _silent(type(error).__name__) from error
    if answer.status_code != 200:
        raise _silent(f"it answered {answer.status_code}")
    return answer.content


def _silent(why: str) -> Unavailable:
    return Unavailable(
        ProblemCode.scheduler_unreachable, f"The cluster's dashboard does not answer ({why}).",
        hint="The scheduler may be very busy; try again in a moment.",
    )  # fmt: skip


class Dashboards:
    """Dashboard pages by socket; they stay the same while the scheduler lives."""

    def __init__(self) -> None:
        self._plots: dict[Path, list[DashboardPlot]] = {}

    async def target(self, socket: Path) -> DashboardTarget:
        """Return the socket and the pages it serves.

        Raises:
            Unavailable: it does not answer.
        """
        if socket not in self._plots:
            try:
                pages = json.loads(await fetch(socket, "/individual-plots.json"))
                plots = [DashboardPlot(title=_title(str(t)), path=str(p).lstrip("/")) for t, p in pages.items()]
            except (ValueError, AttributeError) as error:
                raise _silent("its list of plots cannot be read") from error
            self._plots[socket] = sorted(plots, key=lambda p: p.title)
        return DashboardTarget(socket=str(socket), plots=self._plots[socket])


def _title(text: str) -> str:
    return text.removeprefix("Individual ").strip()
