"""Listening and connecting through real relays: who gets which name, and what becomes of connections."""

from __future__ import annotations

import asyncio
import gc
import ssl
import weakref

import dask.config
import numpy as np
import pytest
from dask_ends import Listening, ask, dial, echo, until
from distributed.comm import connect, listen
from distributed.comm.core import CommClosedError, FatalCommClosedError
from distributed.protocol import to_serialize
from distributed.security import Security

from jupyter_offload.relay.comm import BadSettings
from jupyter_offload.relay.comm.comms import SessionComm, SplicedComm
from jupyter_offload.relay.comm.listener import RelayListener
from jupyter_offload.relay.comm.security import check_relay


# ---------------------------------------------------------------- messages
@pytest.mark.parametrize(("name", "job", "kind"), [("scheduler", None, SessionComm), ("w-j-", "j", SplicedComm)])
async def test_messages_of_every_size_go_both_ways(relays, security, name, job, kind) -> None:
    await relays.start()
    relays.configure()
    async with Listening(name, security(job)) as listener:
        comm = await dial(listener.contact_address, security())
        assert isinstance(comm, kind)
        assert not comm.same_host
        dice = np.random.default_rng(0)
        arrays = [dice.random(n) for n in (0, 1, 1000, 100_000, 3_000_000)]
        for message in ({"op": "small"}, {"text": "x" * 300_000}, None):
            assert await ask(comm, message) == message
        got = await ask(comm, {str(n): to_serialize(array) for n, array in enumerate(arrays)})
        assert all(np.array_equal(array, got[str(n)]) for n, array in enumerate(arrays))
        assert comm.extra_info["peercert"]["subjectAltName"][0][1] in (name, "w-j-*")
        await comm.close()
        assert comm.closed()
        with pytest.raises(CommClosedError):
            await comm.write({"op": "late"})
        with pytest.raises(CommClosedError):
            await comm.read()


@pytest.mark.parametrize(("name", "job"), [("scheduler", None), ("w-j-", "j")])
async def test_the_other_end_learns_of_a_close_after_the_last_message(relays, security, name, job) -> None:
    await relays.start()
    relays.configure()
    got: asyncio.Queue = asyncio.Queue()

    async def follow(comm) -> None:
        try:
            while True:
                got.put_nowait(await comm.read())
        except CommClosedError as error:
            got.put_nowait(error)

    async with Listening(name, security(job), follow) as listener:
        comm = await dial(listener.contact_address, security())
        await comm.write("one")
        await comm.write("two")
        await comm.close()
        async with asyncio.timeout(10):
            assert [await got.get(), await got.get()] == ["one", "two"]
            assert isinstance(await got.get(), CommClosedError)


async def test_what_came_before_a_close_can_be_read_after_it(relays, security) -> None:
    """Dask asks whether a comm is closed before it reads the next message."""
    await relays.start()
    relays.configure()
    got: asyncio.Queue = asyncio.Queue()
    closed = asyncio.Event()

    async def late(comm) -> None:
        await closed.wait()
        await until(lambda: comm._stream.session.ended)
        while not comm.closed():
            got.put_nowait(await comm.read())
        got.put_nowait("end")

    async with Listening("scheduler", security(), late, role="scheduler") as listener:
        comm = await dial(listener.contact_address, security())
        await comm.write("one")
        await comm.write("two")
        await comm.close()
        closed.set()
        async with asyncio.timeout(10):
            assert [await got.get() for _ in range(3)] == ["one", "two", "end"]


async def test_without_resuming_the_scheduler_is_reached_by_a_splice(relays, security) -> None:
    await relays.start()
    relays.configure()
    with dask.config.set({"relay.resume": 0}):
        async with Listening("scheduler", security(), role="scheduler") as listener:
            comm = await dial(listener.contact_address, security())
            assert isinstance(comm, SplicedComm)
            assert await ask(comm, 1) == 1
            await comm.close()


async def test_a_comm_that_nobody_holds_is_closed(relays, security, caplog) -> None:
    await relays.start()
    relays.configure()
    async with Listening("scheduler", security(), role="scheduler") as listener:
        comm = await dial(listener.contact_address, security())
        session = comm._stream.session
        gone = weakref.ref(comm)
        del comm
        await until(lambda: gc.collect() is not None and gone() is None)
        assert session.ended
        assert "dangling" in caplog.text


async def test_a_listener_that_stopped_leaves_its_connections_alone(relays, security) -> None:
    await relays.start()
    relays.configure()
    async with Listening("w-j-", security("j")) as listener:
        comm = await dial(listener.contact_address, security())
    assert await ask(comm, "still here") == "still here"
    with pytest.raises(OSError, match="Timed out"):
        await dial(listener.contact_address, security(), timeout=1)
    await comm.close()


# ---------------------------------------------------------------- names
async def test_a_dash_at_the_end_asks_for_something_random(relays, security) -> None:
    await relays.start()
    relays.configure()
    async with Listening("w-j-", security("j")) as one, Listening("w-j-", security("j")) as other:
        assert one.contact_address != other.contact_address
        assert all(a.contact_address.startswith("relay://w-j-") for a in (one, other))


@pytest.mark.parametrize("address", ["", "10.1.2.3:0", "[fe80::1]:0", ":0", "10.1.2.3"])
async def test_where_dask_makes_a_name_up_the_configured_one_is_taken(relays, security, address) -> None:
    await relays.start()
    relays.configure()
    with dask.config.set({"relay.name": "w-j-"}):
        listener = RelayListener(address, echo, **security("j").get_listen_args("worker"))
        await listener.start()
        assert listener.contact_address.startswith("relay://w-j-")
        listener.stop()


