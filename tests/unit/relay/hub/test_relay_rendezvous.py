"""How a connector and a peer find each other, and how long one waits for the other."""

from __future__ import annotations

import asyncio
import json

import pytest
from relay_ends import DOMAIN, cluster_of, number, until

from jupyter_offload.relay.hello import ALERT_BUSY, ALERT_UNKNOWN, client_hello
from jupyter_offload.relay.hub.registry import ClusterLimits, Registry
from jupyter_offload.relay.names import Kind


async def test_the_hello_of_a_plain_connection_reaches_the_peer(relay, worker) -> None:
    peer = await relay.register("w-one-a", worker)
    hello = client_hello(f"w-one-a.{relay.cluster}.c.{DOMAIN}")
    near = await relay.raw(hello + b"and more")
    message = await peer.hear()
    assert message["kind"] == "c"
    far = await relay.to(Kind.accept, message["id"])
    assert await far.take(len(hello) + 8) == hello + b"and more"
    await far.send(b"answer")
    assert await near.take(6) == b"answer"


async def test_the_hello_of_a_session_does_not(relay, worker) -> None:
    peer = await relay.register("w-one-a", worker)
    near = await relay.raw(client_hello(f"w-one-a.{relay.cluster}.s.{DOMAIN}") + b"header")
    message = await peer.hear()
    assert message["kind"] == "s"
    far = await relay.raw(client_hello(f"{message['id']}.a.{DOMAIN}") + b"frame")
    assert await far.take(6) == b"header"
    assert await near.take(5) == b"frame"


async def test_an_id_works_once_and_cannot_be_guessed(relay, worker) -> None:
    peer = await relay.register("w-one-a", worker)
    near = await relay.to(Kind.session, "w-one-a")
    one_time_id = (await peer.hear())["id"]
    for wrong in ("0" * 32, one_time_id[:-1] + ("1" if one_time_id[-1] == "0" else "0")):
        assert await (await relay.to(Kind.accept, wrong)).rest() == ALERT_UNKNOWN
    far = await relay.to(Kind.accept, one_time_id)
    await far.send(b"mine")
    assert await near.take(4) == b"mine"
    assert await (await relay.to(Kind.accept, one_time_id)).rest() == ALERT_UNKNOWN
    assert number(relay.hub, "refusals_total", reason="unknown-id") == 3


async def test_clusters_do_not_see_each_other(relay, worker, foreign) -> None:
    relay.registry.admit(cluster_of(foreign), foreign.ca_file.read_text(), "unix:you", ClusterLimits())
    await relay.register("w-one-a", worker)
    relay.hub._rendezvous._started -= 60  # nobody is waited for any more
    end = await relay.to(Kind.connect, "w-one-a", cluster_of(foreign))
    assert await end.rest() == ALERT_UNKNOWN


@pytest.mark.parametrize("kind", [Kind.connect, Kind.session])
async def test_a_cluster_that_is_not_admitted_is_unknown(relay, kind: Kind) -> None:
    assert await (await relay.to(kind, "scheduler", "b" * 52)).rest() == ALERT_UNKNOWN
    assert number(relay.hub, "refusals_total", reason="unknown-cluster") == 1


async def test_after_the_start_a_connector_waits_for_its_peer(relay, worker) -> None:
    near = await relay.to(Kind.session, "w-one-a")
    await until(lambda: number(relay.hub, "pending") == 1)
    far = await relay.take_up(await relay.register("w-one-a", worker))
    await far.send(b"here I am")
    assert await near.take(9) == b"here I am"


async def test_a_connector_does_not_wait_for_ever(start_relay) -> None:
    relay = await start_relay(hold_s=0.2)
    assert await (await relay.to(Kind.session, "w-one-a")).rest() == ALERT_UNKNOWN


async def test_later_nobody_waits_for_a_peer_that_was_never_there(start_relay, worker) -> None:
    relay = await start_relay(grace_s=0.2)
    await asyncio.sleep(0.25)
    assert await (await relay.to(Kind.session, "w-one-a")).rest() == ALERT_UNKNOWN
    peer = await relay.register("w-one-a", worker)
    peer.close()
    await until(lambda: not relay.registry.describe(relay.cluster).peers)
    near = await relay.to(Kind.session, "w-one-a")  # but it was there a moment ago
    await relay.take_up(await relay.register("w-one-a", worker))
    await until(lambda: number(relay.hub, "splices") == 1)
    near.close()


async def test_only_so_many_wait_for_peers_that_may_never_come(start_relay, worker) -> None:
    relay = await start_relay(held=2)
    for name in ("w-one-x", "w-one-y"):
        await relay.to(Kind.session, name)
    await until(lambda: number(relay.hub, "pending") == 2)
    assert await (await relay.to(Kind.session, "w-one-z")).rest() == ALERT_UNKNOWN
    peer = await relay.register("w-one-a", worker)
    await relay.joined(peer, "w-one-a")  # who is there can still be reached
    later = await relay.register("w-one-x", worker)
    assert (await later.hear())["op"] == "open"
    await relay.to(Kind.session, "w-one-z")
    await until(lambda: number(relay.hub, "pending") == 3)


