"""Changes at the keeper become events on Jupyter's bus; a keeper with clusters does not stay dead."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from jupyter_offload.api import locations
from jupyter_offload.api.routes import PREFIX
from jupyter_offload.server.changes import SCHEMA_ID


async def next_change(websocket: Any) -> dict[str, Any]:
    while True:
        event = json.loads(await asyncio.wait_for(websocket.read_message(), 20))
        if event["schema_id"] == SCHEMA_ID:
            return {key: event[key] for key in ("revision", "clusters", "sites")}


async def test_a_change_is_pushed_to_subscribers(keeper: Any, jp_fetch: Any, jp_ws_fetch: Any) -> None:
    websocket = await jp_ws_fetch("api/events/subscribe")
    await jp_fetch(PREFIX, "clusters", "zmumu")
    change = {"revision": 8, "clusters": ["zmumu-1234"], "sites": False}
    await keeper.changes.put(change)
    assert await next_change(websocket) == change
    # Nothing new, then a store that begins again: the first is silent, the second is told.
    await keeper.changes.put(change)
    await keeper.changes.put({"revision": 1, "clusters": [], "sites": True})
    assert await next_change(websocket) == {"revision": 1, "clusters": [], "sites": True}
    websocket.close()


async def test_a_keeper_with_clusters_is_brought_back(
    keeper: Any, jp_fetch: Any, jp_ws_fetch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    websocket = await jp_ws_fetch("api/events/subscribe")
    await jp_fetch(PREFIX, "clusters", "zmumu")
    await keeper.changes.put({"revision": 8, "clusters": [], "sites": False})
    await next_change(websocket)
    loop = asyncio.get_running_loop()
    monkeypatch.setattr("jupyter_offload.api.start._spawn", lambda log: loop.call_soon_threadsafe(keeper.listen))
    await keeper.die()
    # Nobody asks for anything; the relay itself starts the keeper and goes on where it was.
    await keeper.changes.put({"revision": 9, "clusters": ["zmumu-1234"], "sites": False})
    assert (await next_change(websocket))["revision"] == 9
    websocket.close()


async def test_an_idle_keeper_may_rest_until_somebody_asks(
    keeper: Any, jp_fetch: Any, jp_ws_fetch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    websocket = await jp_ws_fetch("api/events/subscribe")
    keeper.clusters_active = 0
    await jp_fetch(PREFIX, "clusters", "zmumu")
    await keeper.changes.put({"revision": 8, "clusters": [], "sites": False})
    await next_change(websocket)
    started = []
    loop = asyncio.get_running_loop()

    def spawn(log: Any) -> None:
        started.append(1)
        loop.call_soon_threadsafe(keeper.listen)

    monkeypatch.setattr("jupyter_offload.api.start._spawn", spawn)
    await asyncio.sleep(0.2)  # the relay asked for the next change
    await jp_fetch(PREFIX, "clusters", "zmumu")  # must not count as a wish for another keeper later
    await keeper.die()
    await asyncio.sleep(1.5)
    assert started == []
    await jp_fetch(PREFIX, "clusters", "zmumu")
    assert started == [1]
    await keeper.changes.put({"revision": 9, "clusters": [], "sites": False})
    assert (await next_change(websocket))["revision"] == 9
    websocket.close()


@pytest.mark.parametrize("records", [True, False])
async def test_a_server_starts_no_keeper_unless_there_are_records(
    records: bool, jp_environ: None, jp_configurable_serverapp: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jupyter_offload.api.start.START_TIMEOUT_S", 0.1)
    started = []
    monkeypatch.setattr("jupyter_offload.api.start._spawn", lambda log: started.append(1))
    if records:
        locations.data_folder().mkdir(parents=True)
        (locations.data_folder() / "records.sqlite").touch()
    app = jp_configurable_serverapp()
    await app._post_start()
    for _ in range(100 if records else 5):
        await asyncio.sleep(0.1)
        if started:
            break
    await app._cleanup()
    assert bool(started) == records
    begun = len(started)
    await asyncio.sleep(1)
    assert len(started) == begun, "the relay goes on after the server stopped"
