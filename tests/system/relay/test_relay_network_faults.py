"""What breaks: the relay is killed or replaced, a site is cut, and nothing is lost that a worker still holds."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from dask_sites import DOMAIN, Relay, SiteCluster, make_certificates, slowly, until, workers_of
from distributed import Client, Future, wait
from measuring import Measure
from network import RELAY_PORT, Network

SITES = 2
FLOATS_200_MB = 25_000_000
OUTAGE_S = 4
CUT_S = 20


class Stage:
    """A relay, a cluster with a worker at each site, and its client."""

    def __init__(self, relay: Relay, sites: SiteCluster, client: Client) -> None:
        self.relay, self.sites, self.client = relay, sites, client

    def kill_relay(self, outage_s: float = OUTAGE_S) -> None:
        """End the relay by SIGKILL, and start it again after a while."""
        self.relay.kill()
        time.sleep(outage_s)
        self.relay.start()

    def pids(self) -> dict[str, int]:
        found: dict[str, int] = self.client.run(os.getpid)
        return found


@pytest.fixture(scope="module")
def stage(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("faults")
    files = make_certificates(folder, "faults")
    relay = Relay(network, folder)
    relay.start()
    relay.admit(files)
    sites = SiteCluster(network, folder, files, relay.ca_file)
    sites.start_scheduler()
    for site in range(SITES):
        sites.start_worker(site, f"job{site}")
    with sites.client() as client:
        client.wait_for_workers(SITES, timeout=60)
        yield Stage(relay, sites, client)
    sites.stop()


def cross_sites(client: Client) -> None:
    """Make sure that workers of both sites still reach each other and the client."""
    first, second = workers_of(client)
    for source, target in ((first, second), (second, first)):
        made = client.submit(bytes, 1_000_000, workers=[source], pure=False)
        assert client.submit(len, made, workers=[target], pure=False).result(timeout=60) == 1_000_000


def keeps_going(stage: Stage, fault: Callable[[], None], tasks: int = 60, seconds: float = 0.5) -> None:
    """Have tasks in flight and data on workers across a fault: everything is right, and the workers are the same."""
    client = stage.client
    before = stage.pids()
    held = client.map(lambda n: np.full(1000, n), range(8), pure=False)
    wait(held, timeout=60)
    holders = client.who_has(held)
    work = client.map(slowly(seconds), range(tasks), pure=False)
    wait(work[:SITES], timeout=60)
    fault()
    assert client.gather(work) == [n * n for n in range(tasks)]
    assert [int(part[0]) for part in client.gather(held)] == list(range(8))
    assert {key: set(who) for key, who in client.who_has(held).items()} == {k: set(w) for k, w in holders.items()}
    assert stage.pids() == before
    stage.relay.check()


# ------------------------------------------------------------ the relay is gone for a while


def test_relay_killed_with_60_tasks_in_flight(stage: Stage, measure: Measure) -> None:
    with measure.time(f"60 tasks of 0.5 s on 4 threads, relay killed for {OUTAGE_S} s"):
        keeps_going(stage, stage.kill_relay)
    cross_sites(stage.client)


@pytest.mark.parametrize("direct", [False, True])
def test_relay_killed_in_a_200_mb_gather(stage: Stage, measure: Measure, direct: bool) -> None:
    client = stage.client
    before = stage.pids()
    big = client.submit(np.arange, FLOATS_200_MB, workers=[workers_of(client)[0]], pure=False)
    wait(big, timeout=60)
    with ThreadPoolExecutor(1) as thread:
        gathering = thread.submit(lambda: client.gather(big, direct=direct))
        time.sleep(0.3)
        assert not gathering.done()
        stage.relay.kill()
        time.sleep(OUTAGE_S)
        assert not gathering.done()
        stage.relay.start()
        with measure.time(f"200 MB gather (direct={direct}) after the relay is back"):
            got = gathering.result(timeout=60)
    assert np.array_equal(got, np.arange(FLOATS_200_MB))
    assert stage.pids() == before


def test_relay_killed_in_a_200_mb_transfer_between_sites(stage: Stage, measure: Measure) -> None:
    client = stage.client
    before = stage.pids()
    source, target = workers_of(client)
    big = client.submit(np.arange, FLOATS_200_MB, workers=[source], pure=False)
    wait(big, timeout=60)
    total = client.submit(np.sum, big, workers=[target], pure=False)
    time.sleep(0.3)
    assert not total.done()
    stage.kill_relay()
    with measure.time("200 MB between sites after the relay is back"):
        assert total.result(timeout=60) == np.arange(FLOATS_200_MB).sum()
    assert stage.pids() == before


def test_relay_drained_for_an_upgrade(stage: Stage, measure: Measure) -> None:
    """SIGTERM; the successor starts while the old process still serves those who are connected."""

    def upgrade() -> None:
        old = stage.relay.terminate()
        stage.relay.start()
        with measure.time("drained relay ends"):
            assert old.wait(30) == 0

    keeps_going(stage, upgrade)
    cross_sites(stage.client)


# ------------------------------------------------------------ a site is cut


def test_site_cut_for_20_s(stage: Stage, network: Network, measure: Measure) -> None:
    def cut() -> None:
        with network.cut(1):
            time.sleep(CUT_S)

    with measure.time(f"60 tasks of 0.5 s on 4 threads, one site cut for {CUT_S} s"):
        keeps_going(stage, cut)
    cross_sites(stage.client)


@pytest.mark.timeout(240)
def test_site_cut_for_longer_than_sessions_live(
    network: Network, tmp_path: Path, stage: Stage, measure: Measure
) -> None:
    """The scheduler is told that the site's worker is lost; its work is done elsewhere, and the cluster goes on."""
    files = make_certificates(tmp_path, "cut")
    stage.relay.admit(files)
    sites = SiteCluster(network, tmp_path, files, stage.relay.ca_file, resume="5s")
    sites.start_scheduler()
    for site in range(SITES):
        sites.start_worker(site, f"job{site}")
    try:
        with sites.client() as client:
            client.wait_for_workers(SITES, timeout=60)
            staying, lost = workers_of(client)
            held = client.map(
                lambda n: np.full(1000, n), range(4), workers=[lost], allow_other_workers=True, pure=False
            )
            wait(held, timeout=60)
            work = client.map(slowly(0.25), range(40), pure=False)
            with network.cut(1):
                with measure.time("a site is cut until its worker is known to be lost, resume 5 s"):
                    until(lambda: workers_of(client) == [staying], "the lost worker is told")
                assert client.gather(work) == [n * n for n in range(40)]
                assert [int(part[0]) for part in client.gather(held)] == list(range(4))
            # the worker ends with its nanny, as Dask has it, and says why; so the job is over, and another one can be had
            assert sites.processes["job1"].wait(60) == 0
            assert "no path for 5 s" in (tmp_path / "job1.log").read_text()
            sites.start_worker(1, "job1")
            client.wait_for_workers(SITES, timeout=60)
            cross_sites(client)
    finally:
        sites.stop()