async def test_a_peer_that_comes_back_is_told_again_who_waits(relay, worker) -> None:
    """What its broken control connection was told may never have arrived."""
    first = await relay.register("w-one-a", worker)
    near = await relay.to(Kind.session, "w-one-a")
    told = await first.hear()
    second = await relay.register("w-one-a", worker, first.instance)
    assert await second.hear() == told
    far = await relay.to(Kind.accept, told["id"])
    await far.send(b"late")
    assert await near.take(4) == b"late"


async def test_a_peer_that_does_not_dial_back(start_relay, worker) -> None:
    relay = await start_relay(dial_back_s=0.2)
    peer = await relay.register("w-one-a", worker)
    near = await relay.to(Kind.session, "w-one-a")
    one_time_id = (await peer.hear())["id"]
    assert await near.rest() == ALERT_BUSY
    assert await (await relay.to(Kind.accept, one_time_id)).rest() == ALERT_UNKNOWN
    assert number(relay.hub, "refusals_total", reason="no-dial-back") == 1
    assert number(relay.hub, "pending") == 0


async def test_a_mute_peer_fills_only_its_own_queue(start_relay, worker) -> None:
    relay = await start_relay(cluster=ClusterLimits(pending=10, pending_per_peer=4))
    await relay.register("w-one-mute", worker)
    good = await relay.register("w-one-a", worker)
    waiting = [await relay.to(Kind.session, "w-one-mute") for _ in range(4)]
    await until(lambda: number(relay.hub, "pending") == 4)
    assert await (await relay.to(Kind.session, "w-one-mute")).rest() == ALERT_BUSY
    assert number(relay.hub, "cluster_refusals_total", reason="peer-pending") == 1
    await relay.joined(good, "w-one-a")
    assert all(not end.reader.at_eof() for end in waiting)


async def test_several_mute_peers_do_not_close_the_way_to_others(start_relay, worker) -> None:
    relay = await start_relay(cluster=ClusterLimits(pending=8, pending_per_peer=4))
    for name in ("w-one-mute1", "w-one-mute2"):
        await relay.register(name, worker)
        ends = [await relay.to(Kind.session, name) for _ in range(4)]
    await until(lambda: number(relay.hub, "pending") == 8)
    assert await (await relay.to(Kind.session, "w-one-mute1")).rest() == ALERT_BUSY
    good = await relay.register("w-one-a", worker)
    await relay.joined(good, "w-one-a")
    assert number(relay.hub, "cluster_refusals_total", reason="cut") == 1
    assert ends


async def test_a_cluster_has_only_so_many_connections(start_relay, worker) -> None:
    relay = await start_relay(cluster=ClusterLimits(connections=4))
    peer = await relay.register("w-one-a", worker)
    ends = []
    for source in ("127.0.0.1", "127.0.0.1", "127.0.0.2", "127.0.0.2"):
        ends.append(await relay.to(Kind.session, "w-one-a", source=source))
        await relay.take_up(peer)
    await until(lambda: number(relay.hub, "splices") == 4)
    assert await (await relay.to(Kind.connect, "w-one-a")).rest() == ALERT_BUSY
    assert number(relay.hub, "cluster_refusals_total", reason="cluster-connections") == 1
    ends[0].abort()
    await until(lambda: number(relay.hub, "splices") == 3)
    await relay.joined(peer, "w-one-a")


async def test_one_source_cannot_have_all_connections_of_a_cluster(start_relay, worker) -> None:
    relay = await start_relay(cluster=ClusterLimits(connections=4))
    peer = await relay.register("w-one-a", worker)
    for _ in range(2):
        await relay.joined(peer, "w-one-a")
    waiting = await relay.to(Kind.session, "w-one-a")
    await peer.hear()
    assert await (await relay.to(Kind.session, "w-one-a")).rest() == ALERT_BUSY
    assert number(relay.hub, "cluster_refusals_total", reason="source-connections") == 1
    await relay.to(Kind.session, "w-one-a", source="127.0.0.2")
    await relay.take_up(peer)
    await until(lambda: number(relay.hub, "splices") == 3)
    cluster = relay.registry.get(relay.cluster)
    relay.registry.withdraw(relay.cluster)
    assert await waiting.rest() == ALERT_BUSY
    assert not cluster.connectors


