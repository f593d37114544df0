"""A cluster that scales itself: its workers are processes at sites, and its data survives when there are fewer."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from dask_sites import Relay, SiteCluster, end_tree, make_certificates, slowly, until, workers_of
from distributed import Client, Scheduler, SpecCluster, wait
from distributed.core import Status
from distributed.deploy.spec import ProcessInterface
from measuring import Measure
from network import Network

from jupyter_offload.relay.comm import RelaySecurity


class SiteWorker(ProcessInterface):  # type: ignore[misc]
    """A worker with its nanny, as ``SpecCluster`` starts and ends them: at one site and the other by turns."""

    def __init__(self, scheduler: str, sites: SiteCluster, name: int, **_: Any) -> None:
        super().__init__()
        self._scheduler, self._sites, self._number = scheduler, sites, name
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        self._process = self._sites.start_worker(
            self._number % 2, f"job{self._number}", scheduler=self._scheduler, name=str(self._number)
        )
        self.status = Status.running

    async def close(self) -> None:
        if self._process is not None:
            end_tree(self._process)
        await super().close()


def test_adaptive(network: Network, tmp_path: Path, measure: Measure) -> None:
    files = make_certificates(tmp_path, "adaptive")
    relay = Relay(network, tmp_path)
    relay.start()
    relay.admit(files)
    sites = SiteCluster(network, tmp_path, files, relay.ca_file)
    role = str(files.scheduler_file)
    security = RelaySecurity(
        tls_ca_file=str(files.ca_file), tls_scheduler_cert=role, tls_scheduler_key=role,
        tls_client_cert=str(files.client_file), tls_client_key=str(files.client_file), require_encryption=True,
    )  # fmt: skip
    scheduler = {"cls": Scheduler, "options": {
        "protocol": "relay", "host": "scheduler", "security": security, "dashboard": False,
        "dashboard_address": "127.0.0.1:0",
    }}  # fmt: skip
    worker = {"cls": SiteWorker, "options": {"sites": sites}}
    with sites.configured(), network.hub.entered():  # the scheduler runs in a thread of ours, which stays there
        cluster = SpecCluster(scheduler=scheduler, worker=worker, security=security, name="adaptive")
    try:
        with sites.configured(), cluster, Client(cluster) as client:
            assert cluster.scheduler_address == "relay://scheduler"
            _scale(cluster, client, measure)
    finally:
        sites.stop()
        relay.kill()


def _scale(cluster: SpecCluster, client: Client, measure: Measure) -> None:
    cluster.scale(3)
    with measure.time("SpecCluster of 3 workers with nannies"):
        client.wait_for_workers(3, timeout=60)
    held = client.map(lambda n: bytes([n]) * 100_000, range(12), pure=False)
    wait(held, timeout=60)
    assert sum(bool(keys) for keys in client.has_what().values()) > 1
    adaptive = cluster.adapt(minimum=1, maximum=3, interval="200ms", wait_count=10, target_duration="1s")
    with measure.time("adaptive from 3 workers to 1, with data on them"):
        until(lambda: len(workers_of(client)) == 1, "one worker is left")
    assert [value[0] for value in client.gather(held)] == list(range(12))
    work = client.map(slowly(0.4), range(60), pure=False)
    with measure.time("adaptive up again"):
        until(lambda: len(workers_of(client)) > 1, "there are more workers")
    assert client.gather(work) == [n * n for n in range(60)]
    adaptive.stop()
