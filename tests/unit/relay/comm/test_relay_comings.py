"""Relays that come, go, drain and fall silent, and certificates that are revoked: what listeners and connections do."""

from __future__ import annotations

import asyncio
import logging
import socket

import dask.config
import pytest
from dask_ends import Listening, ask, dial, until
from distributed.comm import connect
from distributed.comm.core import CommClosedError, FatalCommClosedError

from jupyter_offload.relay.comm.connector import RelayConnector
from jupyter_offload.relay.hub.limits import HubLimits


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


@pytest.mark.parametrize("name", ["scheduler", "w-j-1"])
async def test_whoever_connects_while_the_relay_is_away_is_there_when_it_comes(relays, security, name) -> None:
    """In one attempt: Dask's pauses between attempts grow with the outage."""
    port = free_port()
    relays.configure(("127.0.0.1", port))
    arguments = security().get_connection_args("client")
    connecting = asyncio.ensure_future(RelayConnector().connect(name, **arguments))
    await asyncio.sleep(0.5)
    assert not connecting.done()
    await relays.start(port=port)
    async with Listening(name, security("j" if name != "scheduler" else None)):
        async with asyncio.timeout(20):
            comm = await connecting
        comm.abort()


async def test_what_is_not_the_relays_absence_is_told_at_once(relays, security) -> None:
    await relays.start()
    relays.configure()
    with dask.config.set({"relay.domain": "other.test"}), pytest.raises(CommClosedError, match="it knows no such peer"):
        await RelayConnector().connect("scheduler", **security().get_connection_args("client"))


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
        await self.thawed.wait()  # an end is not heard either
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
