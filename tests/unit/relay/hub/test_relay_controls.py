"""Who may register which name, and when a registration ends."""

from __future__ import annotations

import asyncio
import json
import secrets
import ssl
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from relay_ends import End, number, until, within

from jupyter_offload.relay.hello import ALERT_UNKNOWN
from jupyter_offload.relay.hub.registry import ClusterLimits
from jupyter_offload.relay.names import Kind

INSTANCE = "0123456789abcdef" * 2


def request(**change: Any) -> dict[str, Any]:
    return {"op": "register", "protocol": 1, "name": "w-one-a", "instance": INSTANCE} | change


async def answer_to(relay, certificate, line: bytes) -> dict[str, Any]:
    peer = await relay.control(certificate)
    await peer.send(line)
    answer = await peer.hear()
    if answer["op"] == "refused":
        assert await peer.rest() == b""
    return answer


async def test_a_peer_registers_and_is_known(relay, worker) -> None:
    peer = await relay.control(worker)
    await peer.tell(**request())
    answer = await peer.hear()
    assert answer.pop("relay")
    assert answer == {"op": "registered", "keepalive_s": 10, "revoked": []}
    assert relay.registry.describe(relay.cluster).peers == ("w-one-a",)
    await peer.tell(op="ping")
    assert await peer.hear() == {"op": "pong"}
    peer.close()
    await until(lambda: not relay.registry.describe(relay.cluster).peers)


@pytest.mark.parametrize(
    ("change", "code", "final"),
    [
        ({"protocol": 2}, "bad-request", True),
        ({"op": "ping"}, "bad-request", True),
        ({"instance": "short"}, "bad-request", True),
        ({"instance": 7}, "bad-request", True),
        ({"name": "W-ONE-A"}, "bad-name", True),
        ({"name": "w-one-a.b"}, "bad-name", True),
        ({"name": "w-one-é"}, "bad-name", True),
        ({"name": "w-one-a\n"}, "bad-name", True),
        ({"name": "w-one-" + "a" * 60}, "bad-name", True),
        ({"name": None}, "bad-name", True),
        ({"name": ["w-one-a"]}, "bad-name", True),
        ({"name": "scheduler"}, "not-allowed", True),
        ({"name": "w-two-a"}, "not-allowed", True),
        ({"name": "w-one"}, "not-allowed", True),
    ],
)
async def test_who_may_not_is_told_why(relay, worker, change: dict[str, Any], code: str, final: bool) -> None:
    answer = await answer_to(relay, worker, json.dumps(request(**change)).encode() + b"\n")
    assert (answer["op"], answer["code"], answer["final"]) == ("refused", code, final)
    assert answer["message"]
    assert number(relay.hub, "refusals_total", reason=code) == 1
    assert number(relay.hub, "cluster_refusals_total", reason=code) == 1
    assert relay.registry.describe(relay.cluster).peers == ()


async def test_roles_cannot_be_swapped(relay, certificates) -> None:
    line = json.dumps(request(name="w-one-a")).encode() + b"\n"
    assert (await answer_to(relay, certificates.scheduler_file, line))["code"] == "not-allowed"


@pytest.mark.parametrize("line", [b"\n", b"{\n", b"[]\n", b"\xff\xfe\n", b"7\n", b"[" * 4000 + b"\n", b"NaN\n"])
async def test_what_is_no_message_is_refused(relay, worker, line: bytes) -> None:
    assert (await answer_to(relay, worker, line))["code"] == "bad-request"


@pytest.mark.parametrize("line", [b"x" * 5000, json.dumps(request(padding="x" * 4096)).encode() + b"\n"])
async def test_a_line_that_is_too_long_is_refused(relay, worker, line: bytes) -> None:
    assert (await answer_to(relay, worker, line))["code"] == "bad-request"


