"""A real Jupyter server with the extension; the keeper is a small real HTTP server on the keeper's socket."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pytest_jupyter.jupyter_server import *  # noqa: F403  (its fixtures)
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_unix_socket
from tornado.web import Application, RequestHandler

from jupyter_offload.api import locations

CLUSTER = {"id": "zmumu-1234", "name": "zmumu", "revision": 7}


@pytest_asyncio.fixture
async def jp_asyncio_loop() -> asyncio.AbstractEventLoop:
    """Let pytest-jupyter's server live in the loop of pytest-asyncio."""
    return asyncio.get_running_loop()


@pytest.fixture(autouse=True)
def runtime_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="web-", dir="/tmp"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def jp_server_config() -> dict[str, Any]:
    return {
        "ServerApp": {"jpserver_extensions": {"jupyter_offload": True}, "allow_unauthenticated_access": False},
        "OffloadApp": {"keeper_timeout_s": 2, "maximum_request_bytes": 4096},
    }


class Keeper:
    """Answers as told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, bytes, dict[str, str]]] = []
        self.answers: dict[tuple[str, str], tuple[int, dict[str, str], Any]] = {
            ("GET", "/clusters/zmumu"): (200, {"ETag": '"7"'}, CLUSTER),
            ("GET", "/clusters/zmumu-1234"): (200, {"ETag": '"7"'}, CLUSTER),
        }
        self.changes: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.clusters_active = 1
        self.server: HTTPServer | None = None

    def listen(self) -> None:
        keeper = self

        class Anything(RequestHandler):
            async def prepare(self) -> None:
                request = self.request
                path = request.path
                if path == "/health":
                    self.finish({"version": "999", "api": 1, "clusters_active": keeper.clusters_active})
                    return
                if path == "/changes":
                    self.finish(await keeper.changes.get())
                    return
                keeper.seen.append((request.method or "", request.uri or "", request.body, dict(request.headers)))
                if path == "/slow":
                    await asyncio.sleep(30)
                status, headers, body = keeper.answers.get(
                    (request.method or "", path), (404, {}, {"code": "unknown-cluster"})
                )
                self.set_status(status)
                self.set_header("Content-Type", "application/problem+json" if status >= 400 else "application/json")
                for name, value in headers.items():
                    self.set_header(name, value)
                self.finish(None if body is None else json.dumps(body))

        self.server = HTTPServer(Application([(r".*", Anything)]))
        self.server.add_socket(bind_unix_socket(str(locations.socket_path()), 0o600))

    async def die(self) -> None:
        """Vanish as a killed keeper does: connections break, and its socket stays as a dead file."""
        assert self.server is not None
        self.server.stop()
        await self.server.close_all_connections()
        self.server = None
        self.changes = asyncio.Queue()  # who still waits at the old one is dead


@pytest_asyncio.fixture
async def keeper(jp_environ: None) -> Any:
    made = Keeper()
    made.listen()
    yield made
    if made.server is not None:
        await made.die()


@pytest.fixture
def cookie_headers(
    http_server_client: Any, jp_serverapp: Any, jp_base_url: str
) -> Callable[[], Awaitable[dict[str, str]]]:
    """Log in as a browser does, and return its Cookie header."""

    async def log_in() -> dict[str, str]:
        token = jp_serverapp.identity_provider.token
        page = await http_server_client.fetch(
            f"{jp_base_url}login?token={token}", follow_redirects=False, raise_error=False
        )
        form = await http_server_client.fetch(f"{jp_base_url}login")
        set_cookies = page.headers.get_list("Set-Cookie") + form.headers.get_list("Set-Cookie")
        return {"Cookie": "; ".join(c.split(";")[0] for c in set_cookies)}

    return log_in


@pytest.fixture
def offload_app(jp_serverapp: Any) -> Any:
    """The extension inside the running server."""
    [app] = jp_serverapp.extension_manager.extension_apps["jupyter_offload"]
    return app