async def test_revoking_cuts_the_peer_and_its_connections_and_tells_the_others(relay, worker, other_worker) -> None:
    bad, good = await relay.register("w-one-a", worker), await relay.register("w-two-a", other_worker)
    near, far = await relay.joined(bad, "w-one-a")
    other_near, other_far = await relay.joined(good, "w-two-a")
    waiting = await relay.to(Kind.session, "w-one-a")
    await bad.hear()
    relay.registry.revoke(relay.cluster, ["w-one-*"])
    assert await near.rest() == await far.rest() == b""
    assert await waiting.rest() == ALERT_BUSY
    assert await bad.ended()
    assert await good.hear() == {"op": "revoked", "names": ["w-one-*"]}
    await other_near.send(b"unharmed")
    assert await other_far.take(8) == b"unharmed"
    assert relay.registry.describe(relay.cluster).peers == ("w-two-a",)


async def test_a_connection_is_cut_also_when_its_peer_has_lost_its_registration(relay, worker) -> None:
    peer = await relay.register("w-one-a", worker)
    near, _ = await relay.joined(peer, "w-one-a")
    await until(lambda: number(relay.hub, "splices") == 1)
    peer.close()
    await until(lambda: not relay.registry.describe(relay.cluster).peers)
    relay.registry.revoke(relay.cluster, ["w-one-*"])
    assert await near.rest() == b""


async def test_withdrawing_cuts_everything_at_once(relay, worker) -> None:
    peer = await relay.register("w-one-a", worker)
    near, far = await relay.joined(peer, "w-one-a")
    await relay.to(Kind.session, "w-one-a")
    await peer.hear()
    assert relay.registry.withdraw(relay.cluster) == 3
    assert number(relay.hub, "pending") == 0
    assert await near.rest() == await far.rest() == b""
    assert await peer.ended()
    assert relay.registry.describe(relay.cluster) is None
    assert await (await relay.to(Kind.connect, "w-one-a")).rest() == ALERT_UNKNOWN
    assert relay.registry.withdraw(relay.cluster) == 0


async def test_renewing_keeps_peers_and_takes_the_new_limits(relay, worker) -> None:
    peer = await relay.register("w-one-a", worker)
    pem = relay.files.ca_file.read_text()
    relay.registry.revoke(relay.cluster, ["w-two-*"])
    assert (await peer.hear())["op"] == "revoked"
    relay.registry.admit(relay.cluster, pem, "hub:me", ClusterLimits(pending_per_peer=0), revoked=["w-six-*"])
    assert await peer.hear() == {"op": "revoked", "names": ["w-six-*"]}, "what is new"
    state = relay.registry.describe(relay.cluster)
    assert (state.identity, state.peers) == ("hub:me", ("w-one-a",))
    assert await (await relay.to(Kind.session, "w-one-a")).rest() == ALERT_BUSY


def test_names_that_nobody_says_again_give_way_where_not_all_fit(relay_files, certificates) -> None:
    """A cluster that lives for long revokes more jobs than a message holds; certificates of the first are over by then."""
    registry, cluster, pem = Registry(), cluster_of(certificates), certificates.ca_file.read_text()
    old, new = ([f"w-{when}{n:026}-*" for n in range(1500)] for when in "ab")
    registry.admit(cluster, pem, "me", ClusterLimits(), old[:700])
    registry.admit(cluster, pem, "me", ClusterLimits(), new[:700])
    known = registry.get(cluster)
    assert known is not None
    assert set(known.revoked) == {*old[:700], *new[:700]}
    registry.admit(cluster, pem, "me", ClusterLimits(), new)
    assert set(known.revoked) == set(new)
    registry.admit(cluster, pem, "me", ClusterLimits())
    assert set(known.revoked) == set(new), "who says nothing of it changes nothing"


def test_what_is_not_the_authority_of_that_name_is_not_admitted(relay_files, certificates, foreign) -> None:
    registry = Registry()
    pem = foreign.ca_file.read_text()
    for cluster, text in (
        (cluster_of(certificates), pem),
        (cluster_of(foreign), pem + certificates.ca_file.read_text()),
        (cluster_of(foreign), "no certificate"),
        (cluster_of(foreign), pem.replace("MII", "AAA")),
    ):
        with pytest.raises(ValueError, match="ca_pem"):
            registry.admit(cluster, text, "me", ClusterLimits())
    registry.admit(cluster_of(foreign), pem, "me", ClusterLimits())
    with pytest.raises(ValueError, match="revoked"):
        registry.revoke(cluster_of(foreign), [f"w-{n:030}-*" for n in range(3000)])
    assert registry.clusters() == [cluster_of(foreign)]


async def test_the_longest_list_of_revoked_names_fits_a_line(relay, worker) -> None:
    peer = await relay.register("w-one-a", worker)
    names = [f"w-j{n:026}-*" for n in range(1800)]
    relay.registry.revoke(relay.cluster, names)
    peer.reader._limit = 1 << 20  # type: ignore[attr-defined]
    line = await peer.reader.readline()
    assert len(line) <= 65536
    assert json.loads(line)["names"] == names
