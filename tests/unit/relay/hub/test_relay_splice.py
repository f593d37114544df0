"""What comes in at one end goes out at the other: all of it, nothing else, and no faster than it is taken."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random

import pytest
from relay_ends import End, number, until

from jupyter_offload.relay.hub import pipes
from jupyter_offload.relay.hub.pipes import CAN_SPLICE, Pipes


@pytest.fixture(params=["pipes", "copies"])
async def pair(request, relay, worker) -> tuple[End, End]:
    if request.param == "copies":
        relay.hub._rendezvous._pipes = Pipes(0)
    elif not CAN_SPLICE:
        pytest.skip("there is no splice(2) here")
    peer = await relay.register("w-one-a", worker)
    return await relay.joined(peer, "w-one-a")


async def push(end: End, data: bytes, pieces: random.Random) -> None:
    view = memoryview(data)
    while view:
        size = pieces.choice((1, 100, 5000, 65536, 1 << 20))
        await end.send(bytes(view[:size]))
        view = view[size:]
    end.writer.write_eof()


async def test_every_byte_arrives_in_both_directions(pair, relay) -> None:
    near, far = pair
    there, back = os.urandom(30_000_000), os.urandom(20_000_000)
    got_there, got_back, *_ = await asyncio.gather(
        far.rest(), near.rest(), push(near, there, random.Random(1)), push(far, back, random.Random(2))
    )
    assert hashlib.sha256(got_there).digest() == hashlib.sha256(there).digest()
    assert hashlib.sha256(got_back).digest() == hashlib.sha256(back).digest()
    await until(lambda: number(relay.hub, "splices") == 0)
    assert relay.registry.describe(relay.cluster).bytes == 50_000_000
    assert number(relay.hub, "cluster_bytes_total", direction="to_peer") == 30_000_000
    assert number(relay.hub, "bytes_total", direction="from_peer") == 20_000_000


async def test_a_slow_reader_gets_everything(pair) -> None:
    near, far = pair
    data = os.urandom(12_000_000)
    pushing = asyncio.create_task(push(near, data, random.Random(3)))
    got = b""
    while len(got) < len(data):
        got += await far.reader.read(random.Random(len(got)).choice((10_000, 300_000)))
        await asyncio.sleep(0)
    assert got == data
    await pushing
    assert await far.rest() == b""


async def test_who_has_nothing_to_say_any_more_can_still_listen(pair) -> None:
    near, far = pair
    near.writer.write_eof()
    assert await far.rest() == b""
    await far.send(b"much later")
    assert await near.take(10) == b"much later"
    far.close()
    assert await near.rest() == b""


async def test_a_broken_end_ends_the_other_at_once(pair, relay) -> None:
    near, far = pair
    await near.send(b"x")
    await far.take(1)
    near.abort()
    await far.rest()
    await until(lambda: number(relay.hub, "splices") == 0)


async def test_a_reset_is_noticed_while_the_other_end_takes_nothing(pair, relay) -> None:
    near, far = pair
    far.writer.transport.pause_reading()
    near.writer.write(bytes(40_000_000))
    await settled(lambda: number(relay.hub, "bytes_total", direction="to_peer"))
    far.abort()
    await until(lambda: number(relay.hub, "splices") == 0)
    assert await near.rest() == b""


async def test_what_nobody_takes_is_not_read(pair, relay) -> None:
    """Bounded by the buffers of the sockets and one buffer here, however much there is."""
    near, far = pair
    far.writer.transport.pause_reading()
    near.writer.write(bytes(200_000_000))
    moved = await settled(lambda: number(relay.hub, "bytes_total", direction="to_peer"))
    assert 0 < moved < 60_000_000
    far.writer.transport.resume_reading()
    left = 200_000_000
    while left:
        left -= len(await far.reader.read(1 << 20))


async def settled(value) -> float:
    last = -1.0
    while value() != last or last == 0:
        last = value()
        await asyncio.sleep(0.3)
    return last


@pytest.mark.skipif(not CAN_SPLICE, reason="there is no splice(2) here")
async def test_a_connection_that_is_quiet_holds_no_pipe(relay, worker) -> None:
    pool = relay.hub._rendezvous._pipes
    near, far = await relay.joined(await relay.register("w-one-a", worker), "w-one-a")
    for _ in range(5):
        near.writer.write(bytes(5_000_000))
        await far.take(5_000_000)
        await until(lambda: pool._left + len(pool._idle) == pipes.MOST_PIPES)
    assert pool._idle  # they were used
    assert number(relay.hub, "splices") == 1


@pytest.mark.skipif(not CAN_SPLICE, reason="there is no splice(2) here")
async def test_pipes_are_lent_and_returned(relay, worker) -> None:
    pool = relay.hub._rendezvous._pipes
    peer = await relay.register("w-one-a", worker)
    for end in ("close", "abort"):
        near, far = await relay.joined(peer, "w-one-a")
        far.writer.transport.pause_reading()
        near.writer.write(bytes(40_000_000))
        await settled(lambda: number(relay.hub, "bytes_total", direction="to_peer"))
        assert pool._left == pipes.MOST_PIPES - 1  # the one with bytes in it
        getattr(near, end)()
        far.abort()
        await until(lambda: number(relay.hub, "splices") == 0)
    assert pool._left + len(pool._idle) == pipes.MOST_PIPES


async def test_one_that_is_busy_does_not_keep_the_others_waiting(relay, worker) -> None:
    peer = await relay.register("w-one-a", worker)
    busy_near, busy_far = await relay.joined(peer, "w-one-a")
    near, far = await relay.joined(peer, "w-one-a")

    async def flood() -> None:
        while True:
            await busy_near.send(bytes(1 << 20))

    async def drain() -> None:
        while await busy_far.reader.read(1 << 20):
            pass

    tasks = [asyncio.create_task(flood()), asyncio.create_task(drain())]
    await until(lambda: number(relay.hub, "bytes_total", direction="to_peer") > 50_000_000)
    before = number(relay.hub, "bytes_total", direction="to_peer")
    for _ in range(20):
        await near.send(b"ping")
        assert await far.take(4) == b"ping"
    assert number(relay.hub, "bytes_total", direction="to_peer") - before < 2_000_000_000
    for task in tasks:
        task.cancel()


async def test_hundreds_of_connections_at_once(relay, worker) -> None:
    peer = await relay.register("w-one-a", worker)
    pairs = [await relay.joined(peer, "w-one-a") for _ in range(200)]

    async def speak(pair: tuple[End, End], number: int) -> bool:
        near, far = pair
        said = str(number).encode() * 1000
        near.writer.write(said)
        near.writer.write_eof()
        heard = await far.rest()
        far.writer.write(heard[::-1])
        far.writer.write_eof()
        return await near.rest() == said[::-1]

    assert all(await asyncio.gather(*(speak(pair, n) for n, pair in enumerate(pairs))))
    await until(lambda: number(relay.hub, "splices") == 0)
