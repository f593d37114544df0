"""Z to mu mu on two workers: events per CPU second of the workers, and their memory, under two allocator settings."""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil

from .. import analysis
from ..doors import WORKERS, Door, Local, Offload, wait_for
from ..report import Result, interleave
from ..workspace import PRISTINE, environment, workspace

UNITS = {
    "events per CPU second": "M/s",
    "wall": "s",
    "peak": "MiB",
    "at rest": "MiB",
    "at rest, PSS": "MiB",
    "page faults an event": "",
}
EVENTS, FILES, STEP = 2_000_000, 4, 250_000
#: Long enough for a worker to notice that it is idle and to give memory back.
REST_S = 6.0
OURS, DASK, PLAIN = "ours", "Dask's defaults (LocalCluster)", "plain loop, one process"

Task = tuple[str, int, int]


def _reset_peak(pids: Sequence[int]) -> None:
    for pid in pids:
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def _peak_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def _faults(pids: Sequence[int]) -> int:
    """Return the minor page faults of these processes so far: what the allocator's setting is about."""
    return sum(int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[7]) for pid in pids)


def _cpu_s(pids: Sequence[int]) -> float:
    return sum(t.user + t.system for t in (psutil.Process(pid).cpu_times() for pid in pids))


def measure(pids: Sequence[int], compute: Callable[[], int], expected: list[int]) -> dict[str, float]:
    """Run ``compute``, which returns the number of pairs found, and say what it cost the processes ``pids``.

    Raises:
        RuntimeError: the pairs found differ from those of the first case: then nothing can be compared.
    """
    if sys.platform == "linux":
        _reset_peak(pids)
    faults = _faults(pids) if sys.platform == "linux" else 0
    cpu, began = _cpu_s(pids), time.monotonic()
    pairs = compute()
    wall, cpu = time.monotonic() - began, _cpu_s(pids) - cpu
    if expected and expected[0] != pairs:
        raise RuntimeError(f"{pairs} pairs instead of {expected[0]}")
    expected[:] = [pairs]
    measured = {"events per CPU second": EVENTS / cpu / 1e6, "wall": wall}
    if sys.platform == "linux":
        measured["peak"] = max(map(_peak_mib, pids))
        measured["page faults an event"] = (_faults(pids) - faults) / EVENTS
    time.sleep(REST_S)
    resting = [psutil.Process(pid).memory_full_info() for pid in pids]
    measured["at rest"] = max(m.rss for m in resting) / 2**20
    if sys.platform == "linux":
        measured["at rest, PSS"] = max(m.pss for m in resting) / 2**20
    return measured


def on_cluster(door: Door, tasks: Sequence[Task]) -> Callable[[], int]:
    """Return the computation on the workers of ``door``; the function travels by value, as from a notebook."""
    import cloudpickle

    cloudpickle.register_pickle_by_value(analysis)

    def compute() -> int:
        futures = door.client.map(analysis.count_pairs, *zip(*tasks, strict=True), pure=False)
        return int(sum(door.client.gather(futures)))

    return compute


def run(rounds: int, say: Callable[[str], None]) -> Result:
    """Measure the three cases on the same files, each with its own processes that live through all rounds."""
    from jupyter_offload.examples import nanoaod

    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jupyter-offload-benchmarks"
    files = nanoaod.make(cache / "nanoaod", events=EVENTS, files=FILES)
    tasks = [(str(f), i, i + STEP) for f, i in itertools.product(files, range(0, EVENTS // FILES, STEP))]
    result, expected = Result(f"Z to mu mu, {EVENTS / 1e6:g} million events in {len(tasks)} tasks", UNITS), list[int]()
    with ExitStack() as stack:
        pool = stack.enter_context(ProcessPoolExecutor(1, mp_context=get_context("spawn")))
        with environment(PRISTINE):
            pid = pool.submit(os.getpid).result(60)
        cases: dict[str, Callable[[], dict[str, float]]] = {
            PLAIN: lambda: measure([pid], lambda: pool.submit(analysis.count_all, tasks).result(600), expected)
        }
        doors: dict[str, Door] = {DASK: Local(), OURS: Offload(stack.enter_context(workspace()))}
        for name, door in doors.items():
            door.create()
            stack.callback(door.close)
            wait_for(door.client, WORKERS)
            cases[name] = _case(door, tasks, expected)
        interleave(cases, rounds, result, say)
    _goals(result)
    return result


def _case(door: Door, tasks: Sequence[Task], expected: list[int]) -> Callable[[], dict[str, float]]:
    pids: list[Any] = list(door.client.run(os.getpid).values())
    compute = on_cluster(door, tasks)
    return lambda: measure(pids, compute, expected)


def _goals(result: Result) -> None:
    metric = "events per CPU second"
    result.goal(f"{metric}, of Dask's defaults", result.ratio(metric, OURS, DASK), 2, at_least=True)
    for memory in ("peak", "at rest", "at rest, PSS"):
        ours, dask = result.median(OURS, memory), result.median(DASK, memory)
        if ours is not None and dask is not None:
            result.notes.append(
                f"Memory {memory}: {ours - dask:+.0f} MiB a worker against Dask's defaults (worst worker each)."
            )
    plain = result.ratio(metric, OURS, PLAIN)
    if plain is not None:
        result.notes.append(f"{metric}, of the plain loop: {plain:.2f}.")
    result.notes.append(
        f"CPU of worker processes only. At rest: {REST_S:g} s after the last task. Peak and at rest are RSS, which counts pages "
        "that our workers share in each of them; PSS counts each page once."
    )