# ------------------------------------------------------------ many workers


@pytest.mark.timeout(240)
def test_100_workers_and_a_relay_restart(stage: Stage, network: Network, measure: Measure) -> None:
    number, client, files = 50, stage.client, stage.sites.files
    everybody = SITES + 2 * number
    with measure.time("100 more workers of 2 processes are registered"):
        for site in range(SITES):
            stage.sites.start_swarm(site, f"swarm{site}", number)
        until(lambda: len(workers_of(client)) == everybody, "all workers are there")
    before = stage.pids()
    names = set(stage.relay.peers(files))
    stage.kill_relay()
    begun = time.monotonic()
    until(lambda: set(stage.relay.peers(files)) == names, "all names are back", timeout_s=30)
    measure.note(f"relay killed for {OUTAGE_S} s: all {len(names)} names back in {time.monotonic() - begun:.2f} s")
    with measure.time("client.run on 102 workers after it"):
        assert stage.pids() == before
    work: list[Future] = client.map(slowly(0.1), range(300), pure=False)
    assert client.gather(work) == [n * n for n in range(300)]
    stage.sites.stop_swarms()
    until(lambda: len(workers_of(client)) == SITES, "the swarm is gone")


# ------------------------------------------------------------ two relays


def test_one_of_two_relays_behind_a_name_is_killed(
    network: Network, tmp_path: Path, stage: Stage, measure: Measure
) -> None:
    second = "10.78.0.2"
    network.add_address(second)
    files = make_certificates(tmp_path, "two")
    other = Relay(network, tmp_path, second, like=stage.relay)
    other.start()
    for relay in (stage.relay, other):
        relay.admit(files)
    # Processes of Dask get one name that stands for both; this process's client, which has no hosts file of its own, both.
    for namespace in (network.hub, *network.sites):
        namespace.names("".join(f"{relay.address} {DOMAIN}\n" for relay in (stage.relay, other)))
    both = ",".join(f"{relay.address}:{RELAY_PORT}" for relay in (stage.relay, other))
    sites = SiteCluster(
        network, tmp_path, files, stage.relay.ca_file, addresses=f"{DOMAIN}:{RELAY_PORT}", client_addresses=both
    )
    with network.door(second, RELAY_PORT):
        sites.start_scheduler()
        for site in range(SITES):
            sites.start_worker(site, f"job{site}")
        try:
            with sites.client() as client:
                client.wait_for_workers(SITES, timeout=60)
                everybody = 1 + 2 * SITES
                for relay in (stage.relay, other):
                    until(lambda relay=relay: len(relay.peers(files)) == everybody, "everybody is at both relays")
                two = Stage(stage.relay, sites, client)
                with measure.time("60 tasks of 0.25 s on 4 threads, one of two relays killed"):
                    keeps_going(two, other.kill, seconds=0.25)
                cross_sites(client)
                other.start()
                with measure.time("everybody is at the second relay again"):
                    until(lambda: len(other.peers(files)) == everybody, "everybody is back")
                other.check()
                stage.relay.kill()  # now the other way round: all goes over the one that was away
                cross_sites(client)
                stage.relay.start()
        finally:
            sites.stop()
            if other.process is not None and other.process.poll() is None:
                other.kill()
