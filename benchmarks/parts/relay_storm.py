"""Hundreds of workers that come at once through a relay, or come back to one that was killed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from ..doors import registered
from ..relay.cluster import LIMIT_S, DaskCluster, command_in
from ..relay.processes import Processes
from ..report import Result, interleave
from ..workspace import until, workspace

COME, CPU, RSS, BACK, TASKS = "all registered", "relay's CPU", "relay's RSS, gained", "all reachable", "all tasks done"
UNITS = {COME: "s", CPU: "s", RSS: "MiB", BACK: "s", TASKS: "s"}
NUMBERS = (100, 300)
RECOVERED = 100
PROCESSES = 4
ADDRESS = "127.0.0.1"
DOWN_S, BACK_S = 4.0, 10.0


@contextmanager
def ready_swarm(workers: int, *, relayed: bool) -> Iterator[tuple[DaskCluster, Callable[[], None]]]:
    """Yield a cluster without workers, and what has them all come at once."""
    with workspace() as place:
        processes = Processes(place)
        try:
            cluster = DaskCluster(processes, None, ADDRESS, relayed=relayed)
            swarms = []
            for number in range(PROCESSES):
                job = f"job{number}"
                words = (
                    "benchmarks.relay.swarm", cluster.address, str(workers // PROCESSES), cluster.host(job, ADDRESS),
                    "relay" if relayed else "tls", str(place.folder),
                )  # fmt: skip
                config = {"DASK_CONFIG": str(cluster.worker_config(job))}
                swarms.append(processes.start(job, command_in(None, *words), config, talks=True))
            for number, swarm in enumerate(swarms):
                processes.heard(swarm, f"job{number}")

            def come() -> None:
                for swarm in swarms:
                    print("come", file=swarm.stdin, flush=True)

            with cluster.connected():
                yield cluster, come
        finally:
            processes.close()


def storm(workers: int, *, relayed: bool) -> dict[str, float]:
    """Have so many workers come at once."""
    with ready_swarm(workers, relayed=relayed) as (cluster, come):
        relay = cluster.relay
        before = (relay.cpu_s(), relay.rss_mib()) if relay is not None else (0.0, 0.0)
        began = time.monotonic()
        come()
        until(lambda: registered(cluster.client) >= workers, LIMIT_S, 0.02)
        measured = {COME: time.monotonic() - began}
        if relay is not None:
            measured |= {CPU: relay.cpu_s() - before[0], RSS: relay.rss_mib() - before[1]}
        return measured


def recovery(workers: int) -> dict[str, float]:
    """Kill the relay under a swarm; return how long after its return every worker has done a task, and can be called.

    Raises:
        RuntimeError: not all came back as what they were.
    """
    with ready_swarm(workers, relayed=True) as (cluster, come):
        client, relay = cluster.client, cluster.relay
        assert relay is not None
        come()
        client.wait_for_workers(workers, timeout=LIMIT_S)
        before = sorted(client.run(abs, -1))
        relay.kill()
        time.sleep(DOWN_S)
        began = time.monotonic()
        relay.start()
        tasks = [client.submit(abs, -1, workers=[address], pure=False) for address in before]
        client.gather(tasks)
        done_s = time.monotonic() - began
        after = sorted(client.run(abs, -1))
        back_s = time.monotonic() - began
        if after != before:
            raise RuntimeError(f"{len(set(before) - set(after))} of {workers} workers were lost")
        return {BACK: back_s, TASKS: done_s}


def run(rounds: int, say: Callable[[str], None]) -> Result:
    """Measure storms with and without a relay, and the return of a relay, with new processes each time."""
    result = Result("Relay: many workers at once", UNITS)
    back = f"relay, {RECOVERED} workers, killed for {DOWN_S:g} s"
    cases = {
        _case(relayed, number): partial(storm, number, relayed=relayed)
        for number in NUMBERS
        for relayed in (True, False)
    }
    interleave({**cases, back: partial(recovery, RECOVERED)}, rounds, result, say)
    result.goal(f"{RECOVERED} workers reachable after the relay's return", result.median(back, BACK), BACK_S, unit="s")
    for number in NUMBERS:
        ratio = result.ratio(COME, _case(True, number), _case(False, number))
        cpu_s, rss_mib = (result.median(_case(True, number), metric) for metric in (CPU, RSS))
        if ratio is not None and cpu_s is not None and rss_mib is not None:
            result.notes.append(
                f"{number} workers: {ratio:.2f} times what tls takes; for 100 workers the relay takes "
                f"{cpu_s / number * 100:.2f} s of CPU and {rss_mib / number * 100:.1f} MiB."
            )
    result.notes.append(
        f"Workers are objects in {PROCESSES} processes, on the machine of the scheduler; most of the time to come is theirs. "
        "all tasks done, all reachable: from the start of a new relay process (which counts) until each worker has done a "
        "task, and until the scheduler has called each on a connection of its own. No worker may have been replaced."
    )
    return result


def _case(relayed: bool, workers: int) -> str:
    return f"{'relay' if relayed else 'tls'}, {workers} workers"
