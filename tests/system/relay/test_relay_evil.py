"""A relay that is evil itself can neither read, nor alter, nor lead astray; Dask's own TLS runs from end to end."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import dask.config
import numpy as np
import pytest
from distributed import Client, Scheduler, Worker, wait
from distributed.comm import connect, listen
from distributed.comm.core import Comm, CommClosedError, FatalCommClosedError
from distributed.protocol import to_serialize
from evil_relays import Impostor, Tap

from jupyter_offload.relay.certificates import (
    ClusterCertificates,
    issue_job_certificate,
    make_cluster_certificates,
    make_relay_certificate,
)
from jupyter_offload.relay.comm import RelaySecurity
from jupyter_offload.relay.hub.hub import Hub
from jupyter_offload.relay.hub.limits import HubLimits
from jupyter_offload.relay.hub.registry import ClusterLimits, Registry
from jupyter_offload.relay.hub.tls import RelayCertificate
from jupyter_offload.relay.names import fingerprint

DOMAIN = "relay.test"
MARKER = b"NOBODY-BUT-THE-TWO-ENDS-MAY-READ-THIS"
PATIENCE_S = 60


@dataclass
class Stage:
    """A relay in this process, with a tap before it through which everybody goes."""

    hub: Hub
    registry: Registry
    tap: Tap
    files: ClusterCertificates
    cluster: str
    folder: Path
    listeners: list = field(default_factory=list)
    errors: list = field(default_factory=list)  # of the echoes

    def security(self, job: str | None = None) -> RelaySecurity:
        file = self.files.scheduler_file
        if job is not None:
            file = self.folder / f"{job}.pem"
            file.write_bytes(issue_job_certificate(self.files.ca_file.parent, job, datetime.timedelta(hours=1)))
        roles = {f"tls_{role}_{what}": str(file) for role in ("scheduler", "worker") for what in ("cert", "key")}
        client = {f"tls_client_{what}": str(self.files.client_file) for what in ("cert", "key")}
        return RelaySecurity(tls_ca_file=str(self.files.ca_file), require_encryption=True, **roles, **client)

    async def echo(self, name: str, job: str | None) -> str:
        """Listen with an echo; return the address."""

        async def answer(comm: Comm) -> None:
            try:
                while True:
                    await comm.write(await comm.read())
            except CommClosedError as error:
                self.errors.append(error)

        listener = listen(
            f"relay://{name}", answer, deserialize=False, **self.security(job).get_listen_args("scheduler")
        )
        await listener.start()
        self.listeners.append(listener)
        return listener.contact_address

    async def dial(self, address: str) -> Comm:
        return await connect(address, timeout=10, **self.security().get_connection_args("client"))


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    files = make_cluster_certificates(tmp_path / "cluster", "mine")
    pem = files.ca_file.read_text()
    cluster = fingerprint(ssl.PEM_cert_to_DER_cert(pem))
    authority, chain = make_relay_certificate(tmp_path / "relay", DOMAIN)
    registry = Registry()
    registry.admit(cluster, pem, "me", ClusterLimits())
    hub = Hub(DOMAIN, RelayCertificate(chain), registry, HubLimits(), lambda stream, _: stream.close())
    await hub.start("127.0.0.1", 0)
    async with Tap(hub.addresses[0][1]) as tap:
        where = {"relay.addresses": [f"127.0.0.1:{tap.port}"], "relay.domain": DOMAIN, "relay.ca-file": str(authority)}
        with dask.config.set(where):
            made = Stage(hub, registry, tap, files, cluster, tmp_path)
            yield made
            for listener in made.listeners:
                listener.stop()
            await asyncio.sleep(0)
        await hub.close()


# ---------------------------------------------------------------- reading
async def test_a_relay_cannot_read_what_dask_sends(stage: Stage) -> None:
    """Results, arguments, scattered data, code and logs of a cluster, all through the tap."""
    size = 2_000_000
    options = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
    data = MARKER * (size // len(MARKER))
    async with Scheduler(host="scheduler", protocol="relay", security=stage.security(), **options) as scheduler:
        workers = [
            await Worker(
                scheduler.address, host=f"w-{job}-", security=stage.security(job), nthreads=1,
                local_directory=str(stage.folder), **options,
            )
            for job in ("one", "two")
        ]  # fmt: skip
        async with Client(scheduler.address, security=stage.security(), asynchronous=True) as client:
            async with asyncio.timeout(PATIENCE_S):
                made = client.submit(lambda: MARKER * (size // len(MARKER)), workers=workers[0].address)
                moved = client.submit(len, made, workers=workers[1].address)
                assert await moved == len(data)
                assert await client.gather(made, direct=True) == data
                assert await client.gather(made, direct=False) == data
                [there] = await client.scatter([data], workers=[workers[1].address])
                assert await client.submit(bytes.count, there, MARKER) == size // len(MARKER)
                await wait(there)
        for worker in workers:
            await worker.close()
    seen = bytes(stage.tap.recorded["up"] + stage.tap.recorded["down"])
    assert len(seen) > 4 * size  # it was really there that all of it went through
    assert cluster_name_is_visible(seen, stage.cluster)
    for secret in (MARKER, MARKER[:12], b"register-worker", b"compute-task", b"lambda"):
        assert secret not in seen, secret


def cluster_name_is_visible(seen: bytes, cluster: str) -> bool:
    """What routes is in the clear, so the tap can read what is not encrypted."""
    return cluster.encode() in seen


# ---------------------------------------------------------------- altering
@pytest.mark.parametrize(("name", "job"), [("scheduler", None), ("w-one-", "one")])
@pytest.mark.parametrize("direction", ["up", "down"])
async def test_a_relay_cannot_alter_what_dask_sends(stage: Stage, name: str, job: str | None, direction: str) -> None:
    """One bit, and the connection breaks with a TLS error: never does a wrong number arrive."""
    comm = await stage.dial(await stage.echo(name, job))
    numbers = np.random.default_rng(1).random(500_000)
    async with asyncio.timeout(PATIENCE_S):
        await comm.write({"numbers": to_serialize(numbers)})
        assert np.array_equal((await comm.read())["numbers"], numbers)
        flip = stage.tap.flip_once(direction, 1_500_000)
        with pytest.raises((CommClosedError, ssl.SSLError, OSError)) as broken:
            await comm.write({"numbers": to_serialize(numbers)})
            answer = await comm.read()
            assert np.array_equal(answer["numbers"], numbers), "wrong numbers arrived"
    assert flip.done
    assert comm.closed()
    async with asyncio.timeout(PATIENCE_S):
        while not stage.errors:
            await asyncio.sleep(0.01)
    told = " ".join(f"{error!r} {error.__cause__!r}" for error in (broken.value, *stage.errors))
    assert "bad record mac" in told.lower().replace("_", " "), told


# ---------------------------------------------------------------- leading astray
async def test_a_relay_that_leads_to_another_peer_is_found_out(stage: Stage) -> None:
    """Both are of the cluster and prove it; but the certificate does not cover the name that was asked for."""
    one, two = await stage.echo("w-one-", "one"), await stage.echo("w-two-", "two")
    peers = stage.hub.registry.get(stage.cluster).peers
    first, second = (address.removeprefix("relay://") for address in (one, two))
    peers[first], peers[second] = peers[second], peers[first]
    with pytest.raises(FatalCommClosedError, match=r"w-two-\*"):
        await stage.dial(one)
    peers[first], peers[second] = peers[second], peers[first]
    comm = await stage.dial(one)
    await comm.write("right")
    assert await comm.read() == "right"


async def test_a_worker_that_answers_for_the_scheduler_is_found_out(stage: Stage) -> None:
    worker = (await stage.echo("w-one-", "one")).removeprefix("relay://")
    await stage.echo("scheduler", None)
    peers = stage.hub.registry.get(stage.cluster).peers
    peers["scheduler"] = peers[worker]
    with dask.config.set({"relay.resume": 0}), pytest.raises(FatalCommClosedError, match=r"w-one-\*"):
        await stage.dial("relay://scheduler")


@pytest.mark.parametrize("with_names", [True, False])
async def test_a_relay_in_the_middle_is_found_out(stage: Stage, tmp_path: Path, with_names: bool) -> None:
    """It ends the TLS itself, with a certificate for the right name, but of an authority of its own."""
    other = make_cluster_certificates(tmp_path / "other", "mine")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(other.scheduler_file if with_names else make_relay_certificate(tmp_path / "r", DOMAIN)[1])
    async with Impostor(context) as impostor:
        with dask.config.set({"relay.addresses": [f"127.0.0.1:{impostor.port}"], "relay.resume": 0}):
            with pytest.raises(FatalCommClosedError, match=r"(?i)self.signed|unable to get|certificate"):
                await stage.dial("relay://scheduler")
            with pytest.raises(FatalCommClosedError, match=r"(?i)self.signed|unable to get|certificate"):
                await stage.dial("relay://w-one-a")
        assert impostor.heard == b""


async def test_an_impostor_gets_no_registration(stage: Stage, tmp_path: Path) -> None:
    """A peer shows its certificate only to a relay whose authority it knows."""
    _, chain = make_relay_certificate(tmp_path / "impostor", DOMAIN)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    async with Impostor(context) as impostor:
        with dask.config.set({"relay.addresses": [f"127.0.0.1:{impostor.port}"]}):
            starting = asyncio.create_task(stage.echo("w-one-", "one"))
            done, _ = await asyncio.wait([starting], timeout=2)
            assert not done or starting.exception() is not None
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
        assert (impostor.heard, impostor.shook_hands) == (b"", 0)