async def test_whatever_a_peer_sends_the_relay_lives(relay, worker) -> None:
    """Fuzzed after registration, where most of it is ignored or refused."""
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=6,
    )
    names = st.sampled_from(["op", "protocol", "name", "instance", "id"])
    messages = st.dictionaries(names, values | st.sampled_from(["register", "ping", "w-one-a", INSTANCE]))
    lines = st.binary(max_size=200) | messages.map(lambda m: json.dumps(m).encode() + b"\n")
    sent: list[list[bytes]] = []

    @settings(max_examples=60, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(lines, max_size=8))
    def collect(several: list[bytes]) -> None:
        sent.append(several)

    collect()
    for several in sent:
        peer = await relay.control(worker)
        await peer.tell(**request(instance=secrets.token_hex(16), name=f"w-one-{secrets.token_hex(4)}"))
        try:
            for line in several:
                await peer.send(line)
        except ConnectionError:
            pass
        peer.close()
    await until(lambda: not relay.registry.describe(relay.cluster).peers)
    await relay.register("w-one-a", worker)


async def test_a_peer_that_chatters_is_refused(relay, worker) -> None:
    peer = await relay.register("w-one-a", worker)
    await peer.send(b'{"op": "ping"}\n' * 2000)
    assert b'"bad-request"' in await peer.rest()


async def test_what_openssl_has_read_already_is_not_forgotten(relay, worker) -> None:
    """The last line is in the middle of a record, so nothing more comes that would wake the relay."""
    peer = await relay.register("w-one-a", worker)
    ping = b'{"op": "ping"}\n'
    filler = b'{"op": "' + b"x" * 1000 + b'"}\n'
    whole = filler * (32768 // len(filler))
    peer.writer.write(b'{"op": ""}\n')
    peer.writer.write(whole + b" " * (32768 - len(whole) - len(ping)) + ping)
    assert await peer.hear() == {"op": "pong"}


async def test_who_is_refused_in_the_handshake_reads_why(relay, foreign) -> None:
    """Also when it has sent more by then, which would make a plain close a reset."""
    context = ssl.create_default_context(cafile=str(relay.authority))
    context.check_hostname = False
    context.load_cert_chain(foreign.scheduler_file)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=f"{relay.cluster}.l.relay.test")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    end = await relay.raw(outgoing.read())
    while True:
        incoming.write(await within(end.reader.read(1 << 16)))
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            continue
    tls.write(json.dumps(request()).encode() + b"\n")
    await end.send(outgoing.read())
    incoming.write(await within(end.reader.read(-1)))
    with pytest.raises(ssl.SSLError, match=r"(?i)unknown.ca"):
        tls.read(1)


async def test_a_live_name_cannot_be_taken(relay, worker) -> None:
    owner = await relay.register("w-one-a", worker)
    line = json.dumps(request()).encode() + b"\n"
    answer = await answer_to(relay, worker, line)
    assert (answer["code"], answer["final"]) == ("name-in-use", False)
    await owner.tell(op="ping")
    assert await owner.hear() == {"op": "pong"}


async def test_a_peer_takes_the_place_of_its_own_registration(relay, worker) -> None:
    old = await relay.register("w-one-a", worker, INSTANCE)
    new = await relay.register("w-one-a", worker, INSTANCE)
    assert await old.ended()
    assert relay.registry.describe(relay.cluster).peers == ("w-one-a",)
    await relay.to(Kind.connect, "w-one-a")
    assert (await new.hear())["op"] == "open"


async def test_one_connection_has_one_name(relay, worker) -> None:
    peer = await relay.register("w-one-a", worker)
    await peer.tell(**request(name="w-one-b"))
    assert (await peer.hear())["code"] == "bad-request"
    await until(lambda: not relay.registry.describe(relay.cluster).peers)


async def test_a_cluster_has_only_so_many_peers(start_relay, worker) -> None:
    relay = await start_relay(cluster=ClusterLimits(peers=2))
    one, _ = await relay.register("w-one-a", worker), await relay.register("w-one-b", worker)
    line = json.dumps(request(name="w-one-c")).encode() + b"\n"
    answer = await answer_to(relay, worker, line)
    assert (answer["code"], answer["final"]) == ("too-many-peers", False)
    await relay.register("w-one-a", worker, one.instance)  # is no further one


