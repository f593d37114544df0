"""The network of the other tests: what is closed in it, and that plain Dask fails there while it looks healthy."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from dask_sites import SiteCluster, make_certificates, spawn
from distributed import wait
from network import RELAY_ADDRESS, RELAY_PORT, Network, command

SITES = [0, 1]


def _scan(network: Network, site: int) -> list[int]:
    """Return the ports of the hub that a site can connect to."""
    found = []
    with network.sites[site].entered():
        for port in range(1, 1 << 16):
            with socket.socket() as one:
                one.settimeout(1)
                if one.connect_ex((RELAY_ADDRESS, port)) == 0:
                    found.append(port)
    return found


@pytest.mark.parametrize("site", SITES)
def test_a_site_reaches_one_port_of_the_hub(network: Network, site: int) -> None:
    before = network.strays()
    with network.hub.listener("0.0.0.0", RELAY_PORT), network.hub.listener("0.0.0.0") as other:
        port = other.getsockname()[1]
        assert network.hub.reaches(RELAY_ADDRESS, port)
        assert _scan(network, site) == [RELAY_PORT]
        # nor by the address that the hub has on the link, to which there is a route
        assert not network.sites[site].reaches(f"10.78.{site + 1}.1", RELAY_PORT)
        assert network.strays() == before  # not even a first packet arrived
        with network.door(RELAY_ADDRESS, port):  # it was the wall
            assert network.sites[site].reaches(RELAY_ADDRESS, port)
        assert not network.sites[site].reaches(RELAY_ADDRESS, port)


@pytest.mark.parametrize("site", SITES)
def test_nobody_reaches_a_site(network: Network, site: int) -> None:
    address = network.site_address(site)
    with network.sites[site].listener("0.0.0.0") as listener:
        port = listener.getsockname()[1]
        assert network.sites[site].reaches(address, port)  # somebody is there
        assert not network.hub.reaches(address, port)
        assert not network.sites[1 - site].reaches(address, port)


@pytest.mark.parametrize("site", SITES)
def test_no_datagram_leaves_a_site(network: Network, site: int) -> None:
    before = network.strays()
    with network.sites[site].entered(), socket.socket(type=socket.SOCK_DGRAM) as one:
        for port in (53, RELAY_PORT):
            with pytest.raises(OSError):
                one.sendto(b"?", (RELAY_ADDRESS, port))
    assert network.strays() == before


def test_a_cut_site_gets_and_sends_nothing(network: Network) -> None:
    with network.hub.listener(RELAY_ADDRESS, RELAY_PORT):
        with network.cut(0):
            assert not network.sites[0].reaches(RELAY_ADDRESS, RELAY_PORT)
            assert network.sites[1].reaches(RELAY_ADDRESS, RELAY_PORT)
        assert network.sites[0].reaches(RELAY_ADDRESS, RELAY_PORT)


def test_nothing_of_a_network_is_left(tmp_path: Path) -> None:
    network = Network(1)
    names = [network.hub.name, network.sites[0].name]
    sleeper = spawn(network.sites[0], ["sleep", "600"], tmp_path / "log")
    network.remove()
    assert not psutil.pid_exists(sleeper.pid)
    assert not any(name in command("ip", "netns", "list") for name in names)


# ------------------------------------------------------------ plain Dask


@pytest.fixture(scope="module")
def plain(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteCluster]:
    folder = tmp_path_factory.mktemp("plain")
    files = make_certificates(folder, "plain")
    cluster = SiteCluster(network, folder, files, files.ca_file, **{"distributed.comm.timeouts.connect": "1s"})
    yield cluster
    cluster.stop()


def _told(dask_scheduler: Any, key: str) -> tuple[str, list[str]]:
    return dask_scheduler.tasks[key].state, [str(w.status) for w in dask_scheduler.workers.values()]


def test_plain_dask_looks_healthy_and_never_returns_a_result(network: Network, plain: SiteCluster) -> None:
    """A door is opened for the scheduler, so that the worker can register; nothing can dial the worker."""
    address = plain.start_scheduler("tls", RELAY_ADDRESS)
    port = int(address.rpartition(":")[2])
    with network.door(RELAY_ADDRESS, port), plain.client(address) as client:
        plain.start_worker(0, "plain", scheduler=address, host=network.site_address(0), nanny=False)
        client.wait_for_workers(1, timeout=60)
        future = client.submit(sum, [1, 2])
        wait(future, timeout=60)  # the scheduler tells that it ran
        with pytest.raises(TimeoutError):
            future.result(timeout=5)
        with pytest.raises(TimeoutError):
            client.sync(client._gather, [future], direct=True, callback_timeout=3)
        assert client.run_on_scheduler(_told, key=future.key) == ("memory", ["Status.running"])
        with network.opened(0):  # nothing else is wrong
            assert future.result(timeout=60) == 3
    assert not network.sites[0].reaches(RELAY_ADDRESS, port)
