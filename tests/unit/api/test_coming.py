"""A client waits for a keeper's pod, tells how far it is, and sends again only what was not taken."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any

import pytest

from jupyter_offload.api import client
from jupyter_offload.api.models import ClusterList
from jupyter_offload.api.problems import ProblemCode, Unavailable

CLUSTERS = {"clusters": [], "revision": 7}


def on_its_way(stage: str) -> tuple[int, dict[str, str], Any]:
    problem = Unavailable(ProblemCode.keeper_unreachable, f"The keeper's pod is on its way: {stage}.")
    return 503, {"Retry-After": "1"}, problem.as_dict()


@pytest.fixture
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What a doorway answers, in its order."""
    queue: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = queue.pop(0)
            content = json.dumps(body).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None: ...

        def address_string(self) -> str:
            return ""

    path = tmp_path / "s"
    server = ThreadingUnixStreamServer(str(path), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    monkeypatch.setattr(client, "ensure_keeper", lambda: path)
    monkeypatch.setattr(client, "PLACING_STEP_S", 0.01)
    yield queue
    server.shutdown()
    server.server_close()
    thread.join()


def test_it_waits_and_tells_each_stage_once(answers: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    answers += [on_its_way("one"), on_its_way("one"), on_its_way("two"), (200, {}, CLUSTERS)]
    assert client.KeeperClient().call("listClusters", ClusterList).revision == 7
    told = capsys.readouterr().err.splitlines()
    assert told == [
        "offload: The keeper's pod is on its way: one.",
        "offload: The keeper's pod is on its way: two.",
    ]


async def test_it_waits_for_asyncio_as_well(answers: list[Any]) -> None:
    answers += [on_its_way("one"), (200, {}, CLUSTERS)]
    asked = client.AsyncKeeperClient()
    assert (await asked.call("listClusters", ClusterList)).revision == 7
    await asked.close()


def test_what_is_no_progress_is_an_error_at_once(answers: list[Any]) -> None:
    _, _, problem = on_its_way("never")
    answers += [(503, {}, problem), (200, {}, CLUSTERS)]
    with pytest.raises(Unavailable):
        client.KeeperClient().call("listClusters", ClusterList)
    assert len(answers) == 1


def test_it_waits_no_longer_than_it_should(answers: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PLACING_PATIENCE_S", 0.0)
    answers += [on_its_way("one"), (200, {}, CLUSTERS)]
    with pytest.raises(Unavailable) as caught:
        client.KeeperClient().call("listClusters", ClusterList)
    assert "on its way: one" in caught.value.message