@pytest.mark.parametrize("address", ["", "10.1.2.3:0", "W-Upper", "w_j", "w-" + "x" * 60 + "-", "-", "a.b"])
async def test_a_name_that_cannot_be_is_refused_before_anything_is_asked(relays, security, address) -> None:
    await relays.start()
    relays.configure()
    with pytest.raises(BadSettings, match=r"--host w-<job>- or set relay\.name"):
        RelayListener(address, echo, **security("j").get_listen_args("worker"))


@pytest.mark.parametrize("name", ["scheduler", "w-other-", "w-j"])
async def test_a_job_gets_no_name_but_its_own(relays, security, name) -> None:
    """Neither the scheduler's nor another job's: roles cannot be swapped."""
    await relays.start()
    relays.configure()
    with pytest.raises(OSError, match=f"refuses relay://{name}.*certificate"):
        async with Listening(name, security("j")):
            pass


async def test_a_name_belongs_to_who_has_it(relays, security) -> None:
    await relays.start()
    relays.configure()
    async with Listening("w-j-1", security("j")) as listener:
        with pytest.raises(OSError, match=r"w-j-1 is not registered after 3 s\..*by another peer"):
            async with Listening("w-j-1", security("j")):
                pass
        comm = await dial(listener.contact_address, security())
        assert await ask(comm, "mine") == "mine"
        await comm.close()


async def test_who_answers_must_be_who_was_asked_for(relays, security, monkeypatch) -> None:
    """A relay that leads to another member of the cluster is found out by the name in the certificate."""
    hub = await relays.start()
    relays.configure()
    async with Listening("w-j-1", security("j")), Listening("w-k-1", security("k")):
        cluster = hub.registry.get(relays.cluster)
        peers = cluster.peers
        peers["w-j-1"], peers["w-k-1"] = peers["w-k-1"], peers["w-j-1"]
        with pytest.raises(FatalCommClosedError, match=r"relay://w-j-1 was answered by w-k-\*; the relay misleads"):
            await dial("relay://w-j-1", security())
        peers["w-j-1"], peers["w-k-1"] = peers["w-k-1"], peers["w-j-1"]
        await (await dial("relay://w-j-1", security())).close()


# ---------------------------------------------------------------- credentials and settings
async def test_plain_security_needs_the_files_in_the_configuration(relays, security, certificates) -> None:
    await relays.start()
    relays.configure()
    file = security("j").tls_worker_cert
    plain = Security(
        tls_ca_file=str(certificates.ca_file), tls_worker_cert=file, tls_worker_key=file, require_encryption=True
    )
    with pytest.raises(BadSettings, match=r"distributed\.comm\.tls\.worker\.cert"):
        listen("relay://w-j-", echo, **plain.get_listen_args("worker"))
    with dask.config.set({"distributed.comm.tls.worker.cert": file, "distributed.comm.tls.worker.key": file}):
        async with Listening("w-j-", plain) as listener:
            await (await dial(listener.contact_address, security())).close()


async def test_without_tls_nothing_is_done(relays) -> None:
    relays.configure(("127.0.0.1", 1))
    with pytest.raises(BadSettings, match="needs TLS"):
        listen("relay://scheduler", echo)
    with pytest.raises(BadSettings, match="needs TLS"):
        await connect("relay://scheduler", timeout=1)


async def test_one_authority_names_the_cluster(relays, certificates, security) -> None:
    relays.configure(("127.0.0.1", 1))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with pytest.raises(BadSettings, match="tls_ca_file has 0"):
        await connect("relay://scheduler", timeout=1, ssl_context=context)


async def test_an_address_must_name_a_peer(relays, security) -> None:
    relays.configure(("127.0.0.1", 1))
    with pytest.raises(ValueError, match="names no peer"):
        await dial("relay://No_Peer", security(), timeout=1)


@pytest.mark.parametrize(
    ("names", "right"),
    [
        (["relay.example.org"], True),
        (["www.example.org", "relay.example.org"], True),
        (["*.example.org"], True),
        (["*.org"], False),
        (["example.org"], False),
        (["other.example.org"], False),
        (["*.relay.example.org"], False),
        ([], False),
    ],
)
def test_the_relays_certificate_must_be_of_its_domain(names, right) -> None:
    """Its server name only routes, so that OpenSSL cannot compare it."""
    certificate = {"subjectAltName": tuple(("DNS", name) for name in names)}
    if right:
        check_relay(certificate, "relay.example.org")
    else:
        with pytest.raises(ssl.CertificateError, match=r"not for relay\.example\.org"):
            check_relay(certificate, "relay.example.org")


async def test_a_relay_of_another_name_is_not_trusted(relays, security) -> None:
    await relays.start()
    relays.configure()
    with (
        dask.config.set({"relay.domain": "other.test"}),
        pytest.raises(OSError, match="not registered after 3 s"),
    ):
        async with Listening("w-j-", security("j")):
            pass
    for file, why in ((str(relays.certificates.ca_file), r"is not trusted: unable to get local issuer certificate"),
                      ("/nowhere.pem", r"'/nowhere\.pem' cannot be used")):  # fmt: skip
        with dask.config.set({"relay.ca-file": file}), pytest.raises(OSError, match=why):
            async with Listening("w-j-", security("j")):
                pass
