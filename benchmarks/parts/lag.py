"""How long the Jupyter server's event loop is held up while a cluster starts: a 10 ms ticker inside the server."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack

from ..doors import WORKERS, Door, Labextension, Offload, wait_for
from ..report import Result, interleave
from ..servers import JupyterServer, jupyter_server, labextension_python
from ..stats import quantile
from ..workspace import workspace

UNITS = {"longest": "ms", "99 %": "ms", "over 20 ms, in all": "ms", "window": "s"}
#: All windows are at least so long, or a short start would meet fewer hiccups of the machine than a long one.
WINDOW_S = 4.0
OURS, IDLE, LABEXTENSION, LABEXTENSION_IDLE = (
    "ours",
    "idle, with us",
    "dask-labextension",
    "idle, with dask-labextension",
)
LAG = "benchmarks.lag_extension"


def measure(server: JupyterServer, door: Door | None) -> dict[str, float]:
    """Start a cluster of ``door`` (None = do nothing) and return what the server's ticker saw meanwhile."""
    server.http.get("/benchmark/lag").raise_for_status()
    began = time.monotonic()
    if door is not None:
        door.create()
    try:
        if door is not None:
            wait_for(door.client, WORKERS)
        time.sleep(max(0, began + WINDOW_S - time.monotonic()))
        window = time.monotonic() - began
        late = [1000 * s for s in server.http.get("/benchmark/lag").raise_for_status().json()]
    finally:
        if door is not None:
            door.close()
    return {"longest": max(late), "99 %": quantile(late, 0.99), "over 20 ms, in all": sum(s for s in late if s > 20),
            "window": window}  # fmt: skip


def run(rounds: int, say: Callable[[str], None]) -> Result:
    """Measure idle servers and servers that start a cluster."""
    result = Result("Event loop of the Jupyter server while a cluster starts", UNITS)
    with ExitStack() as stack:
        place = stack.enter_context(workspace())
        ours = stack.enter_context(jupyter_server(place, {"jupyter_offload": True, LAG: True}))
        cases: dict[str, Callable[[], dict[str, float]]] = {
            IDLE: lambda: measure(ours, None),
            OURS: lambda: measure(ours, Offload(place, ours)),
        }
        try:
            python, elsewhere = labextension_python(), stack.enter_context(workspace())
            peer = stack.enter_context(jupyter_server(elsewhere, {"dask_labextension": True, LAG: True}, python=python))
            cases[LABEXTENSION_IDLE] = lambda: measure(peer, None)
            cases[LABEXTENSION] = lambda: measure(peer, Labextension(peer))
        except (RuntimeError, OSError, TimeoutError, subprocess.SubprocessError) as error:
            result.failures.append(f"dask-labextension: {error}")
        interleave(cases, rounds, result, say)
    lag, idle = result.median(OURS, "longest"), result.median(IDLE, "longest")
    result.goal("longest lag while a cluster starts", lag, 10, unit="ms")
    if lag is not None and idle is not None:
        result.notes.append(f"Longest lag beyond that of the same server at rest: {lag - idle:.1f} ms.")
    result.notes.append(f"Every window is at least {WINDOW_S:g} s; the first start of each server is the warm-up.")
    return result
