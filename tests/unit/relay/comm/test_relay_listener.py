"""Listening and connecting through real relays: who gets which name, and what becomes of connections."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import ssl
import weakref

import dask.config
import numpy as np
import pytest
from distributed.comm import connect, listen
from distributed.comm.core import CommClosedError, FatalCommClosedError
from distributed.protocol import to_serialize
from distributed.security import Security

from jupyter_offload.relay.comm import BadSettings, revocations
from jupyter_offload.relay.comm.comms import SessionComm, SplicedComm
from jupyter_offload.relay.comm.listener import RelayListener
from jupyter_offload.relay.hub.limits import HubLimits

pytestmark = pytest.mark.usefixtures("_forget_revocations")


@pytest.fixture
def _forget_revocations():
    yield
    revocations._clusters.clear()


async def echo(comm) -> None:
    while True:
        try:
            await comm.write(await comm.read())
        except CommClosedError:
            return


class Listening:
    """A listener of Dask as its servers make one."""

    def __init__(self, name: str, security, handler=echo, role: str = "worker") -> None:
        self.listener: RelayListener = listen(
            f"relay://{name}", handler, deserialize=False, **security.get_listen_args(role)
        )

    async def __aenter__(self) -> RelayListener:
        await self.listener.start()
        return self.listener

    async def __aexit__(self, *_) -> None:
        self.listener.stop()
        await asyncio.sleep(0)


async def ask(comm, message):
    async with asyncio.timeout(20):
        await comm.write(message)
        return await comm.read()


def dial(address: str, security, **more):
    return connect(address, timeout=more.pop("timeout", 10), **security.get_connection_args("client"), **more)


async def until(condition, timeout_s: float = 20) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.02)


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


@pytest.fixture(autouse=True)
def _patience(monkeypatch):
    from jupyter_offload.relay.comm import listener

    monkeypatch.setattr(listener, "WORKER_PATIENCE_S", 3.0)


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


# ---------------------------------------------------------------- relays that come and go
def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def test_a_scheduler_starts_without_its_relay_and_is_there_once_it_comes(relays, security) -> None:
    port = free_port()
    relays.configure(("127.0.0.1", port))
    async with Listening("scheduler", security(), role="scheduler") as listener:
        assert not listener.peer.registered
        assert listener.peer.problem == f"The relay 127.0.0.1:{port}: Connection refused."
        told: list[bool] = []
        listener.peer.on_change = lambda: told.append(listener.peer.registered)
        await relays.start(port=port)
        await until(lambda: listener.peer.registered)
        assert listener.peer.problem is None
        assert told[-1] is True
        comm = await dial("relay://scheduler", security())
        assert await ask(comm, "hello") == "hello"
        await comm.close()


async def test_a_worker_without_a_relay_says_why_it_cannot_start(relays, security) -> None:
    relays.configure(("127.0.0.1", free_port()))
    with pytest.raises(
        OSError, match=r"relay://w-j-\w+ is not registered after 3 s\. The relay 127.*: Connection refused"
    ):
        async with Listening("w-j-", security("j")):
            pass


async def test_a_name_that_cannot_be_resolved_is_told(relays, security) -> None:
    relays.configure(("nowhere.invalid", 443))
    with pytest.raises(OSError, match="The relay cannot be found: no address"):
        async with Listening("w-j-", security("j")):
            pass


async def test_every_relay_is_registered_with_and_any_serves(relays, security) -> None:
    first, second = await relays.start(), await relays.start()
    relays.configure()
    async with Listening("w-j-", security("j")) as listener:
        await until(lambda: all(len(hub.registry.describe(relays.cluster).peers) == 1 for hub in (first, second)))
        await first.close()
        for _ in range(4):
            comm = await dial(listener.contact_address, security())
            assert await ask(comm, "hello") == "hello"
            await comm.close()
        await until(lambda: listener.peer.registered)


async def test_a_session_outlives_its_relay(relays, security) -> None:
    first = await relays.start()
    relays.configure()
    address = first.addresses[0]
    async with Listening("scheduler", security(), role="scheduler"):
        comm = await dial("relay://scheduler", security())
        assert await ask(comm, "before") == "before"
        await first.close()
        await comm.write("while it is away")
        await asyncio.sleep(0.3)
        await relays.start(*address)
        async with asyncio.timeout(20):
            assert await comm.read() == "while it is away"
        await comm.close()


async def test_a_relay_that_drains_hands_over_to_its_successor(relays, security) -> None:
    first = await relays.start()
    relays.configure()
    address = first.addresses[0]
    async with (
        Listening("scheduler", security(), role="scheduler") as listener,
        Listening("w-j-", security("j")) as worker,
    ):
        session, splice = await dial("relay://scheduler", security()), await dial(worker.contact_address, security())
        draining = asyncio.ensure_future(first.drain(3))
        await until(lambda: first.draining)
        second = await relays.start(*address)
        await until(lambda: len(second.registry.describe(relays.cluster).peers) == 2)
        assert listener.peer.registered
        assert await ask(splice, "not cut") == "not cut"
        for turn in range(20):
            assert await ask(session, turn) == turn
            await asyncio.sleep(0.1)
        fresh = await dial(worker.contact_address, security())
        assert await ask(fresh, "new") == "new"
        await draining
        await first.close()
        assert await ask(session, "after") == "after"
        for comm in (session, splice, fresh):
            await comm.close()


class Frozen:
    """A way to a hub that can fall silent without an end, as a network does."""

    def __init__(self, hub) -> None:
        self._hub = hub
        self.thawed = asyncio.Event()
        self.thawed.set()
        self.connections = 0
        self._tasks: set[asyncio.Task] = set()

    async def __aenter__(self) -> Frozen:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = self._server.sockets[0].getsockname()
        return self

    async def __aexit__(self, *_) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader, writer) -> None:
        self._tasks.add(asyncio.current_task())
        self.connections += 1
        far_reader, far_writer = await asyncio.open_connection(*self._hub.addresses[0])
        try:
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        except OSError:
            pass
        finally:
            writer.close()
            far_writer.close()

    async def _pump(self, reader, writer) -> None:
        while data := await reader.read(1 << 16):
            await self.thawed.wait()
            writer.write(data)
            await writer.drain()
        writer.close()


async def test_a_relay_that_falls_silent_is_left_and_found_again(relays, security) -> None:
    hub = await relays.start(limits=HubLimits(keepalive_s=0.2))
    async with Frozen(hub) as way:
        relays.configure(way.address)
        async with Listening("w-j-", security("j")) as listener:
            await asyncio.sleep(1.5)
            assert way.connections == 1, "pings keep a registration over which nothing else is said"
            way.thawed.clear()
            await until(lambda: not listener.peer.registered)
            assert listener.peer.problem is not None
            way.thawed.set()
            await until(lambda: listener.peer.registered)
            comm = await dial(listener.contact_address, security())
            assert await ask(comm, "again") == "again"
            await comm.close()


# ---------------------------------------------------------------- revocation
@pytest.mark.parametrize("towards", ["scheduler", "worker"])
async def test_a_revoked_job_is_cut_and_kept_out(relays, security, towards, caplog) -> None:
    caplog.set_level(logging.INFO)
    hub = await relays.start()
    relays.configure()
    job, other = security("j"), security("k")
    async with Listening("scheduler", security(), role="scheduler"), Listening("w-j-", job) as worker:
        if towards == "scheduler":  # the job is the dialer
            comm = await connect("relay://scheduler", timeout=10, **job.get_connection_args("worker"))
        else:
            comm = await dial(worker.contact_address, security())
        bystander = await connect("relay://scheduler", timeout=10, **other.get_connection_args("worker"))
        assert await ask(comm, 1) == 1
        hub.registry.revoke(relays.cluster, {"w-j-*"})
        with pytest.raises(CommClosedError):
            async with asyncio.timeout(10):
                await comm.write(2)
                await comm.read()
        with pytest.raises(OSError):
            if towards == "scheduler":
                again = await connect("relay://scheduler", timeout=2, **job.get_connection_args("worker"))
                await ask(again, 3)
            else:
                await dial(worker.contact_address, security(), timeout=2)
        await until(lambda: not worker.peer.registered)
        assert await ask(bystander, "unharmed") == "unharmed"
        await bystander.close()
        with pytest.raises(OSError, match=r"refuses relay://w-j-.*revoked"):
            async with Listening("w-j-", job):
                pass


async def test_what_one_relay_says_is_revoked_is_so_at_the_other(relays, security) -> None:
    """The ends themselves refuse, so that a relay that was not told, or does not want to know, changes nothing."""
    first, second = await relays.start(), await relays.start()
    relays.configure()
    async with Listening("scheduler", security(), role="scheduler"), Listening("w-j-", security("j")) as worker:
        await until(lambda: len(second.registry.describe(relays.cluster).peers) == 2)
        first.registry.revoke(relays.cluster, {"w-j-*"})
        await until(lambda: not first.registry.describe(relays.cluster).peers[1:])
        assert worker.peer.registered, "the second relay still has it"
        for _ in range(4):
            with pytest.raises((FatalCommClosedError, OSError)):
                await dial(worker.contact_address, security(), timeout=2)
            with pytest.raises(OSError):
                comm = await connect("relay://scheduler", timeout=2, **security("j").get_connection_args("worker"))
                await ask(comm, 1)
