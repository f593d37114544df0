"""Everything that Dask does, with workers and nannies at two sites that can only dial the relay."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from dask_sites import Relay, SiteCluster, make_certificates, until, workers_of
from distributed import Client, get_client, get_worker, wait
from measuring import Measure
from network import Network

SITES = 2
FLOATS_200_MB = 25_000_000


@pytest.fixture(scope="module")
def sites(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteCluster]:
    folder = tmp_path_factory.mktemp("dask")
    files = make_certificates(folder, "functional")
    relay = Relay(network, folder)
    relay.start()
    relay.admit(files)
    cluster = SiteCluster(network, folder, files, relay.ca_file)
    cluster.start_scheduler()
    for site in range(SITES):
        cluster.start_worker(site, f"job{site}")
    yield cluster
    cluster.stop()
    relay.kill()


@pytest.fixture(scope="module")
def shared(sites: SiteCluster) -> Iterator[Client]:
    with sites.client() as client:
        client.wait_for_workers(SITES, timeout=60)
        yield client


@pytest.fixture
def client(shared: Client) -> Client:
    """The client, with a worker at each site, whatever a test before has done."""
    until(
        lambda: {w[:14] for w in workers_of(shared)} == {"relay://w-job0", "relay://w-job1"}, "each site has a worker"
    )
    return shared


def one_at_each(client: Client) -> tuple[str, str]:
    first, second = (next(w for w in workers_of(client) if f"w-job{site}-" in w) for site in range(SITES))
    return first, second


# ------------------------------------------------------------ tasks and data


def test_workers_have_names_of_their_jobs_and_nannies(client: Client) -> None:
    assert client.scheduler.address == "relay://scheduler"
    assert len(workers_of(client)) == SITES
    nannies = client.run(lambda dask_worker: dask_worker.nanny)
    assert all(nanny.startswith("relay://w-job") and nanny != worker for worker, nanny in nannies.items())


def test_result_of_each_site(client: Client) -> None:
    for worker in one_at_each(client):
        assert client.submit(sum, [40, 2], workers=[worker], pure=False).result(timeout=60) == 42


@pytest.mark.parametrize("direct", [False, True])
def test_gather(client: Client, direct: bool) -> None:
    futures = [client.submit(pow, n, 2, workers=[w], pure=False) for n, w in enumerate(one_at_each(client))]
    assert client.gather(futures, direct=direct) == [0, 1]


def test_run_on_workers_and_on_nannies(client: Client) -> None:
    workers = client.run(os.getpid)
    nannies = client.run(os.getpid, nanny=True)
    assert set(workers) == set(nannies) == set(workers_of(client))
    assert not set(workers.values()) & set(nannies.values())


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("broadcast", [False, True])
def test_scatter(client: Client, direct: bool, broadcast: bool) -> None:
    value = np.arange(1000) + 2 * direct + broadcast
    future = client.scatter(value, direct=direct, broadcast=broadcast)
    assert len(client.who_has([future])[future.key]) == (SITES if broadcast else 1)
    for worker in one_at_each(client):
        assert client.submit(np.sum, future, workers=[worker], pure=False).result(timeout=60) == value.sum()


def test_200_mb_between_sites(client: Client, measure: Measure) -> None:
    for source, target in (one_at_each(client), one_at_each(client)[::-1]):
        big = client.submit(np.arange, FLOATS_200_MB, workers=[source], pure=False)
        wait(big, timeout=60)
        with measure.time(f"200 MB from {source} to {target}"):
            assert client.submit(np.sum, big, workers=[target], pure=False).result(60) == np.arange(FLOATS_200_MB).sum()


@pytest.mark.parametrize("direct", [False, True])
def test_200_mb_to_the_client(client: Client, measure: Measure, direct: bool) -> None:
    big = client.submit(np.arange, FLOATS_200_MB, workers=[one_at_each(client)[0]], pure=False)
    wait(big, timeout=60)
    with measure.time(f"200 MB to the client, direct={direct}"):
        got = client.gather(big, direct=direct)
    assert np.array_equal(got, np.arange(FLOATS_200_MB))


@pytest.mark.parametrize("method", ["tasks", "p2p"])
def test_rechunk_400_mb(client: Client, measure: Measure, method: str) -> None:
    with measure.time(f"rechunk of 400 MB by {method}"):
        array = da.ones((7000, 7000), chunks=(1000, 7000)).rechunk((7000, 1000), method=method)
        assert client.compute(array.sum()).result(timeout=120) == 49e6


def test_p2p_shuffle_of_a_dataframe(client: Client, measure: Measure) -> None:
    dd = pytest.importorskip("dask.dataframe")
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"key": np.arange(100_000) % 97, "value": np.arange(100_000)})
    with dask.config.set({"dataframe.shuffle.method": "p2p"}), measure.time("P2P shuffle of 100 000 rows"):
        shuffled = dd.from_pandas(frame, npartitions=8).shuffle("key", npartitions=4)
        assert any("p2p" in str(key) for key in shuffled.optimize().dask)
        parts = client.compute(shuffled.map_partitions(lambda part: part.key.drop_duplicates()), sync=True)
        total = client.compute(shuffled.value.sum(), sync=True)
    assert sorted(parts) == list(range(97))  # each key is in one partition
    assert total == frame.value.sum()


def test_1000_tasks(client: Client, measure: Measure) -> None:
    with measure.time("1000 tasks"):
        assert sum(client.gather(client.map(lambda n: n, range(1000), pure=False))) == 499_500


def test_tasks_start_tasks(client: Client) -> None:
    def outer(n: int) -> int:
        inner = get_client()
        return sum(inner.gather(inner.map(lambda k: k * n, range(10), pure=False)))

    assert client.gather(client.map(outer, [1, 2], pure=False)) == [45, 90]


def counter_class() -> type:
    """Return a class that only pickles by value, since workers cannot import this module."""

    class Counter:
        def __init__(self) -> None:
            self.value = 0

        def add(self, number: int) -> int:
            self.value += number
            return self.value

        def where(self) -> str:
            return str(get_worker().address)

    return Counter


def test_actors(client: Client) -> None:
    first, second = one_at_each(client)
    counter = client.submit(counter_class(), actor=True, workers=[first], pure=False).result(timeout=60)
    assert counter.where().result(timeout=60) == first
    assert [counter.add(2).result(timeout=60) for _ in range(3)] == [2, 4, 6]
    # a task at the other site calls it through the relay
    assert client.submit(lambda one: one.add(1).result(), counter, workers=[second], pure=False).result(timeout=60) == 7


def test_upload_file(client: Client, tmp_path: Path) -> None:
    module = tmp_path / "sent_to_sites.py"
    module.write_text("def answer():\n    return 42\n")
    client.upload_file(str(module))

    def use() -> int:
        import sent_to_sites  # type: ignore[import-not-found]

        return int(sent_to_sites.answer())

    assert set(client.run(use).values()) == {42}


# ------------------------------------------------------------ what Dask tells


def test_versions(client: Client) -> None:
    versions = client.get_versions(check=True)
    assert set(versions["workers"]) == set(workers_of(client))
    assert versions["scheduler"]["packages"]["distributed"] == versions["client"]["packages"]["distributed"]


@pytest.mark.parametrize("nanny", [False, True])
def test_logs(client: Client, nanny: bool) -> None:
    logs = client.get_worker_logs(nanny=nanny)
    assert set(logs) == set(workers_of(client))
    assert all("relay://" in str(lines) for lines in logs.values())


# ------------------------------------------------------------ workers that come and go


def _pids(client: Client) -> dict[str, int]:
    found: dict[str, int] = client.run(os.getpid)
    return found


def test_restart(client: Client, measure: Measure) -> None:
    before = _pids(client)
    with measure.time("client.restart()"):
        client.restart(timeout=60)
    after = _pids(client)
    assert len(after) == SITES
    assert not set(before.values()) & set(after.values())
    assert client.submit(sum, [1, 2], pure=False).result(timeout=60) == 3


def test_restart_of_one_worker(client: Client) -> None:
    before = _pids(client)
    first, _ = one_at_each(client)
    assert client.restart_workers([first], timeout=60) == {first: "OK"}
    until(lambda: len(workers_of(client)) == SITES, "the worker is back")
    assert len(set(before.values()) & set(_pids(client).values())) == SITES - 1


def test_a_killed_worker_is_started_again_by_its_nanny(client: Client, measure: Measure) -> None:
    before = _pids(client)
    first, second = one_at_each(client)
    with measure.time("worker SIGKILL until its successor is there"):
        os.kill(before[first], signal.SIGKILL)
        until(lambda: first not in workers_of(client), "the scheduler noticed")
        until(lambda: len(workers_of(client)) == SITES, "the nanny started another one")
    after = _pids(client)
    assert after[second] == before[second]
    assert before[first] not in after.values()


def test_retired_workers_leave_their_data(client: Client, sites: SiteCluster) -> None:
    first, second = one_at_each(client)
    parts = client.map(lambda n: np.full(100_000, n), range(20), workers=[first], pure=False)
    wait(parts, timeout=60)
    retired = client.retire_workers([first])
    assert set(retired) == {first}
    assert set(client.has_what()) == {second}
    assert [int(part[0]) for part in client.gather(parts)] == list(range(20))
    assert sites.processes["job0"].wait(60) == 0  # its nanny has nothing more to do
    sites.start_worker(0, "job0")
    client.wait_for_workers(SITES, timeout=60)


def test_client_shows_itself(client: Client) -> None:
    assert "relay://scheduler" in repr(client)
    assert "relay://scheduler" in client._repr_html_()


def _hosts(dask_scheduler: Any) -> list[list[str]]:
    return [dask_scheduler.workers_list([worker.host]) for worker in dask_scheduler.workers.values()]


def test_a_host_is_a_peer(client: Client) -> None:
    assert sorted(client.run_on_scheduler(_hosts)) == [[worker] for worker in workers_of(client)]
