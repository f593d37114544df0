"""The notebook API with real clusters, from asyncio programs."""

import asyncio
import time

import pytest
from dask.distributed import Client

import jupyter_offload as offload


async def test_asyncio_from_creation_to_end(home):
    async with offload.new_cluster("aio", workers=1, asynchronous=True) as cluster:
        async with Client(cluster, asynchronous=True) as client:
            assert await client.submit(sum, [1, 2]) == 3
            await client.wait_for_workers(1)
        assert cluster.phase == "running"
        await cluster.scale(2)
        await cluster.wait_for_workers(2, timeout="60 s")
        await cluster.adapt(0, 2)
        await cluster.extend(lifetime="3 h")
        assert cluster.record.spec.lifetime_s == 3 * 3600
        assert "scheduler" in await cluster.logs() and await cluster.timeline()

        attached = await offload.cluster("aio", asynchronous=True)
        client = await attached.get_client()
        assert await client.submit(sum, [3, 4]) == 7
        await client.close()
        async with offload.cluster("aio", asynchronous=True) as other:
            assert other.id == cluster.id
        assert (await cluster).phase == "running", "leaving an attached cluster must not stop it"
    assert cluster.phase == "stopped"
    with pytest.raises(offload.OffloadError, match="aio"):
        await Client(attached, asynchronous=True)


async def test_a_blocking_handle_serves_an_asynchronous_client(home):
    cluster = offload.new_cluster("mixed", workers=1)
    async with cluster:
        client = await Client(await cluster, asynchronous=True)
        await client.wait_for_workers(1)
        assert await client.submit(sum, [1, 2]) == 3
        await client.close()
        assert cluster.phase == "running"
    assert cluster.phase == "stopped"


async def test_shutdown_of_an_asynchronous_client_ends_the_cluster(home):
    cluster = await offload.new_cluster("down", workers=1, asynchronous=True)
    client = await Client(cluster, asynchronous=True)
    await client.shutdown()
    assert cluster.phase == "stopped"


async def test_nothing_blocks_the_loop_while_a_cluster_starts(home):
    longest, before, done = 0.0, time.monotonic(), False

    async def heart():
        nonlocal longest, before
        while not done:
            await asyncio.sleep(0.01)
            now = time.monotonic()
            longest, before = max(longest, now - before), now

    task = asyncio.create_task(heart())
    cluster = await offload.new_cluster("light", workers=1, asynchronous=True)
    done = True
    await task
    assert longest < 0.5, "a blocking start takes a second and more"
    await cluster.close()


async def test_too_early_is_said(home):
    cluster = await offload.new_cluster("soon", workers=0, wait=False, asynchronous=True)
    with pytest.raises(offload.OffloadError, match="Write 'await cluster' first"):
        Client(cluster, asynchronous=True)
    client = await Client(await cluster, asynchronous=True)
    await client.close()
