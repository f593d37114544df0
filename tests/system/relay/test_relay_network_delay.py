"""Sites that are far away: every packet takes 50 ms, so each round trip 100 ms."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from dask_sites import Relay, SiteCluster, make_certificates, slowly, workers_of
from distributed import wait
from measuring import Measure
from network import RELAY_ADDRESS, RELAY_PORT, Network, NotPermitted

DELAY_S = 0.05
FLOATS_20_MB = 2_500_000


@pytest.fixture
def far() -> Iterator[Network]:
    try:
        network = Network(delay_s=DELAY_S)
    except NotPermitted as error:
        pytest.skip(str(error))
    yield network
    network.remove()


def test_links_have_a_delay_and_the_same_walls(far: Network) -> None:
    with far.hub.listener(RELAY_ADDRESS, RELAY_PORT), far.hub.listener("0.0.0.0") as other:
        with far.sites[0].entered():
            begun = time.monotonic()
            socket.create_connection((RELAY_ADDRESS, RELAY_PORT), timeout=5).close()
            assert time.monotonic() - begun > 2 * DELAY_S
        assert not far.sites[0].reaches(RELAY_ADDRESS, other.getsockname()[1])


def test_dask_with_a_round_trip_of_100_ms(far: Network, tmp_path: Path, measure: Measure) -> None:
    files = make_certificates(tmp_path, "far")
    relay = Relay(far, tmp_path)
    relay.start()
    relay.admit(files)
    sites = SiteCluster(far, tmp_path, files, relay.ca_file)
    sites.start_scheduler()
    for site in (0, 1):
        sites.start_worker(site, f"job{site}")
    with sites.client() as client:
        client.wait_for_workers(2, timeout=60)
        with measure.time("100 ms round trip: submit and result"):
            assert client.submit(sum, [1, 2], pure=False).result(timeout=60) == 3
        first, second = workers_of(client)
        big = client.submit(np.arange, FLOATS_20_MB, workers=[first], pure=False)
        wait(big, timeout=60)
        with measure.time("100 ms round trip: 20 MB to the client"):
            assert np.array_equal(client.gather(big, direct=True), np.arange(FLOATS_20_MB))
        with measure.time("100 ms round trip: 20 MB between sites"):
            total = client.submit(np.sum, big, workers=[second], pure=False)
            assert total.result(timeout=60) == np.arange(FLOATS_20_MB).sum()
        before = client.run(os.getpid)
        work = client.map(slowly(0.25), range(40), pure=False)
        relay.kill()
        relay.start()
        with measure.time("100 ms round trip: 40 tasks of 0.25 s on 4 threads, relay killed and started at once"):
            assert client.gather(work) == [n * n for n in range(40)]
        assert client.run(os.getpid) == before
    sites.stop()
    relay.kill()
