"""A live cluster keeps its pace while its relay is attacked, and what attackers get for it."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import resource
import secrets
import ssl
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.config
import pytest
import pytest_asyncio
from attacked_hub import DOMAIN, AttackedHub
from attackers import Attacker, Insider, control_context, ended, garbage
from distributed import Client, Scheduler, Worker
from distributed.comm import connect, listen
from distributed.comm.core import CommClosedError, FatalCommClosedError

from jupyter_offload.relay.certificates import (
    ClusterCertificates,
    issue_job_certificate,
    make_cluster_certificates,
    make_relay_certificate,
)
from jupyter_offload.relay.comm import RelaySecurity
from jupyter_offload.relay.hello import ALERT_BUSY, ALERT_UNKNOWN, client_hello
from jupyter_offload.relay.names import Kind, fingerprint

pytestmark = pytest.mark.asyncio(loop_scope="module")
PATIENCE_S = 60
_FLOOD = 2000


@dataclass
class Live:
    """A cluster at work, its relay, and the files of its certificates."""

    hub: AttackedHub
    files: ClusterCertificates
    cluster: str
    authority: Path
    folder: Path
    client: Client
    scheduler: Scheduler
    workers: list[Worker]

    def job(self, name: str, files: ClusterCertificates | None = None) -> Path:
        """The certificate of one job."""
        made = self.folder / f"{name}-{secrets.token_hex(4)}.pem"
        folder = (files or self.files).ca_file.parent
        made.write_bytes(issue_job_certificate(folder, name, datetime.timedelta(hours=1)))
        return made

    async def probe(self) -> float:
        """Let both workers do something and open a new connection to the scheduler and to a worker; return the seconds."""
        begun = time.monotonic()
        async with asyncio.timeout(PATIENCE_S):
            futures = [
                self.client.submit(lambda x: x + 1, n, workers=w.address, pure=False)
                for n, w in enumerate(self.workers)
            ]
            assert await self.client.gather(futures) == [1, 2]
            for address in (self.scheduler.address, self.workers[0].address):
                comm = await connect(address, timeout=PATIENCE_S, **security(self.files).get_connection_args("client"))
                await comm.write({"op": "identity", "reply": True})
                assert (await comm.read())["type"] in ("Scheduler", "Worker")
                await comm.close()
        return time.monotonic() - begun

    async def meanwhile(self, measure: Any, what: str, attack: Callable[[], Any]) -> Any:
        """Probe until an attack in a thread is over; return what that found."""
        calm = await self.probe()
        attacking = asyncio.create_task(asyncio.to_thread(attack))
        times = [await self.probe()]
        while not attacking.done():
            times.append(await self.probe())
        found = await attacking
        times.append(await self.probe())
        assert self.hub.alive
        assert len(self.scheduler.workers) == 2
        measure.note(f"{what}: probe {calm * 1e3:.0f} ms before, at most {max(times) * 1e3:.0f} ms in {len(times)}")
        return found


def security(files: ClusterCertificates, worker: Path | None = None) -> RelaySecurity:
    scheduler = worker or files.scheduler_file
    roles = {f"tls_{role}_{what}": str(scheduler) for role in ("scheduler", "worker") for what in ("cert", "key")}
    client = {f"tls_client_{what}": str(files.client_file) for what in ("cert", "key")}
    return RelaySecurity(tls_ca_file=str(files.ca_file), require_encryption=True, **roles, **client)


def cluster_of(files: ClusterCertificates) -> str:
    return fingerprint(ssl.PEM_cert_to_DER_cert(files.ca_file.read_text()))


@pytest.fixture(scope="module", autouse=True)
def many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 10_000
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"floods need {wanted} file descriptors, and this user may have {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def live(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Live]:
    folder = tmp_path_factory.mktemp("live")
    files = make_cluster_certificates(folder / "cluster", "mine")
    authority, chain = make_relay_certificate(folder / "relay", DOMAIN)
    hub = AttackedHub(
        folder, chain, [files.ca_file], limits={"connections_per_source": 6000}, cluster_limits={"pending_per_peer": 256}
    )  # fmt: skip
    settings = {"relay.addresses": [f"127.0.0.1:{hub.port}"], "relay.domain": DOMAIN, "relay.ca-file": str(authority)}
    local = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
    with dask.config.set(settings):
        made = Live(hub, files, cluster_of(files), authority, folder, None, None, [])  # type: ignore[arg-type]
        async with Scheduler(host="scheduler", protocol="relay", security=security(files), **local) as made.scheduler:
            made.workers = [
                await Worker(
                    made.scheduler.address, host=f"w-{job}-", security=security(files, made.job(job)), nthreads=1,
                    local_directory=str(folder), **local,
                )
                for job in ("one", "two")
            ]  # fmt: skip
            address = made.scheduler.address
            async with Client(address, security=security(files), asynchronous=True) as made.client:
                await made.probe()
                yield made
            for worker in made.workers:
                await worker.close()
    hub.end()


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> ClusterCertificates:
    """Another cluster, whose authority calls itself as ours does."""
    return make_cluster_certificates(tmp_path_factory.mktemp("foreign"), "mine")


# ---------------------------------------------------------------- who has not the cluster's key
async def test_a_key_of_another_authority_opens_nothing(live: Live, foreign: ClusterCertificates, measure) -> None:
    stranger = live.job("one", foreign)

    def attack() -> None:
        context = control_context(live.authority, stranger)
        with pytest.raises(OSError, match=r"(?i)unknown ca|reset|closed|EOF|unknown_ca"):
            Insider(live.hub.port, context, live.cluster).register("w-one-x")
        for peer in ("scheduler", live.workers[0].address.removeprefix("relay://")):
            inner = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            inner.check_hostname = False
            inner.load_verify_locations(live.files.ca_file)  # it knows the cluster's certificate, which is no secret
            inner.load_cert_chain(stranger)
            with Attacker(live.hub.port) as attacker, contextlib.suppress(ssl.SSLError, ConnectionError):
                plain = attacker.open()
                tls = inner.wrap_socket(plain, server_hostname=f"{peer}.{live.cluster}.c.{DOMAIN}")
                attacker.held.append(tls)
                assert tls.recv(1) == b"", "the other end spoke to somebody without a certificate of the cluster"

    await live.meanwhile(measure, "keys of another authority", attack)
    assert live.hub.number("handshakes_total", outcome="failed") >= 1


async def test_a_cluster_that_is_not_admitted_is_nobody(live: Live, foreign: ClusterCertificates, measure) -> None:
    begun = live.hub.number("refusals_total", reason="unknown-cluster")
    with pytest.raises((OSError, CommClosedError)):
        await connect("relay://scheduler", timeout=3, **security(foreign).get_connection_args("client"))

    def attack() -> None:
        with Attacker(live.hub.port) as attacker:
            for kind in (Kind.connect, Kind.session, Kind.listen):
                peer = "" if kind is Kind.listen else "scheduler"
                assert attacker.hello(kind, peer, cluster_of(foreign)).recv(100) == ALERT_UNKNOWN

    await live.meanwhile(measure, "a cluster that is not admitted", attack)
    assert live.hub.number("refusals_total", reason="unknown-cluster") >= begun + 4


# ---------------------------------------------------------------- insiders
async def test_an_insider_gets_no_name_but_its_own(live: Live, measure) -> None:
    certificate = live.job("one")
    name = live.workers[0].address.removeprefix("relay://")

    def attack() -> dict[str, object]:
        answers = {}
        for wanted in (name, "scheduler", live.workers[1].address.removeprefix("relay://"), "client"):
            insider = Insider(live.hub.port, control_context(live.authority, certificate), live.cluster)
            answers[wanted] = insider.register(wanted)["code"]
            insider.close()
        return answers

    answers = await live.meanwhile(measure, "squatting", attack)
    assert answers.pop(name) == "name-in-use"
    assert set(answers.values()) == {"not-allowed"}


async def test_a_worker_cannot_be_the_scheduler_for_dask_either(live: Live) -> None:
    arguments = security(live.files, live.job("one")).get_listen_args("scheduler")
    with pytest.raises(Exception, match=r"not-allowed|allows"):
        listener = listen("relay://scheduler", lambda comm: None, **arguments)
        await listener.start()
    await live.probe()


async def test_a_mute_insider_keeps_nobody_else_from_being_reached(live: Live, measure) -> None:
    def attack() -> int:
        insider = Insider(live.hub.port, control_context(live.authority, live.job("one")), live.cluster)
        assert insider.register("w-one-mute")["op"] == "registered"
        with Attacker(live.hub.port) as attacker:
            for n in range(700):
                attacker.hello((Kind.connect, Kind.session)[n % 2], "w-one-mute", live.cluster)
            insider.socket.settimeout(30)
            refused = sum(one.recv(100) == ALERT_BUSY for one in attacker.held[-100:])
        insider.close()
        return refused

    assert await live.meanwhile(measure, "700 connectors at a mute insider", attack) == 100
    assert live.hub.number("cluster_refusals_total", reason="peer-pending") >= 700 - 256


# ---------------------------------------------------------------- strangers at the port
async def test_dial_back_ids_cannot_be_guessed(live: Live, measure) -> None:
    def attack() -> None:
        with Attacker(live.hub.port) as attacker:
            for _ in range(500):
                one = attacker.hello(Kind.accept, secrets.token_hex(16))
                assert one.recv(100) == ALERT_UNKNOWN
                one.close()

    await live.meanwhile(measure, "500 guessed ids", attack)
    assert live.hub.number("refusals_total", reason="unknown-id") >= 500


async def test_garbage_is_thrown_out(live: Live, measure) -> None:
    def attack() -> None:
        with Attacker(live.hub.port) as attacker:
            for data in garbage(live.cluster, 800):
                with contextlib.suppress(OSError):
                    attacker.open(data)
            time.sleep(0.5)

    await live.meanwhile(measure, "800 times garbage, HTTP and mutated hellos", attack)
    assert live.hub.number("refusals_total", reason="no-hello") >= 300
    assert "Traceback" not in live.hub.log.read_text()


async def test_who_is_slow_is_cut(live: Live, measure) -> None:
    hello = client_hello(f"scheduler.{live.cluster}.c.{DOMAIN}")

    def attack() -> int:
        with Attacker(live.hub.port) as attacker:
            attacker.flood(400, hello[:1])
            for byte in hello[1:20]:
                time.sleep(0.4)  # what makes it slow
                for one in attacker.held:
                    with contextlib.suppress(OSError):
                        one.send(bytes([byte]))
            return attacker.open_ones()

    assert await live.meanwhile(measure, "400 of one byte at a time", attack) == 0


async def test_a_flood_of_idle_connections_is_bounded(live: Live, measure) -> None:
    def attack() -> tuple[float, int]:
        with Attacker(live.hub.port) as attacker:
            attacker.flood(_FLOOD)
            held, descriptors = live.hub.number("silent"), live.hub.descriptors
            assert all(ended(one) for one in attacker.held)
            return held, descriptors

    held, descriptors = await live.meanwhile(measure, f"{_FLOOD} idle connections", attack)
    assert held <= 512
    assert descriptors < 900
    measure.note(f"the relay's memory after it: {live.hub.memory_mb:.0f} MB")


async def test_floods_of_half_open_handshakes_take_bounded_memory(live: Live, measure) -> None:
    hello = client_hello(f"{live.cluster}.l.{DOMAIN}")
    before, begun = live.hub.memory_mb, live.hub.number("connections_total", kind="listen")

    def attack() -> list[float]:
        sizes = []
        for _ in range(5):
            with Attacker(live.hub.port) as attacker:
                attacker.flood(_FLOOD, hello)
                live.hub.wait_for(begun + _FLOOD * (len(sizes) + 1), "connections_total", kind="listen")
                sizes.append(live.hub.memory_mb)
        return sizes

    sizes = await live.meanwhile(measure, f"5 times {_FLOOD} half-open handshakes", attack)
    measure.note(f"the relay's memory: {before:.0f} MB before, then " + ", ".join(f"{size:.0f}" for size in sizes))
    assert sizes[0] - before < 60
    assert max(sizes[1:]) - sizes[0] < 10  # once is enough: nothing of the dead ones stays
    assert live.hub.number("dropped_total", stage="handshake", reason="evicted") > _FLOOD


async def test_one_source_cannot_take_the_place_of_another(live: Live, measure) -> None:
    """The attacker has 127.0.0.2 to himself, up to what one source may have."""
    name = f"nobody.{live.cluster}.s.{DOMAIN}"

    def attack() -> float:
        with Attacker(live.hub.port, "127.0.0.2") as attacker:
            try:
                attacker.open()
            except OSError:
                pytest.skip("this system has one loopback address")
            for data in (b"", client_hello(f"{live.cluster}.l.{DOMAIN}"), client_hello(name), client_hello(DOMAIN)):
                attacker.flood(1500, data)
            return live.hub.number("open_connections")

    assert await live.meanwhile(measure, "6000 connections of another source", attack) < 3000


# ---------------------------------------------------------------- sessions
def opening(session_id: bytes, path: int, received: int, proof: bytes) -> bytes:
    return session_id + struct.pack(">IQ", path, received) + proof


async def test_hostile_openings_of_sessions_do_not_disturb_others(live: Live, measure) -> None:
    """At the scheduler, where everybody may open a session up to the inner TLS."""

    def frames() -> Iterator[bytes]:
        new = opening(secrets.token_bytes(16), 0, 0, bytes(32))
        yield secrets.token_bytes(200)
        yield new + b"D" + struct.pack(">I", 2**32 - 1) + bytes(1000)
        yield new + b"D" + struct.pack(">I", 1 << 20) + bytes(1 << 20)
        yield new + b"A" + struct.pack(">I", 8) + struct.pack(">Q", 2**64 - 1)
        yield new + b"?" + bytes(100)
        yield new + b"F" + struct.pack(">I", 7) + bytes(7)
        yield new + b"D" + struct.pack(">I", 5) + b"hello"
        yield opening(secrets.token_bytes(16), 7, 99, secrets.token_bytes(32))
        yield new[:20]

    def attack() -> None:
        with Attacker(live.hub.port) as attacker:
            for n in range(30):
                for data in frames():
                    with contextlib.suppress(OSError):
                        attacker.hello(Kind.session, "scheduler", live.cluster, data)
                if n % 10 == 9:
                    time.sleep(0.3)

    before = len(live.scheduler.workers)
    await live.meanwhile(measure, "270 hostile openings of sessions", attack)
    assert len(live.scheduler.workers) == before


async def test_paths_of_living_sessions_cannot_be_taken_over(live: Live, measure) -> None:
    """By somebody who saw the ids on the wire, but has not the secret inside the TLS."""
    listener = live.scheduler.listeners[0]
    ids = list(listener._sessions._sessions)
    assert len(ids) >= 2  # those of the workers at least

    def attack() -> int:
        ended_ones = 0
        with Attacker(live.hub.port) as attacker:
            for session_id in ids:
                for path in (0, 1, 5, 2**32 - 1):
                    for proof in (bytes(32), secrets.token_bytes(32)):
                        data = opening(session_id, path, 0, proof)
                        one = attacker.hello(Kind.session, "scheduler", live.cluster, data)
                        ended_ones += ended(one)
        return ended_ones

    assert await live.meanwhile(measure, "paths of others' sessions", attack) == len(ids) * 8
    assert set(ids) & set(listener._sessions._sessions)


async def test_what_answers_with_a_wrong_certificate_is_not_believed(live: Live, foreign: ClusterCertificates) -> None:
    """Whoever is at the other end, the connector wants a certificate of the cluster that covers the name."""
    arguments = security(foreign).get_connection_args("client")
    assert arguments["ssl_context"] is not None
    with pytest.raises((CommClosedError, FatalCommClosedError, OSError)):
        await connect(live.workers[0].address, timeout=3, **arguments)
    await live.probe()