async def test_only_a_certificate_of_the_cluster_opens_a_control_connection(relay, certificates, foreign) -> None:
    """With TLS 1.3 the client believes itself connected until it reads the alert."""
    with pytest.raises(ssl.SSLError, match=r"(?i)unknown.ca"):
        peer = await relay.control(foreign.scheduler_file)
        await peer.reader.read(1)
    with pytest.raises(ssl.SSLError, match=r"(?i)certificate.required"):
        context = ssl.create_default_context(cafile=str(relay.authority))
        context.check_hostname = False
        name = f"{relay.cluster}.l.relay.test"
        bare = End(*await asyncio.open_connection("127.0.0.1", relay.port, ssl=context, server_hostname=name))
        await bare.reader.read(1)
    await until(lambda: number(relay.hub, "handshakes_total", outcome="failed") == 2)


async def test_old_tls_is_refused(relay, worker) -> None:
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
        await relay.control(worker, maximum_version=ssl.TLSVersion.TLSv1_2)


async def test_a_cluster_that_is_not_admitted_is_refused_before_tls(relay, foreign) -> None:
    end = await relay.to(Kind.listen, cluster="a" * 52)
    assert await end.rest() == ALERT_UNKNOWN
    with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized"):
        await relay.control(foreign.scheduler_file, foreign)


async def test_a_peer_that_is_not_heard_is_cut(start_relay, worker) -> None:
    relay = await start_relay(keepalive_s=0.1)
    silent = await relay.register("w-one-a", worker)
    alive = await relay.register("w-one-b", worker)

    async def ping() -> None:
        while True:
            await alive.tell(op="ping")
            await asyncio.sleep(0.05)

    pinging = asyncio.create_task(ping())
    assert await silent.ended()
    assert relay.registry.describe(relay.cluster).peers == ("w-one-b",)
    pinging.cancel()


async def test_a_peer_that_does_not_read_is_cut(relay, worker) -> None:
    """What it is told must not pile up here."""
    peer = await relay.control(worker)
    peer.reader._limit = 1  # type: ignore[attr-defined]
    peer.writer.transport.pause_reading()
    await peer.tell(**request())
    await until(lambda: relay.registry.describe(relay.cluster).peers == ("w-one-a",))
    [control] = relay.hub.registry.get(relay.cluster).peers.values()
    for _ in range(1000):
        control.tell({"op": "revoked", "names": ["x" * 60000]})
        if control.connection.closed:
            break
    assert control.connection.closed
    assert relay.registry.describe(relay.cluster).peers == ()


async def test_who_never_registers_is_dropped(start_relay, worker) -> None:
    relay = await start_relay(register_s=0.2)
    peer = await relay.control(worker)
    assert await peer.ended()
    assert number(relay.hub, "dropped_total", stage="unregistered", reason="timeout") == 1


async def test_half_open_handshakes_end_and_make_room(start_relay, worker) -> None:
    relay = await start_relay(handshakes=5, handshakes_per_source=None, handshake_s=60)
    ends = [await relay.to(Kind.listen) for _ in range(8)]
    for end in ends[:3]:
        await end.rest()
    assert number(relay.hub, "unfinished_handshakes") == 5
    assert number(relay.hub, "dropped_total", stage="handshake", reason="evicted") == 3
    await relay.register("w-one-a", worker)


async def test_a_handshake_that_never_ends_is_dropped(start_relay) -> None:
    relay = await start_relay(handshake_s=0.2)
    end = await relay.to(Kind.listen)
    await end.rest()
    assert number(relay.hub, "dropped_total", stage="handshake", reason="timeout") == 1
    assert number(relay.hub, "open_connections") == 0


async def test_a_revoked_certificate_registers_nothing(relay, worker, other_worker) -> None:
    relay.registry.revoke(relay.cluster, ["w-one-*"])
    answer = await answer_to(relay, worker, json.dumps(request()).encode() + b"\n")
    assert (answer["code"], answer["final"]) == ("revoked", True)
    peer = await relay.control(other_worker)
    await peer.tell(**request(name="w-two-a"))
    assert (await peer.hear())["revoked"] == ["w-one-*"]
