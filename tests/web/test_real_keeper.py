"""The main paths once more with the real keeper: a cluster made, changed, looked at, and ended through the Jupyter server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import psutil
import pytest
import pytest_asyncio
from tornado.httpclient import AsyncHTTPClient, HTTPClientError
from tornado.websocket import websocket_connect

from jupyter_offload.api.routes import PREFIX
from jupyter_offload.server.changes import SCHEMA_ID

PATIENCE_S = 90


def keepers() -> set[int]:
    """Process ids of the keepers of this test."""
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            mine = process.environ().get("JUPYTER_DATA_DIR") == os.environ["JUPYTER_DATA_DIR"]
            if mine and "jupyter_offload.keeper" in process.cmdline():
                found.add(process.pid)
    return found


class Api:
    """A browser at the Jupyter server."""

    def __init__(self, jp_fetch: Any) -> None:
        self._fetch = jp_fetch

    async def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, Any]:
        sent = None if method in {"GET", "DELETE"} else json.dumps(body or {})
        answer = await self._fetch(
            PREFIX, path, method=method, body=sent, headers=headers, raise_error=False, request_timeout=60
        )
        return answer.code, json.loads(answer.body) if answer.body else None, answer.headers

    async def when(self, cluster: str, **wanted: Any) -> Any:
        """Ask again until the record is so."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                status, record, _ = await self("GET", f"clusters/{cluster}")
                if status == 200 and all(record[key] == value for key, value in wanted.items()):
                    return record
                await asyncio.sleep(0.1)

    async def new(self, name: str, workers: int = 1) -> Any:
        status, record, headers = await self("POST", "clusters", {"spec": {"name": name, "workers": workers}})
        assert status == 202, record
        assert headers["Location"].endswith(f"{PREFIX}/clusters/{record['id']}")
        return record


@pytest_asyncio.fixture
async def api(jp_fetch: Any, jp_data_dir: Any) -> AsyncIterator[Api]:
    made = Api(jp_fetch)
    yield made
    status, listed, _ = await made("GET", "clusters")
    for cluster in listed["clusters"] if status == 200 else []:
        if cluster["phase"] not in {"stopped", "failed"}:
            await made("DELETE", f"clusters/{cluster['id']}")
            await made.when(cluster["id"], phase="stopped")
    # Keeper and zygote of this test carry its data folder in their environment.
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get("JUPYTER_DATA_DIR") == str(jp_data_dir):
                process.kill()


@pytest.fixture
def jp_server_config() -> dict[str, Any]:
    return {"ServerApp": {"jpserver_extensions": {"jupyter_offload": True}, "allow_unauthenticated_access": False}}


async def test_a_cluster_lives_through_the_jupyter_server(api: Api, jp_ws_fetch: Any) -> None:
    events = await jp_ws_fetch("api/events/subscribe")
    made = await api.new("zmumu")
    running = await api.when("zmumu", phase="running", connectable=True, dashboard=True)
    assert running["id"] == made["id"]

    async with asyncio.timeout(PATIENCE_S):
        while True:
            event = json.loads(await events.read_message())
            if event["schema_id"] == SCHEMA_ID and made["id"] in event["clusters"]:
                break
    events.close()

    status, problem, headers = await api(
        "PATCH", "clusters/zmumu", {"workers": 2}, **{"If-Match": '"1"', "X-Request-ID": "here-1"}
    )
    assert (status, problem["code"], problem["request_id"]) == (412, "stale-revision", "here-1")
    assert headers["Content-Type"] == "application/problem+json"
    status, _, headers = await api("GET", "clusters/zmumu")
    status, changed, headers = await api("PATCH", "clusters/zmumu", {"workers": 0}, **{"If-Match": headers["ETag"]})
    assert (status, changed["workers"]["requested"]) == (200, 0)
    assert headers["ETag"] == f'"{changed["revision"]}"'
    status, problem, _ = await api("PATCH", "clusters/zmumu", {"workers": "banana"})
    assert (status, problem["errors"][0]["field"]) == (422, "workers")

    status, _, _ = await api("DELETE", "clusters/zmumu")
    assert status == 202
    await api.when("zmumu", phase="stopped")
    assert (await api("DELETE", "clusters/zmumu"))[0] == 204
    status, problem, _ = await api("GET", "clusters/zmumu")
    assert (status, problem["code"]) == (404, "unknown-cluster")


async def test_a_real_dashboard_by_ticket(api: Api, http_server_client: Any, jp_base_url: str, jp_fetch: Any) -> None:
    await api.new("zmumu", workers=0)
    await api.when("zmumu", dashboard=True)
    status, ticket, _ = await api("POST", "clusters/zmumu/dashboard/ticket")
    assert status == 201
    root = http_server_client.get_url(jp_base_url + ticket["path"])
    anonymous = AsyncHTTPClient(force_instance=True)
    page = await anonymous.fetch(root + "individual-task-stream")
    script = page.body.split(b'src="static/')[1].split(b'"')[0].decode()
    assert len((await anonymous.fetch(f"{root}static/{script}")).body) > 100_000
    token = page.body.split(b'"token":"')[1].split(b'"')[0].decode()
    websocket = await websocket_connect(
        root.replace("http:", "ws:") + "individual-task-stream/ws", subprotocols=["bokeh", token]
    )
    async with asyncio.timeout(PATIENCE_S):
        assert json.loads(await websocket.read_message())["msgtype"] == "ACK"
    websocket.close()
    overview = (await jp_fetch(PREFIX, "clusters", "zmumu", "dashboard/")).body.decode()
    assert '<option value="individual-task-stream">' in overview
    await api("DELETE", "clusters/zmumu")
    await api.when("zmumu", phase="stopped")
    with pytest.raises(HTTPClientError) as caught:
        await anonymous.fetch(root + "individual-task-stream")
    assert caught.value.code in {404, 409}
    anonymous.close()


async def test_a_killed_keeper_comes_back_although_nobody_asks(api: Api) -> None:
    made = await api.new("zmumu", workers=0)
    await api.when("zmumu", phase="running")
    _, health, _ = await api("GET", "health")
    await asyncio.sleep(1)  # the relay learns that a cluster is active
    os.kill(health["pid"], signal.SIGKILL)
    async with asyncio.timeout(PATIENCE_S):
        while not keepers() - {health["pid"]}:
            await asyncio.sleep(0.1)
    again = await api.when("zmumu", phase="running")
    assert again["id"] == made["id"]
    assert (await api("GET", "health"))[1]["pid"] != health["pid"]


async def test_an_idle_keeper_ends_although_the_server_watches_it(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_OFFLOAD_KEEPER_IDLE_S", "2")
    await api("GET", "clusters")
    assert keepers()
    async with asyncio.timeout(PATIENCE_S):
        while keepers():
            await asyncio.sleep(0.1)
    await asyncio.sleep(2)
    assert keepers() == set(), "the relay started it again"
