"""From the request to the first result of a cluster of two one-thread workers, and one worker more."""

from __future__ import annotations

import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from ..doors import WORKER_MEMORY, WORKERS, Door, Labextension, Local, Offload, wait_for
from ..report import Result, interleave
from ..servers import JupyterServer, jupyter_server, labextension_python
from ..workspace import workspace

UNITS = {"client": "s", "first result": "s", "all workers": "s", "scale +1": "s"}

OURS, OURS_SERVER, OURS_COLD = "ours, warm", "ours, warm, by Jupyter server", "ours, cold (keeper just started)"
OURS_NOTHING = "ours, from nothing (no keeper)"
LOCAL, LOCAL_TLS, LOCAL_COLD = "LocalCluster, warm", "LocalCluster, warm, TLS", "LocalCluster in a new Python"
LABEXTENSION = "dask-labextension 7.0.0"

COLD_LOCAL = f"""
if __name__ == "__main__":
    from distributed import Client, LocalCluster
    with LocalCluster(n_workers={WORKERS}, threads_per_worker=1, memory_limit="{WORKER_MEMORY.replace(" ", "")}",
                      dashboard_address="127.0.0.1:0") as cluster, Client(cluster) as client:
        assert client.submit(abs, -1, pure=False).result(60) == 1
        print("first", flush=True)
"""


def measure(door: Door, began: float | None = None, *, scale: bool = True) -> dict[str, float]:
    """Create, take the first result, wait for all workers, add one worker, close."""
    began = time.monotonic() if began is None else began
    measured = {}
    door.create()
    try:
        measured["client"] = time.monotonic() - began
        # A builtin: a function of this module would have every worker import the benchmarks, which no user's cluster does.
        if door.client.submit(abs, -2, pure=False).result(90) != 2:
            raise RuntimeError("wrong result")
        measured["first result"] = time.monotonic() - began
        wait_for(door.client, WORKERS)
        measured["all workers"] = time.monotonic() - began
        if scale:
            asked = time.monotonic()
            door.scale(WORKERS + 1)
            wait_for(door.client, WORKERS + 1)
            measured["scale +1"] = time.monotonic() - asked
    finally:
        door.close()
    return measured


def cold(*, keeper_runs: bool) -> dict[str, float]:
    """Our first cluster in a new world, with the keeper started just before or not at all."""
    with workspace() as place:
        door = Offload(place)
        began = time.monotonic()
        if keeper_runs:
            door.ask("GET", "/health")
            began = time.monotonic()
        return measure(door, began, scale=False)


def cold_local() -> dict[str, float]:
    """A script with a LocalCluster, from the start of its Python to its first result."""
    began = time.monotonic()
    with workspace() as place:
        script = place.folder / "script.py"
        script.write_text(COLD_LOCAL)
        with subprocess.Popen(
            [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=place.environment
        ) as process:
            if process.stdout is None or process.stdout.readline() != b"first\n":
                raise RuntimeError("the script printed no result")
            took = time.monotonic() - began
    return {"first result": took}


@contextmanager
def _labextension() -> Iterator[JupyterServer]:
    alike = {
        "DASK_LABEXTENSION__FACTORY__KWARGS__N_WORKERS": str(WORKERS),
        "DASK_LABEXTENSION__FACTORY__KWARGS__THREADS_PER_WORKER": "1",
        "DASK_LABEXTENSION__FACTORY__KWARGS__MEMORY_LIMIT": WORKER_MEMORY.replace(" ", ""),
        "DASK_LABEXTENSION__DEFAULT__WORKERS": str(WORKERS),
    }
    python = labextension_python()
    with workspace() as place, jupyter_server(place, {"dask_labextension": True}, python=python, env=alike) as server:
        yield server


def run(rounds: int, say: Callable[[str], None]) -> Result:
    """Measure every door once a round."""
    # The labextension's environment lacks packages of this one that play no part here.
    warnings.filterwarnings("ignore", message="Mismatched versions found")
    result = Result("Start of a local cluster", UNITS)
    with ExitStack() as stack:
        place, served = stack.enter_context(workspace()), stack.enter_context(workspace())
        server = stack.enter_context(jupyter_server(served, {"jupyter_offload": True}))
        cases: dict[str, Callable[[], dict[str, float]]] = {
            OURS: lambda: measure(Offload(place)),
            OURS_SERVER: lambda: measure(Offload(served, server)),
            LOCAL: lambda: measure(Local()),
            LOCAL_TLS: lambda: measure(Local(tls=True)),
            OURS_COLD: lambda: cold(keeper_runs=True),
            OURS_NOTHING: lambda: cold(keeper_runs=False),
            LOCAL_COLD: cold_local,
        }
        try:
            peer = stack.enter_context(_labextension())
            cases[LABEXTENSION] = lambda: measure(Labextension(peer))
        except (RuntimeError, OSError, TimeoutError, subprocess.SubprocessError) as error:
            result.failures.append(f"dask-labextension: {error}")
        interleave(cases, rounds, result, say)
    _goals(result)
    result.notes += [
        "Ours has TLS and a dashboard, and its scheduler is a process of its own. LocalCluster runs in a process that has "
        "imported and used everything before; its scheduler is a thread of that process; dashboard on.",
        "client: a Dask client is connected. all workers: both are registered. scale +1: from asking to a third registered.",
    ]
    return result


def _goals(result: Result) -> None:
    for metric in ("first result", "all workers"):
        result.goal(f"{metric}, warm, of LocalCluster", result.ratio(metric, OURS, LOCAL), 0.35)
        result.goal(f"{metric}, warm, of LocalCluster with TLS", result.ratio(metric, OURS, LOCAL_TLS), 0.35)
    result.goal(
        "first result by Jupyter server, of LocalCluster", result.ratio("first result", OURS_SERVER, LOCAL), 0.35
    )
    result.goal("first result by Jupyter server, of dask-labextension",
                result.ratio("first result", OURS_SERVER, LABEXTENSION), 0.1)  # fmt: skip
    result.goal("scale +1, of LocalCluster", result.ratio("scale +1", OURS, LOCAL), 0.15)
    result.goal("first result, cold, of warm LocalCluster", result.ratio("first result", OURS_COLD, LOCAL), 1.2)
    result.goal("first result, from nothing, of LocalCluster in a new Python",
                result.ratio("first result", OURS_NOTHING, LOCAL_COLD), 1.2)  # fmt: skip
