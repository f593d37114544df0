"""Sessions over connections that break at any byte: nothing is lost, doubled or taken from anybody else."""

from __future__ import annotations

import asyncio
import dataclasses
import random
import secrets
import socket
import struct

import pytest
from junction import Junction

from jupyter_offload.relay.comm import paths
from jupyter_offload.relay.comm.dialing import dial
from jupyter_offload.relay.comm.paths import MAXIMUM_UNPROVEN, Dialler, Sessions
from jupyter_offload.relay.comm.secure import SecureStream
from jupyter_offload.relay.comm.session import (
    COUNTER,
    FRAME,
    NO_PROOF,
    OPENING,
    Session,
    SessionLost,
    proof,
    read_exactly,
)
from jupyter_offload.relay.names import Kind, Target, server_name

CLUSTER = "a" * 52


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(paths.Backoff, "_LONGEST_S", 0.1)


class Pair:
    """Both ends of one session, with TLS, over a junction."""

    def __init__(self, settings, client_context, server_context, monkeypatch, budget=lambda _: None, registered=None):
        self.registered = registered
        self.sessions = Sessions(settings, lambda _: self.registered)
        self.junction = Junction(self.sessions, budget)
        self._settings, self._contexts, self._patch = settings, (client_context, server_context), monkeypatch

    async def __aenter__(self) -> Pair:
        await self.junction.__aenter__()

        async def found(_):
            return [self.junction.endpoint]

        self._patch.setattr(paths, "endpoints", found)
        return self

    async def __aexit__(self, *_):
        for session in (getattr(self, "near", None), getattr(self, "far", None)):
            if session is not None:
                session.session.end(None)
        await self.junction.__aexit__()

    async def connect(self) -> None:
        session = await Dialler.open("scheduler", CLUSTER, self._settings)
        self.near = SecureStream(session, self._contexts[0], server=False, server_name="scheduler")
        self.far = SecureStream(await self.junction.fresh.get(), self._contexts[1], server=True)
        await asyncio.gather(self.near.handshake(), self.far.handshake())
        self.sessions.proven(self.far.session)


@pytest.fixture
def pair(settings, client_context, server_context, monkeypatch):
    def make(budget=lambda _: None, registered=None, **changed) -> Pair:
        changed_settings = dataclasses.replace(settings, **changed)
        return Pair(changed_settings, client_context, server_context, monkeypatch, budget, registered)

    return make


async def receive(stream: SecureStream, count: int) -> bytes:
    into = bytearray(count)
    await stream.read_into(memoryview(into))
    return bytes(into)


async def exchange(pair: Pair, one: bytes, other: bytes) -> None:
    """Send both ways at once and compare."""
    got = await asyncio.gather(
        receive(pair.far, len(one)), receive(pair.near, len(other)), pair.near.write(one), pair.far.write(other)
    )
    assert got[0] == one
    assert got[1] == other


async def test_bytes_go_both_ways_by_the_name(pair) -> None:
    async with pair() as both:
        await both.connect()
        await exchange(both, b"hello", b"you")
        await exchange(both, secrets.token_bytes(3 << 20), secrets.token_bytes(2 << 20))  # more than a window
        assert both.junction.names == [f"scheduler.{CLUSTER}.s.relay.test"]


@pytest.mark.parametrize("seed", range(6))
async def test_nothing_is_lost_or_doubled_however_often_it_breaks(pair, seed: int) -> None:
    dice = random.Random(seed)
    cuts = [None] + [dice.choice([1, 60, 100, 113, 5000, 70_000, 300_000]) + dice.randrange(50) for _ in range(60)]
    # the first connection carries the handshakes; those after it break at any byte, also within headers and answers
    async with pair(lambda number: cuts[number] if number < len(cuts) else None) as both:
        await both.connect()
        both.junction.cut()
        await exchange(both, dice.randbytes(4 << 20), dice.randbytes(3 << 20))
        await exchange(both, b"a", b"b")
        assert both.junction.connections > 3


@pytest.mark.parametrize("cut", [*range(100, 400, 7)])
async def test_a_break_at_each_byte_of_a_small_exchange(pair, cut: int) -> None:
    async with pair(lambda number: cut if number == 1 else None) as both:
        await both.connect()
        both.junction.cut()
        for turn in range(8):
            await exchange(both, b"%d" % turn * 20, b"%d" % turn * 30)


async def test_the_window_bounds_what_is_kept(pair) -> None:
    async with pair(window_bytes=1 << 18) as both:
        await both.connect()
        both.junction.closed = True
        both.junction.cut()
        writing = asyncio.ensure_future(both.near.write(bytes(8 << 20)))
        await asyncio.sleep(0.3)
        assert not writing.done()
        assert both.near.session.kept_bytes < (1 << 18) + (300 << 10)
        both.junction.closed = False
        await asyncio.gather(writing, receive(both.far, 8 << 20))


async def stuck(session: Session) -> None:
    """Wait until nothing more goes out."""
    kept = -1
    while kept != session.kept_bytes:
        kept = session.kept_bytes
        await asyncio.sleep(0.2)


