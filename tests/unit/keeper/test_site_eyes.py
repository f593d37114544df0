"""One look for all clusters of a site. The backend here can do what a real one cannot be made to: hang and break."""

from __future__ import annotations

import asyncio

import pytest

from jupyter_offload.api.models import Worker
from jupyter_offload.keeper.lifecycle import NOT_SEEN
from jupyter_offload.keeper.site_eyes import SiteEyes, context_of
from jupyter_offload.ports import WorkersSeen

ONE = WorkersSeen(workers=[Worker(name="w0", state="connected", cores=1, memory_bytes=1)])


class Site:
    capabilities = frozenset()

    def __init__(self) -> None:
        self.looks: list[list[str]] = []
        self.mood = "well"
        self.answer = {"cluster-1": ONE, "cluster-2": ONE}

    async def observe(self, clusters):
        self.looks.append([c.id for c in clusters])
        if self.mood == "hang":
            await asyncio.sleep(60)
        if self.mood == "break":
            raise RuntimeError("plugin fault")
        return self.answer


@pytest.fixture
async def watched(make_record):
    site = Site()
    clusters = [context_of(make_record(id=f"cluster-{n}"), None) for n in (1, 2)]
    woken: asyncio.Queue[str] = asyncio.Queue()
    eyes = SiteEyes(lambda name: site, lambda name: clusters, woken.put_nowait, every_s=0.02, timeout_s=0.1)
    yield site, eyes, woken
    await eyes.stop()


async def test_all_clusters_in_one_look(watched) -> None:
    site, eyes, woken = watched
    assert eyes.seen("far", "cluster-1") == NOT_SEEN
    assert {await woken.get(), await woken.get()} == {"cluster-1", "cluster-2"}
    assert eyes.seen("far", "cluster-1") == eyes.seen("far", "cluster-2") == ONE
    assert all(look == ["cluster-1", "cluster-2"] for look in site.looks)


async def test_only_what_is_new_wakes(watched) -> None:
    site, eyes, woken = watched
    eyes.seen("far", "cluster-1")
    await woken.get(), await woken.get()
    looks = len(site.looks)
    while len(site.looks) < looks + 3:
        await asyncio.sleep(0.01)
    assert woken.empty()
    site.answer = {"cluster-1": WorkersSeen(), "cluster-2": ONE}
    assert await asyncio.wait_for(woken.get(), 5) == "cluster-1"


@pytest.mark.parametrize("mood", ["hang", "break"])
async def test_what_cannot_be_seen_is_not_gone(watched, mood: str) -> None:
    site, eyes, woken = watched
    eyes.seen("far", "cluster-1")
    await woken.get(), await woken.get()
    site.mood = mood
    await asyncio.wait_for(woken.get(), 5)
    assert not eyes.seen("far", "cluster-1").visible
    site.mood = "well"
    await asyncio.wait_for(woken.get(), 5)
    while eyes.seen("far", "cluster-1") != ONE:
        await asyncio.sleep(0.01)


async def test_a_cluster_left_out_is_not_seen(watched) -> None:
    site, eyes, woken = watched
    site.answer = {"cluster-2": ONE}
    eyes.seen("far", "cluster-1")
    await asyncio.wait_for(woken.get(), 5)
    assert not eyes.seen("far", "cluster-1").visible
