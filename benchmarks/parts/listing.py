"""How long the list of clusters takes: 50 running clusters, without workers and with 2000 simulated ones."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack

import httpx

from ..doors import LIMIT_S, Offload
from ..report import Result, interleave
from ..servers import jupyter_server
from ..simulated import install
from ..stats import quantile
from ..workspace import until, workspace

UNITS = {"median": "ms", "95 %": "ms", "longest": "ms", "answer": "KiB"}
CLUSTERS, REQUESTS = 50, 40
WORKERS_OF_EACH = 40

SITE = """
title: Benchmark
backend: simulated
maximum_clusters: 100
profiles:
  - {name: small, cores: 1, memory_bytes: 2 GiB, maximum_workers: 1000, idle_timeout_s: 0}
"""


def measure(http: httpx.Client, path: str) -> dict[str, float]:
    """Ask ``REQUESTS`` times, one after the other, and return how long the answers took."""
    took, size = [], 0
    for _ in range(REQUESTS):
        began = time.perf_counter()
        answer = http.get(path)
        took.append(1000 * (time.perf_counter() - began))
        answer.raise_for_status()
        size = len(answer.content)
    return {"median": quantile(took, 0.5), "95 %": quantile(took, 0.95), "longest": max(took), "answer": size / 1024}


def run(rounds: int, say: Callable[[str], None]) -> Result:
    """Measure the list by the keeper's socket and by a Jupyter server, beside the cheapest request of each."""
    result = Result(f"List of {CLUSTERS} clusters", UNITS)
    with ExitStack() as stack:
        place = stack.enter_context(workspace())
        sites = place.folder / "config" / "offload" / "sites"
        sites.mkdir(parents=True)
        (sites / "bench.yaml").write_text("name: bench" + SITE)
        install(place.folder / "python")
        server = stack.enter_context(jupyter_server(place, {"jupyter_offload": True}))
        doors = [Offload(place, workers=0, site="bench") for _ in range(CLUSTERS)]
        keeper = doors[0].http()
        began = time.monotonic()
        records = [door.request() for door in doors]
        accepted = time.monotonic() - began
        for door, record in zip(doors, records, strict=True):
            door.wait_connectable(record)
        result.notes.append(
            f"{CLUSTERS} clusters asked for one after the other: accepted after {accepted:.1f} s, "
            f"all schedulers up after {time.monotonic() - began:.1f} s."
        )
        say(f"  {result.notes[-1]}")
        for workers in (0, WORKERS_OF_EACH):
            for door in doors if workers else ():
                door.scale(workers)
            until(lambda wanted=workers * CLUSTERS: _connected(keeper) == wanted, LIMIT_S, 0.5)
            cases = {
                _case("keeper", workers): lambda: measure(keeper, "/clusters"),
                _case("keeper, health only", workers): lambda: measure(keeper, "/health"),
                _case("Jupyter server", workers): lambda: measure(server.http, "/offload/v1/clusters"),
                _case("Jupyter server, /api/status only", workers): lambda: measure(server.http, "/api/status"),
            }
            interleave(cases, rounds, result, say)
    for workers in (0, WORKERS_OF_EACH):
        case = _case("Jupyter server", workers)
        result.goal(f"list by {case}, 95 %", result.median(case, "95 %"), 100, unit="ms")
    result.notes.append(
        "Real: keeper, records, HTTP, Jupyter server, one scheduler process for each cluster. Simulated: the workers, which "
        "a backend of the benchmark reports to the keeper."
    )
    return result


def _case(door: str, workers: int) -> str:
    return f"{door}; {workers * CLUSTERS} workers"


def _connected(keeper: httpx.Client) -> int:
    return sum(c["workers"]["connected"] for c in keeper.get("/clusters").raise_for_status().json()["clusters"])
