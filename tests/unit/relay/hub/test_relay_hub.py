"""The hub as a whole: its own HTTPS, a renewed certificate, what it counts and logs, and how it ends."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import ssl
from pathlib import Path

import pytest
from relay_ends import DOMAIN, End, Relay, cluster_of, number, until, within
from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from tornado.web import Application, RequestHandler

from jupyter_offload.relay.certificates import make_relay_certificate
from jupyter_offload.relay.hello import ALERT_BUSY, ALERT_UNKNOWN, client_hello
from jupyter_offload.relay.hub.events import Events
from jupyter_offload.relay.hub.hub import Hub
from jupyter_offload.relay.hub.limits import HubLimits, raise_descriptor_limit
from jupyter_offload.relay.hub.registry import ClusterLimits, Registry
from jupyter_offload.relay.hub.tls import RelayCertificate
from jupyter_offload.relay.names import Kind


class Hello(RequestHandler):
    def get(self) -> None:
        self.write(f"hello {self.request.remote_ip}")


def https(stream: IOStream, address: tuple[str, int]) -> None:
    HTTPServer(Application([("/", Hello)])).handle_stream(stream, address)


async def https_end(relay) -> End:
    context = ssl.create_default_context(cafile=str(relay.authority))
    opened = asyncio.open_connection("127.0.0.1", relay.port, ssl=context, server_hostname=DOMAIN)
    return End(*await within(opened))


async def test_the_relays_own_name_is_https(start_relay) -> None:
    relay = await start_relay(on_service=https)
    end = await https_end(relay)
    await end.send(b"GET / HTTP/1.1\r\nHost: relay.test\r\nConnection: close\r\n\r\n")
    assert (await end.rest()).endswith(b"hello 127.0.0.1")
    end.close()
    await until(lambda: number(relay.hub, "service_connections") == number(relay.hub, "open_connections") == 0)


async def test_services_have_limits(start_relay) -> None:
    relay = await start_relay(on_service=https, services=3, services_per_source=2)
    ends = [await https_end(relay) for _ in range(2)]
    await until(lambda: number(relay.hub, "service_connections") == 2)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await https_end(relay)
    assert number(relay.hub, "refusals_total", reason="services") == 1
    ends[0].close()
    await until(lambda: number(relay.hub, "service_connections") == 1)
    await https_end(relay)


async def test_a_renewed_certificate_is_shown_to_all_that_come(certificates, worker, tmp_path: Path) -> None:
    authorities, chains = [], []
    for name in ("old", "new"):
        authority, chain = make_relay_certificate(tmp_path / name, DOMAIN)
        authorities.append(authority)
        chains.append(chain)
    shown = tmp_path / "relay.pem"
    shown.write_bytes(chains[0].read_bytes())
    registry = Registry()
    registry.admit(cluster_of(certificates), certificates.ca_file.read_text(), "me", ClusterLimits())
    hub = Hub(DOMAIN, RelayCertificate(shown), registry, HubLimits(), https)
    await hub.start("127.0.0.1", 0)
    before, after = (Relay(hub, registry, authority, certificates) for authority in authorities)
    peer = await before.register("w-one-a", worker)
    shown.write_text("half a file")
    with pytest.raises(ssl.SSLError):
        hub.reload()
    await https_end(before)
    shown.write_bytes(chains[1].read_bytes())
    hub.reload()
    await https_end(after)
    await after.register("w-one-b", worker)
    with pytest.raises(ssl.SSLCertVerificationError):
        await before.register("w-one-c", worker)
    await peer.tell(op="ping")
    assert (await peer.hear())["op"] == "pong"
    await hub.close()


async def test_draining_sends_everybody_elsewhere(relay, worker) -> None:
    peer = await relay.register("w-one-a", worker)
    session_near, session_far = await relay.joined(peer, "w-one-a")
    hello = client_hello(f"w-one-a.{relay.cluster}.c.{DOMAIN}")
    plain_near = await relay.raw(hello)
    plain_far = await relay.take_up(peer)
    waiting = await relay.to(Kind.session, "w-one-a")
    await peer.hear()
    early, late = await relay.raw(), await relay.raw()
    port = relay.port
    control = await relay.control(worker)
    draining = asyncio.create_task(relay.hub.drain(8))
    assert await peer.hear() == {"op": "drain", "seconds": 8}
    assert relay.hub.draining
    assert await waiting.rest() == ALERT_BUSY
    await early.send(client_hello(f"w-one-a.{relay.cluster}.c.{DOMAIN}"))
    assert await early.rest() == ALERT_BUSY
    await control.tell(op="register", protocol=1, name="w-one-b", instance="0" * 32)
    assert (await control.hear())["code"] == "draining"
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    assert await session_near.rest() == await session_far.rest() == b""
    assert await plain_far.take(len(hello)) == hello
    await plain_near.send(b"goes on")
    assert await plain_far.take(7) == b"goes on"
    plain_near.close()
    plain_far.close()
    await within(draining)  # nobody is left, so it need not wait any longer
    late.close()


async def test_draining_ends_when_its_time_is_over(relay, worker) -> None:
    peer = await relay.register("w-one-a", worker)
    await relay.to(Kind.connect, "w-one-a")
    far = await relay.take_up(peer)
    await within(relay.hub.drain(0.2))
    assert number(relay.hub, "splices") == 1
    await relay.hub.close()
    assert len(await far.rest()) > 0


async def test_closing_leaves_nothing_behind(start_relay, worker) -> None:
    def descriptors() -> int:
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    before, tasks = descriptors(), asyncio.all_tasks()
    relay = await start_relay(on_service=lambda *_: None)
    peer = await relay.register("w-one-a", worker)
    ends = [peer, await relay.control(worker), await relay.raw(), await relay.raw(client_hello(DOMAIN)[:20])]
    ends += [await relay.to(Kind.listen), await https_end(relay), *await relay.joined(peer, "w-one-a")]
    ends += [await relay.to(Kind.session, name) for name in ("w-one-a", "w-one-b")]
    near, far = await relay.joined(peer, "w-one-a") if (await peer.hear()) else ()
    far.writer.transport.pause_reading()
    near.writer.write(bytes(40_000_000))
    await until(lambda: number(relay.hub, "bytes_total", direction="to_peer") > 1_000_000)
    refused = await relay.raw(client_hello("elsewhere.test"))
    assert await refused.take(len(ALERT_UNKNOWN)) == ALERT_UNKNOWN
    assert number(relay.hub, "open_connections") > 10
    await relay.hub.close()
    assert number(relay.hub, "open_connections") == 0
    for end in (*relay.ends, *ends):
        end.writer.transport.abort()
    await until(lambda: descriptors() == before)
    assert asyncio.all_tasks() == tasks
    await relay.hub.close()  # again is harmless


async def test_what_is_counted_names_no_stranger(relay, worker) -> None:
    await relay.joined(await relay.register("w-one-a", worker), "w-one-a")
    await (await relay.raw(client_hello("some-secret.test"))).rest()
    await (await relay.to(Kind.connect, "some-secret", "c" * 52)).rest()
    samples = list(relay.hub.samples())
    values = {value for sample in samples for value in sample.labels.values()}
    assert relay.cluster in values
    assert not any("secret" in value or "c" * 52 in value or "w-one" in value for value in values)
    assert number(relay.hub, "cluster_connections_total", kind="session") == 1
    assert number(relay.hub, "cluster_connections_total", kind="accept") == 1
    assert number(relay.hub, "connections_total", kind="listen") == 1
    assert number(relay.hub, "clusters") == 1
    names = {(s.name, tuple(sorted(s.labels.items()))) for s in samples}
    assert len(names) == len(samples)  # each number once


async def test_a_flood_does_not_fill_the_log(relay, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "offload.relay")
    for _ in range(100):
        await (await relay.raw(client_hello("elsewhere.test"))).take(7)
    written = [r for r in caplog.records if getattr(r, "event", "") == "refused"]
    suppressed = number(relay.hub, "suppressed_events_total")
    assert len(written) + suppressed == 100
    assert suppressed > 0
    assert written[0].source == "127.0.0.1"
    assert written[0].reason == "unknown-name"


def test_an_event_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "offload.relay")
    Events().log("event", field="two\nlines" + "x" * 1000)
    [record] = caplog.records
    assert "\n" not in record.getMessage()
    assert len(record.getMessage()) < 300


def test_the_descriptor_limit_is_raised() -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(300, hard), hard))
    try:
        assert raise_descriptor_limit() > 300 or hard <= 500
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