async def test_what_the_network_does_not_take_waits_with_its_sender(pair) -> None:
    """Also across a break; a window for a fast and long way must not fill memory on a slow one."""
    data = secrets.token_bytes(1 << 20) * 100
    async with pair(window_bytes=1 << 30, memory_bytes=1 << 30) as both:
        await both.connect()
        writing = asyncio.ensure_future(both.near.write(data))
        await stuck(both.near.session)
        assert not writing.done()
        assert both.near.session.kept_bytes < len(data) // 2
        both.junction.cut()
        got = await asyncio.gather(receive(both.far, len(data)), writing)
        assert got[0] == data


async def test_all_sessions_of_a_process_share_a_bound(pair, monkeypatch) -> None:
    async with pair(window_bytes=1 << 30, memory_bytes=1 << 20) as both:
        await both.connect()
        both.junction.closed = True
        both.junction.cut()
        writing = asyncio.ensure_future(both.near.write(bytes(8 << 20)))
        await asyncio.sleep(0.3)
        assert not writing.done()
        assert both.near.session.kept_bytes < 2 << 20
        both.near.session.end(None)
        with pytest.raises(SessionLost):
            await writing
    assert Session._kept_by_all == 0, "what is kept is counted until it is let go"


async def test_a_reader_that_is_slow_is_waited_for(pair) -> None:
    async with pair(window_bytes=1 << 18) as both:
        await both.connect()
        writing = asyncio.ensure_future(both.near.write(bytes(64 << 20)))
        await asyncio.sleep(0.5)
        assert not writing.done(), "64 MiB fitted into a window of 256 KiB"
        assert both.far._incoming.pending < 4 << 20
        await asyncio.gather(writing, receive(both.far, 64 << 20))


async def test_a_reader_that_is_slow_is_waited_for_on_the_next_path_too(pair) -> None:
    async with pair(window_bytes=1 << 18) as both:
        await both.connect()
        writing = asyncio.ensure_future(both.near.write(bytes(64 << 20)))
        await asyncio.sleep(0.3)
        for _ in range(8):
            both.junction.cut()
            await asyncio.sleep(0.2)
        assert both.junction.connections > 4
        assert not writing.done()
        assert both.far._incoming.pending < 4 << 20
        await asyncio.gather(writing, receive(both.far, 64 << 20))


async def test_a_close_is_heard_after_what_was_written(pair) -> None:
    async with pair() as both:
        await both.connect()
        await both.near.write(b"last words")
        both.near.close()
        assert await receive(both.far, 10) == b"last words"
        with pytest.raises(EOFError):
            await receive(both.far, 1)
        assert both.far.exhausted


async def test_without_a_path_it_ends_after_the_grace(pair) -> None:
    async with pair(resume_s=0.3) as both:
        await both.connect()
        both.junction.closed = True
        both.junction.cut()
        for end in (both.near, both.far):
            with pytest.raises(SessionLost, match=r"no path for 0\.3 s"):
                await receive(end, 1)


async def test_a_dialer_that_ended_is_not_waited_for(pair, monkeypatch) -> None:
    """Its connection closed while the relay stayed: that is what the death of a worker looks like."""
    monkeypatch.setattr(paths, "LINGER_S", 0.2)
    async with pair(registered=1.0) as both:
        await both.connect()
        both.near.session.on_path_lost = None  # it does not come back
        both.junction.cut()
        with pytest.raises(SessionLost, match="the other end is gone"):
            await receive(both.far, 1)


async def test_a_dialer_whose_relay_ended_is_waited_for(pair, monkeypatch) -> None:
    monkeypatch.setattr(paths, "LINGER_S", 0.2)
    async with pair(registered=None) as both:
        await both.connect()
        lost, both.near.session.on_path_lost = both.near.session.on_path_lost, None
        both.junction.cut()
        await asyncio.sleep(0.6)
        assert not both.far.session.ended
        lost(both.near.session, False)
        await exchange(both, b"back", b"welcome")


async def test_a_relay_that_came_back_meanwhile_says_nothing_of_the_dialer(pair, monkeypatch) -> None:
    monkeypatch.setattr(paths, "LINGER_S", 0.2)
    async with pair(registered=1.0) as both:
        await both.connect()
        lost, both.near.session.on_path_lost = both.near.session.on_path_lost, None
        both.junction.cut()
        await asyncio.sleep(0.1)
        both.registered = 2.0  # the listener had lost its relay too, and has registered again
        await asyncio.sleep(0.6)
        assert not both.far.session.ended
        lost(both.near.session, False)
        await exchange(both, b"back", b"welcome")


async def test_a_network_that_fell_silent_is_waited_for(pair, monkeypatch) -> None:
    """The relay is there and the dialer is not heard: its network is cut, so the whole grace counts."""
    monkeypatch.setattr(paths, "LINGER_S", 0.2)
    async with pair(registered=1.0) as both:
        await both.connect()
        lost, both.near.session.on_path_lost = both.near.session.on_path_lost, None
        path = both.far.session._path
        path._silent = True  # as ``_on_beat`` does after SILENT_AFTER_S
        path.abort()
        await asyncio.sleep(0.8)
        assert not both.far.session.ended
        lost(both.near.session, False)
        await exchange(both, b"back", b"welcome")


