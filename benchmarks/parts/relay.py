"""What a relay costs a cluster on two sites: ``relay://`` beside plain ``tls://`` over the same lines, without and with delay."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..relay.cluster import DaskCluster
from ..relay.network import HUB_ADDRESS, SITES, network
from ..relay.processes import Processes
from ..report import Result, interleave
from ..stats import quantile
from ..workspace import workspace

if TYPE_CHECKING:
    from distributed import Client

RPC, SUBMIT, CONNECT = "scheduler rpc", "submit + result", "new connection"
DIRECT, SCHEDULER, WORKERS = "to client, direct", "to client, by scheduler", "worker to worker"
TASKS, RECHUNK, CPU, RSS = "1000 tasks", "rechunk 400 MB", "relay's CPU per GB", "relay's RSS"
UNITS = {
    RPC: "ms", SUBMIT: "ms", CONNECT: "ms", DIRECT: "MB/s", SCHEDULER: "MB/s", WORKERS: "MB/s", TASKS: "s", RECHUNK: "s",
    CPU: "s", RSS: "MiB",
}  # fmt: skip
DELAYS_MS = (0, 20, 100)
BYTES = 200_000_000
#: What passes the relay in the three transfers: by way of the scheduler everything does twice.
PASSED_BYTES = 4 * BYTES
#: So often in a round, or for so long if that is less.
TRANSFERS, TRANSFERS_S = 5, 5.0
SLOWER, THROUGHPUT = 1.5, 0.8
#: A round trip is measured so often, or for so long if that is less.
CALLS, CALLS_S = 300, 3.0


def typical_ms(call: Callable[[], object]) -> float:
    """Call again and again; return the median time."""
    took, end = [], time.monotonic() + CALLS_S
    while len(took) < CALLS and (len(took) < 5 or time.monotonic() < end):
        began = time.perf_counter()
        call()
        took.append(1000 * (time.perf_counter() - began))
    return quantile(took, 0.5)


def measure(cluster: DaskCluster) -> dict[str, float]:
    """Measure one cluster once."""
    client = cluster.client
    one, other = sorted(client.scheduler_info(n_workers=-1)["workers"])

    def submit() -> None:
        client.submit(os.getpid, pure=False).result()

    def connect() -> None:
        client.sync(_connection, client, one)

    measured = {
        RPC: typical_ms(lambda: client.sync(client.scheduler.identity, n_workers=0)),
        SUBMIT: typical_ms(submit),
        CONNECT: typical_ms(connect),
    }
    measured |= _transfers(cluster, one, other)
    measured |= {TASKS: _timed(partial(_tasks, client)), RECHUNK: _timed(partial(_rechunk, client))}
    if cluster.relay is not None:
        measured[RSS] = cluster.relay.rss_mib()
    return measured


async def _connection(client: Client, address: str) -> None:
    from distributed.comm import connect

    comm = await connect(address, **client.security.get_connection_args("client"))
    comm.abort()


def _timed(compute: Callable[[], object]) -> float:
    began = time.perf_counter()
    compute()
    return time.perf_counter() - began


def _transfers(cluster: DaskCluster, one: str, other: str) -> dict[str, float]:
    """Move arrays again and again; return the median throughputs, and what that cost the relay."""
    cpu_s, end = _relay_cpu_s(cluster), time.monotonic() + TRANSFERS_S
    seen: dict[str, list[float]] = {}
    times = 0
    while times < TRANSFERS and (not times or time.monotonic() < end):
        for what, took in _transfer(cluster.client, one, other).items():
            seen.setdefault(what, []).append(BYTES / 1e6 / took)
        times += 1
    measured = {what: quantile(values, 0.5) for what, values in seen.items()}
    if cluster.relay is not None:
        measured[CPU] = (_relay_cpu_s(cluster) - cpu_s) / (times * PASSED_BYTES / 1e9)
    return measured


def _relay_cpu_s(cluster: DaskCluster) -> float:
    return cluster.relay.cpu_s() if cluster.relay is not None else 0.0


def _transfer(client: Client, one: str, other: str) -> dict[str, float]:
    """Move one array from its worker to the client, twice, and to the other worker; return how long that took."""
    import numpy as np
    from distributed import wait

    big = client.submit(np.ones, BYTES // 8, workers=[one], pure=False)
    wait(big)

    def gather(*, direct: bool) -> None:
        if client.gather(big, direct=direct).nbytes != BYTES:
            raise RuntimeError("the array has lost something")

    return {
        DIRECT: _timed(partial(gather, direct=True)),
        SCHEDULER: _timed(partial(gather, direct=False)),
        WORKERS: _timed(lambda: client.submit(len, big, workers=[other], pure=False).result()),
    }


def _tasks(client: Client) -> None:
    if sum(client.gather(client.map(abs, range(1000), pure=False))) != 499500:
        raise RuntimeError("wrong results")


def _rechunk(client: Client) -> None:
    import dask.array as da

    whole = da.ones((7000, 7000), chunks=(1000, 7000)).rechunk((7000, 1000)).sum()
    if client.compute(whole).result() != 7000**2:
        raise RuntimeError("wrong sum")


def case(relayed: bool, delay_ms: float) -> str:
    """Return how a case is called."""
    return f"{'relay' if relayed else 'tls'}, {delay_ms:g} ms"


def run(rounds: int, say: Callable[[str], None]) -> Result:
    """Measure both at every delay; each cluster lives through all rounds of its delay."""
    result = Result("Relay: a scheduler and two sites, each with one worker of one thread", UNITS)
    for delay_ms in DELAYS_MS:
        try:
            with ExitStack() as stack:
                interleave(_cases(stack, delay_ms), rounds, result, say)
        except (RuntimeError, OSError, TimeoutError) as error:
            result.failures.append(f"{delay_ms} ms: {error}")
    goals(result)
    result.notes += [
        "The delay is added to each round trip between the hub, where scheduler, client and relay are, and a site; between "
        "sites it is twice that. 0 ms is a veth pair. tls goes the same way with every port open, and has the same "
        "certificates. TCP is the kernel's with its settings: "
        f"{_tcp_settings()}.",
        "new connection: to a worker, until Dask may use it. CPU and memory of the relay process alone; its CPU during the "
        "three transfers.",
    ]
    return result


def _cases(stack: ExitStack, delay_ms: float) -> dict[str, Callable[[], dict[str, float]]]:
    """Start both clusters on one network."""
    made: dict[str, Callable[[], dict[str, float]]] = {}
    clusters = []
    net = stack.enter_context(network(delay_ms / 1000, stack.enter_context(workspace()).environment))
    for relayed in (True, False):
        processes = Processes(stack.enter_context(workspace()))
        stack.callback(processes.close)
        cluster = DaskCluster(processes, net.hub, HUB_ADDRESS, relayed=relayed)
        clusters.append(cluster)
        for number in range(SITES):
            cluster.start_worker(f"job{number}", net.sites[number], net.site_address(number))
        made[case(relayed, delay_ms)] = partial(measure, cluster)
    for cluster in clusters:
        stack.enter_context(cluster.connected(SITES))
    return made


def _tcp_settings() -> str:
    folder = Path("/proc/sys/net/ipv4")
    names = ("tcp_congestion_control", "tcp_wmem", "tcp_rmem")
    return ", ".join(f"{n} {' '.join((folder / n).read_text().split())}" for n in names if (folder / n).exists())


def goals(result: Result) -> None:
    """Note the goals at each delay."""
    for delay_ms in DELAYS_MS:
        ours, peer = case(True, delay_ms), case(False, delay_ms)
        for metric in (RPC, SUBMIT):
            result.goal(f"{metric}, {delay_ms} ms, of tls", result.ratio(metric, ours, peer), SLOWER)
        for metric in (DIRECT, SCHEDULER, WORKERS):
            ratio = result.ratio(metric, ours, peer)
            result.goal(f"{metric}, {delay_ms} ms, of tls", ratio, THROUGHPUT, at_least=True)
