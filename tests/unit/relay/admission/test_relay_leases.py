"""Leases in memory and on disk: time, other relays on the same folder, and disks that fail."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from pathlib import Path

import pytest
from relay_desk import Cluster, Relay, make_cluster, register, running

from jupyter_offload.relay.client import RelayUnavailable
from jupyter_offload.relay.hub import store
from jupyter_offload.relay.hub.config import Quota, QuotaFor
from jupyter_offload.relay.hub.events import Events
from jupyter_offload.relay.hub.leases import Leases, Terms
from jupyter_offload.relay.hub.problems import Problem
from jupyter_offload.relay.hub.registry import Registry
from jupyter_offload.relay.hub.store import LeaseStore

TERMS = Terms(1, 3600, Quota())
ME = "hub:alice"


class Place:
    """Leases with a clock of their own."""

    def __init__(self, folder: Path, terms: Terms = TERMS) -> None:
        self.now = 1000.0
        self.registry = Registry()
        self.leases = Leases(LeaseStore(folder, Events()), self.registry, terms, Events(), lambda: self.now)

    async def admit(self, cluster: Cluster, seconds: float = 60, confirmed: bool = True, who: str = ME) -> float:
        lease = await self.leases.admit(cluster.name, cluster.ca_pem, who, seconds, (), confirmed=confirmed)
        return lease.ends - self.now


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def watched(place: Place) -> None:
    """Let it look once."""
    task = asyncio.create_task(place.leases.watch())
    looked = place.leases._store.changes
    seen = asyncio.Event()
    loop = asyncio.get_running_loop()

    def changes() -> list[store.StoredLease]:
        found = looked()
        loop.call_soon_threadsafe(seen.set)
        return found

    place.leases._store.changes = changes  # type: ignore[method-assign]
    await seen.wait()
    async with place.leases._writing:
        pass
    task.cancel()
    place.leases._store.changes = looked  # type: ignore[method-assign]
    await asyncio.gather(task, return_exceptions=True)


async def test_a_lease_that_lapses_cuts_its_cluster_alone(relay: Relay, tmp_path: Path) -> None:
    short, long = make_cluster(), make_cluster()
    async with relay.here() as client:
        await client.admit(short.ca_pem, short.sign, 1)
        await client.admit(long.ca_pem, long.sign, 60)
        peers = [await register(relay, one, "w-a", tmp_path) for one in (short, long)]
        assert await asyncio.wait_for(peers[0].reader.read(), 20) == b""
        assert await client.describe(short.name) is None
        status = await client.describe(long.name)
        assert status is not None and status.peers == ("w-a",)
        assert not peers[1].reader.at_eof()


async def test_a_renewal_in_time_cuts_nothing(relay: Relay, tmp_path: Path) -> None:
    cluster = make_cluster()
    async with relay.here() as client:
        await client.admit(cluster.ca_pem, cluster.sign, 1)
        peer = await register(relay, cluster, "w-a", tmp_path)
        await client.admit(cluster.ca_pem, cluster.sign, 60)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(peer.reader.read(), 3)


async def test_a_clock_that_is_set_cuts_nobody(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = make_cluster()
    await place.admit(cluster)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 10 * 86400)
    await watched(place)
    assert place.leases.get(cluster.name) is not None
    place.now += 61
    await watched(place)
    assert place.leases.get(cluster.name) is None


async def test_nobody_takes_the_cluster_of_another(place: Place) -> None:
    cluster = make_cluster()
    await place.admit(cluster)
    for attempt in (
        place.admit(cluster, who="hub:bob"),
        place.leases.revoke(cluster.name, "hub:bob", "w-a-*"),
        place.leases.withdraw(cluster.name, "hub:bob"),
    ):
        with pytest.raises(Problem, match="not-yours"):
            await attempt
    await place.leases.withdraw(cluster.name, ME)
    await place.admit(cluster, who="hub:bob")  # whoever has the key, once it is free


async def test_an_unconfirmed_renewal_lasts_for_one_lease_more_and_no_longer(place: Place) -> None:
    cluster = make_cluster()
    await place.admit(cluster, 100)
    place.now += 50
    assert await place.admit(cluster, 100, confirmed=False) == 100
    place.now += 90
    assert await place.admit(cluster, 100, confirmed=False) == 60
    place.now += 30
    assert await place.admit(cluster, 100, confirmed=False) == 30
    assert await place.admit(cluster, 100) == 100


async def test_a_bound_outlives_the_process(place: Place, tmp_path: Path) -> None:
    cluster = make_cluster()
    await place.admit(cluster, 100)
    assert await place.admit(cluster, 100, confirmed=False) == 100
    again = Place(tmp_path)
    await again.leases.open()
    again.now += 90
    assert await again.admit(cluster, 100, confirmed=False) == pytest.approx(100, abs=11)
    again.now += 90
    assert await again.admit(cluster, 100, confirmed=False) == pytest.approx(20, abs=11)


async def test_other_relays_on_the_folder_are_followed(place: Place, tmp_path: Path) -> None:
    cluster = make_cluster()
    other = Place(tmp_path)
    await place.admit(cluster)
    await watched(other)
    assert other.registry.clusters() == [cluster.name]
    await other.leases.revoke(cluster.name, ME, "w-a-*")
    await watched(place)
    lease = place.leases.get(cluster.name)
    assert lease is not None and lease.stored.revoked == ("w-a-*",)
    known = place.registry.get(cluster.name)
    assert known is not None and known.revoked == ("w-a-*",)
    await place.leases.withdraw(cluster.name, ME)
    await watched(other)
    assert other.registry.clusters() == []


async def test_what_lapsed_here_was_renewed_there(place: Place, tmp_path: Path) -> None:
    cluster = make_cluster()
    other = Place(tmp_path)
    await place.admit(cluster)
    await other.leases.open()
    await other.admit(cluster)
    place.now += 61
    await watched(place)
    assert place.registry.clusters() == [cluster.name]


async def test_what_was_revoked_at_two_relays_at_once_is_revoked(place: Place, tmp_path: Path) -> None:
    cluster = make_cluster()
    other = Place(tmp_path)
    await place.admit(cluster)
    await other.leases.open()
    await place.leases.revoke(cluster.name, ME, "w-a-*")
    await other.leases.revoke(cluster.name, ME, "w-b-*")
    await watched(place)
    known, lease = place.registry.get(cluster.name), place.leases.get(cluster.name)
    assert known is not None and known.revoked == ("w-a-*", "w-b-*")
    assert lease is not None and lease.stored.revoked == ("w-a-*", "w-b-*")


async def test_a_folder_that_was_emptied_cuts_nobody(place: Place, tmp_path: Path) -> None:
    cluster = make_cluster()
    await place.admit(cluster)
    (file,) = (tmp_path / "leases").iterdir()
    file.unlink()
    await watched(place)
    assert place.registry.clusters() == [cluster.name]
    await place.admit(cluster)
    assert file.exists()


async def test_what_is_over_is_swept(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended, lapsed = make_cluster(), make_cluster()
    await place.admit(ended)
    await place.admit(lapsed, 1)
    await place.leases.withdraw(ended.name, ME)
    left = tmp_path / "leases" / ".half-written"
    left.touch()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 120)
    again = Place(tmp_path)
    await again.leases.open()
    assert again.registry.clusters() == []
    assert list((tmp_path / "leases").iterdir()) == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 1}', '{"version": 99}', "\udcff"])
async def test_a_corrupt_file_is_named_and_set_aside_and_stops_nothing(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    first = Place(tmp_path)
    right, broken = make_cluster(), make_cluster()
    await first.admit(right)
    file = tmp_path / "leases" / f"{broken.name}.json"
    file.write_bytes(content.encode("utf-8", "surrogateescape"))
    again = Place(tmp_path)
    await again.leases.open()
    assert again.registry.clusters() == [right.name]
    assert not file.exists()
    assert [p.name for p in file.parent.glob(f"{broken.name}.corrupt-*")]
    assert str(file) in caplog.text
    await again.admit(broken)
    assert file.exists()


async def test_a_file_of_another_cluster_admits_nobody(tmp_path: Path) -> None:
    first = Place(tmp_path)
    one, two = make_cluster(), make_cluster()
    await first.admit(one)
    file = tmp_path / "leases" / f"{one.name}.json"
    file.rename(file.with_name(f"{two.name}.json"))
    said = json.loads(file.with_name(f"{two.name}.json").read_text())
    file.write_text(json.dumps(said | {"ca_pem": two.ca_pem}))
    again = Place(tmp_path)
    await again.leases.open()
    assert again.registry.clusters() == []


async def test_a_full_disk_refuses_new_clusters_and_ends_no_old_one(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = make_cluster(), make_cluster()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    async with relay.here() as client:
        await client.admit(old.ca_pem, old.sign, 60)
        with monkeypatch.context() as broken:
            broken.setattr(store.os, "fsync", full)
            assert (await client.admit(old.ca_pem, old.sign, 600)).lease_s == 600
            with pytest.raises(RelayUnavailable, match="disk takes nothing"):
                await client.admit(new.ca_pem, new.sign, 60)
            assert await client.describe(new.name) is None
            assert relay.service._registry.clusters() == [old.name]
            with pytest.raises(RelayUnavailable, match="disk takes nothing"):
                await client.revoke(old.name, "w-a-*")
            status = await client.describe(old.name)
            assert status is not None and status.lease.revoked == ("w-a-*",)  # in force, and said again later
            await client.withdraw(old.name)
            assert relay.lease_files() == []
        assert list(relay.lease_files()) == []
        await client.admit(new.ca_pem, new.sign, 60)


def test_a_folder_of_somebody_else_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store.os, "geteuid", lambda: 12345)
    with pytest.raises(PermissionError, match="another user"):
        LeaseStore(tmp_path, Events())


def test_the_first_quota_that_fits_counts() -> None:
    some = QuotaFor(identity="hub:*", clusters=1, peers=10, connections=100)
    terms = Terms(1, 60, Quota(clusters=3), [some, QuotaFor(identity="*", clusters=2)])
    assert terms.quota_of("hub:alice") == some
    assert terms.quota_of("unix:alice").clusters == 2
    limits = terms.limits_of("hub:alice")
    assert (limits.peers, limits.connections, limits.pending, limits.pending_per_peer) == (10, 100, 100, 100)


async def test_peers_of_all_clusters_of_an_identity_are_bounded_together(tmp_path: Path, short: Path) -> None:
    clusters = [make_cluster(), make_cluster()]
    async with running(tmp_path, short / "s", quota={"peers": 2}) as relay, relay.here() as client:
        for cluster in clusters:
            await client.admit(cluster.ca_pem, cluster.sign, 60)
        first = await register(relay, clusters[0], "w-a", tmp_path)
        last = await register(relay, clusters[1], "w-a", tmp_path)
        with pytest.raises(AssertionError, match="too-many-peers"):
            await register(relay, clusters[1], "w-b", tmp_path)
        await client.withdraw(clusters[0].name)
        assert await first.reader.read() == b""
        await register(relay, clusters[1], "w-b", tmp_path)
        assert not last.reader.at_eof()


async def test_nothing_is_kept_of_an_identity_without_clusters(place: Place) -> None:
    one, two = make_cluster(), make_cluster()
    await place.admit(one)
    await place.admit(two)
    await place.leases.withdraw(one.name, ME)
    assert list(place.registry._accounts) == [ME]
    await place.leases.withdraw(two.name, ME)
    assert place.registry._accounts == {}


async def test_a_reload_changes_quotas_of_clusters_that_are_there(place: Place) -> None:
    cluster = make_cluster()
    await place.admit(cluster)
    place.leases.set_terms(Terms(1, 10, Quota(peers=7)))
    known = place.registry.get(cluster.name)
    assert known is not None and known.limits.peers == 7
    assert await place.admit(cluster, 60) == 10