async def test_silence_is_a_broken_path(pair, monkeypatch) -> None:
    from jupyter_offload.relay.comm import path as module

    monkeypatch.setattr(module, "BEAT_S", 0.1)
    monkeypatch.setattr(module, "SILENT_AFTER_S", 0.3)
    async with pair(registered=1.0) as both:
        await both.connect()
        await asyncio.sleep(1)
        assert both.junction.connections == 1, "beats keep a path that carries nothing else"
        monkeypatch.setattr(Session, "acknowledge", lambda self: None)  # neither end says anything any more
        while both.junction.connections == 1:
            await asyncio.sleep(0.05)
        await exchange(both, b"still", b"here")


# ---------------------------------------------------------------- people who are not the other end
async def opening(pair: Pair, packed: bytes) -> bytes:
    """Open a path as anybody can who knows the relay; return how the answer begins."""
    name = server_name(Target(Kind.session, "scheduler", CLUSTER), "relay.test")
    one = await dial(pair.junction.endpoint, name)
    try:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(one, packed)
        return await asyncio.wait_for(read_exactly(one, FRAME.size), 5)
    finally:
        one.close()


async def test_who_knows_the_id_cannot_attach(pair) -> None:
    async with pair() as both:
        await both.connect()
        known = both.near.session
        for packed in (
            OPENING.pack(known.id, 0, 0, NO_PROOF),
            OPENING.pack(known.id, 7, known.received, NO_PROOF),
            OPENING.pack(known.id, 7, known.received, secrets.token_bytes(32)),
            OPENING.pack(known.id, 7, known.received, proof(secrets.token_bytes(32), b"dialer", known.id, 7, 0)),
            OPENING.pack(known.id, 7, 0, proof(known.secret, b"listener", known.id, 7, 0)),
            OPENING.pack(secrets.token_bytes(16), 7, 5, secrets.token_bytes(32)),
        ):
            assert await opening(both, packed) == FRAME.pack(b"F", 0)
        await exchange(both, b"un", b"disturbed")
        assert both.junction.connections == 7


async def test_a_path_cannot_be_replayed(pair) -> None:
    async with pair() as both:
        await both.connect()
        session = both.near.session
        told = OPENING.pack(
            session.id, 1, session.received, proof(session.secret, b"dialer", session.id, 1, session.received)
        )
        both.junction.cut()  # the dialler itself now opens path 1
        await exchange(both, b"here", b"again")
        assert session.paths == 1
        assert await opening(both, told) == FRAME.pack(b"F", 0)
        await exchange(both, b"un", b"disturbed")


async def test_an_answer_without_proof_is_not_believed(pair, monkeypatch) -> None:
    """A relay that leads the dialler elsewhere gets nothing from it."""
    async with pair() as both:
        await both.connect()
        both.far.session.secret, true = secrets.token_bytes(32), both.far.session.secret
        monkeypatch.setattr(paths, "_belongs", lambda *_: True)
        before = both.junction.connections
        both.junction.cut()
        while both.junction.connections < before + 2:
            await asyncio.sleep(0.02)
        assert not both.near.session.connected
        both.far.session.secret = true
        await exchange(both, b"true", b"again")


@pytest.mark.parametrize(
    "garbage",
    [
        FRAME.pack(b"D", 1 << 31),
        FRAME.pack(b"D", 0),
        FRAME.pack(b"A", 9) + bytes(9),
        FRAME.pack(b"A", 8) + COUNTER.pack(1 << 60),
        FRAME.pack(b"X", 3) + b"abc",
        FRAME.pack(b"F", 5) + b"abcde",
        struct.pack(">Q", 0),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
async def test_garbage_ends_the_path_and_nothing_else(pair, garbage: bytes) -> None:
    async with pair() as both:
        await both.connect()
        both.near.session._path._transport.write(garbage)
        await exchange(both, b"goes", b"on")
        assert both.junction.connections == 2


async def test_unfinished_sessions_are_bounded(settings) -> None:
    sessions = Sessions(settings, lambda _: None)
    async with Junction(sessions, lambda _: None) as junction:
        name = server_name(Target(Kind.session, "scheduler", CLUSTER), "relay.test")
        opened: list[socket.socket] = []
        for _ in range(MAXIMUM_UNPROVEN + 20):
            one = await dial(junction.endpoint, name)
            await asyncio.get_running_loop().sock_sendall(one, OPENING.pack(secrets.token_bytes(16), 0, 0, NO_PROOF))
            opened.append(one)
        taken = [await asyncio.wait_for(junction.fresh.get(), 5) for _ in opened]
        assert len(sessions) == MAXIMUM_UNPROVEN
        assert [session.ended for session in taken] == [True] * 20 + [False] * MAXIMUM_UNPROVEN
        for session in taken:
            session.end(None)
        for one in opened:
            one.close()
        assert len(sessions) == 0
