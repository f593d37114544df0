"""What may come in at the port, what is thrown out, and that nobody can stand in the door."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st
from relay_ends import DOMAIN, End, number, until

from jupyter_offload.relay.hello import ALERT_UNKNOWN, client_hello
from jupyter_offload.relay.hub.hub import Hub
from jupyter_offload.relay.hub.limits import HubLimits, source_of
from jupyter_offload.relay.hub.registry import Registry
from jupyter_offload.relay.hub.tls import RelayCertificate
from jupyter_offload.relay.names import Kind


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: relay.test\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x16\x03\x01\x00\x05hello",
        b"\x16\x03\x01\xff\xff" + bytes(70000),
        b"\x16\x03\x01\x01\x00" + bytes(256),
        bytes(100),
    ],
)
async def test_what_is_no_hello_is_closed_without_a_word(relay, garbage: bytes) -> None:
    end = await relay.raw(garbage)
    assert await end.rest() == b""
    assert number(relay.hub, "refusals_total", reason="no-hello") == 1


@pytest.mark.parametrize(
    "name", ["elsewhere.test", f"x.{DOMAIN}", f"a.b.c.{DOMAIN}", f"{'a' * 52}.c.{DOMAIN}", f"zz.a.{DOMAIN}"]
)
async def test_a_name_that_leads_nowhere_is_refused_by_an_alert(relay, name: str) -> None:
    end = await relay.raw(client_hello(name))
    assert await end.rest() == ALERT_UNKNOWN
    assert number(relay.hub, "refusals_total", reason="unknown-name") == 1


async def test_a_tls_client_reads_the_alert_as_one(relay) -> None:
    context = ssl.create_default_context()
    with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized"):
        await asyncio.open_connection("127.0.0.1", relay.port, ssl=context, server_hostname=f"nobody.{DOMAIN}")


async def test_nobody_waits_for_a_fault_of_ours(relay, worker, monkeypatch, caplog) -> None:
    await relay.register("w-one-a", worker)

    def fail(*_) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(relay.hub._rendezvous, "connect", fail)
    before = number(relay.hub, "open_connections")
    assert await (await relay.to(Kind.connect, "w-one-a")).rest() == b""
    assert number(relay.hub, "open_connections") == before
    assert "a fault" in caplog.text


async def test_a_hello_may_come_in_pieces(relay, worker) -> None:
    peer = await relay.register("w-one-a", worker)
    hello = client_hello(f"w-one-a.{relay.cluster}.s.{DOMAIN}")
    end = await relay.raw(hello[:3])
    for piece in (hello[3:7], hello[7:100], hello[100:]):
        await asyncio.sleep(0.02)
        await end.send(piece)
    assert (await peer.hear())["op"] == "open"


async def test_who_never_says_what_it_wants_is_dropped(start_relay) -> None:
    relay = await start_relay(hello_s=0.2)
    silent, half = await relay.raw(), await relay.raw(client_hello(DOMAIN)[:50])
    assert await silent.rest() == await half.rest() == b""
    assert number(relay.hub, "dropped_total", stage="silent", reason="timeout") == 2
    assert number(relay.hub, "silent") == number(relay.hub, "open_connections") == 0


async def test_the_oldest_silent_connection_makes_room(start_relay) -> None:
    relay = await start_relay(silent=3, silent_per_source=None)
    ends = [await relay.raw() for _ in range(5)]
    assert [await end.rest() for end in ends[:2]] == [b"", b""]
    await until(lambda: number(relay.hub, "silent") == 3)
    assert number(relay.hub, "dropped_total", stage="silent", reason="evicted") == 2
    assert await reaches(relay, ends[2])  # the youngest of them still are let in


async def test_one_source_cannot_have_all_silent_connections(start_relay) -> None:
    relay = await start_relay(silent=100, silent_per_source=3)
    ends = [await relay.raw() for _ in range(5)]
    assert [await end.rest() for end in ends[:2]] == [b"", b""]
    await until(lambda: number(relay.hub, "silent") == 3)
    other = await relay.raw(source="127.0.0.2")
    await until(lambda: number(relay.hub, "silent") == 4)
    assert await reaches(relay, other)


async def reaches(relay, end: End) -> bool:
    await end.send(client_hello(f"nobody.{DOMAIN}"))
    heard = await end.rest()
    end.close()
    return heard == ALERT_UNKNOWN


async def test_one_source_cannot_have_all_connections(start_relay) -> None:
    relay = await start_relay(connections_per_source=3)
    ends = [await relay.raw() for _ in range(5)]
    assert [await end.rest() for end in ends[3:]] == [b"", b""]
    assert number(relay.hub, "refusals_total", reason="source-full") == 2
    other = await relay.raw(source="127.0.0.2")
    assert await reaches(relay, other)
    ends[0].close()
    await until(lambda: number(relay.hub, "open_connections") == 2)
    assert await reaches(relay, await relay.raw())


async def test_a_full_relay_drops_the_silent_for_others_and_never_who_is_joined(start_relay, worker) -> None:
    relay = await start_relay(connections=4)
    peer = await relay.register("w-one-a", worker)
    near, far = await relay.joined(peer, "w-one-a")
    silent = await relay.raw()
    assert await reaches(relay, await relay.raw())
    assert await silent.rest() == b""
    await until(lambda: number(relay.hub, "open_connections") == 3)
    second = await relay.to(Kind.session, "w-one-a")
    await peer.hear()
    assert await (await relay.raw()).rest() == b""
    assert number(relay.hub, "refusals_total", reason="relay-full") == 1
    await near.send(b"still here")
    assert await far.take(10) == b"still here"
    second.close()


async def test_without_descriptors_it_waits_and_goes_on(relay, monkeypatch) -> None:
    calls = 0

    class Exhausted:
        def __init__(self, listener: socket.socket) -> None:
            self._listener = listener

        def accept(self) -> tuple[socket.socket, object]:
            nonlocal calls
            calls += 1
            if calls < 3:
                raise OSError(errno.EMFILE, "Too many open files")
            return self._listener.accept()

        def __getattr__(self, name: str) -> object:
            return getattr(self._listener, name)

    silent = await relay.raw()
    await until(lambda: number(relay.hub, "silent") == 1)
    gate = relay.hub._gate
    port, [listener] = relay.port, gate._listeners
    asyncio.get_running_loop().remove_reader(listener)
    gate._listeners[:] = [Exhausted(listener)]
    asyncio.get_running_loop().add_reader(listener, gate._accept, gate._listeners[0])
    end = End(*await asyncio.open_connection("127.0.0.1", port))
    assert await silent.rest() == b""  # gives its descriptor to others
    assert await reaches(relay, end)
    assert number(relay.hub, "accept_errors_total") == 2
    assert number(relay.hub, "dropped_total", stage="silent", reason="evicted") == 1


async def test_it_listens_on_every_address_of_a_name(relay_files, certificates) -> None:
    hub = Hub(DOMAIN, RelayCertificate(relay_files[1]), Registry(), HubLimits(), lambda *_: None)
    await hub.start("", 0)
    assert len({port for _, port in hub.addresses}) == 1
    for address, port in hub.addresses:
        host = "127.0.0.1" if address == "0.0.0.0" else "::1"
        end = End(*await asyncio.open_connection(host, port))
        await end.send(client_hello("elsewhere.test"))
        assert await end.rest() == ALERT_UNKNOWN
    await hub.close()


async def test_a_port_that_is_taken_is_an_error(relay, start_relay) -> None:
    with pytest.raises(OSError, match="in use"):
        await relay.hub.start("127.0.0.1", relay.port)


@given(st.ip_addresses(v=6), st.integers(0, 2**64 - 1))
def test_a_whole_network_of_ipv6_is_one_source(address, host: int) -> None:
    neighbour = type(address)((int(address) >> 64 << 64) | host)
    if address.ipv4_mapped is None and neighbour.ipv4_mapped is None:
        assert source_of(str(address)) == source_of(f"{neighbour}%eth0")


def test_addresses_of_ipv4_are_each_a_source() -> None:
    assert source_of("10.0.0.1") == source_of("::ffff:10.0.0.1") == "10.0.0.1" != source_of("10.0.0.2")
    assert source_of("no address") == "no address"
