"""A dashboard is shown by ticket only: nothing of the user goes in, nothing but the page comes out."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from bokeh.application import Application as BokehApplication
from bokeh.application.handlers.function import FunctionHandler
from bokeh.client import pull_session
from bokeh.models import Div
from distributed.dashboard.core import DaskBokehTornado
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.netutil import bind_unix_socket
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketClosedError, WebSocketHandler, websocket_connect

from jupyter_offload.api.routes import PREFIX
from jupyter_offload.server import tickets as tickets_module

SECRETS = {"Cookie": "login=secret", "Authorization": "token secret", "X-XSRFToken": "secret", "Origin": "null"}


class Dashboard:
    """A small real HTTP and WebSocket server on a unix socket."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.requests: list[Any] = []
        self.closed = asyncio.Event()
        dashboard = self

        class Page(RequestHandler):
            def get(self) -> None:
                dashboard.requests.append(self.request)
                self.set_header("Content-Type", "text/html")
                self.set_header("Set-Cookie", "evil=1; Path=/")
                self.set_header("Content-Security-Policy", "frame-ancestors *")
                self.set_header("Access-Control-Allow-Credentials", "true")
                self.set_header("X-Anything", "x")
                self.write("<p>status</p>")

            head = get

            def compute_etag(self) -> str:
                return '"page"'

        class Away(RequestHandler):
            def get(self) -> None:
                self.redirect(self.get_argument("to"))

        class Socket(WebSocketHandler):
            def select_subprotocol(self, subprotocols: list[str]) -> str | None:
                dashboard.requests.append(self.request)
                return subprotocols[0] if subprotocols else None

            async def on_message(self, message: str | bytes) -> None:
                if message == "leave":
                    self.close(1000)
                    return
                await self.write_message(message, binary=isinstance(message, bytes))

            def on_close(self) -> None:
                dashboard.closed.set()

        self.server = HTTPServer(Application([(r"/status", Page), (r"/away", Away), (r"/status/ws", Socket)]))
        self.server.add_socket(bind_unix_socket(str(socket), 0o600))


@pytest_asyncio.fixture
async def dashboard(keeper: Any, runtime_folder: Path) -> AsyncIterator[Dashboard]:
    made = Dashboard(runtime_folder / "dashboard.sock")
    target = {"socket": str(made.socket), "plots": [{"title": "Task Stream", "path": "individual-task-stream"}]}
    keeper.answers[("GET", "/clusters/zmumu-1234/dashboard")] = (200, {}, target)
    yield made
    made.server.stop()
    await made.server.close_all_connections()


@pytest.fixture
def view(jp_fetch: Any, http_server_client: Any, jp_base_url: str) -> Any:
    """Return a function that gets a ticket and gives the URL below it."""

    async def url(page: str = "status") -> str:
        answer = await jp_fetch(PREFIX, "clusters", "zmumu", "dashboard", "ticket", method="POST", body="")
        assert answer.code == 201
        return http_server_client.get_url(jp_base_url + json.loads(answer.body)["path"] + page)

    return url


@pytest.fixture
def browse(http_server_client: Any) -> Any:
    """Fetch as a frame does that is not logged in."""

    async def fetch(url: str, **options: Any) -> Any:
        options = {"follow_redirects": False, "raise_error": False, **options}
        return await super(type(http_server_client), http_server_client).fetch(url, **options)

    return fetch


async def test_the_page_comes_without_login_and_without_anything_else(
    dashboard: Dashboard, view: Any, browse: Any
) -> None:
    answer = await browse(await view(), headers={**SECRETS, "Accept-Language": "de", "Sec-Fetch-Site": "cross-site"})
    assert (answer.code, answer.body) == (200, b"<p>status</p>")
    assert answer.headers["Content-Security-Policy"] == "sandbox allow-scripts; frame-ancestors 'self'"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["ETag"] == '"page"'
    assert not {"Set-Cookie", "X-Anything", "Access-Control-Allow-Credentials"} & set(answer.headers)
    [seen] = dashboard.requests
    assert "secret" not in str(dict(seen.headers))
    assert set(seen.headers) <= {"Accept-Language", "Host", "Connection", "User-Agent", "Accept-Encoding"}
    assert seen.headers["Accept-Language"] == "de"


async def test_head_and_conditional_requests(dashboard: Dashboard, view: Any, browse: Any) -> None:
    url = await view()
    assert (await browse(url, method="HEAD")).body == b""
    assert (await browse(url, headers={"If-None-Match": '"page"'})).code == 304


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_nothing_can_be_sent_to_a_dashboard(method: str, dashboard: Dashboard, view: Any, browse: Any) -> None:
    body = None if method in {"DELETE", "OPTIONS"} else "x"
    answer = await browse(await view(), method=method, body=body)
    assert answer.code in {403, 405}
    assert dashboard.requests == []


@pytest.mark.parametrize(
    "path", ["../../../api/contents", "%2e%2e/status", "a/%2E%2E/b", "x%00", "x%0d%0aHost:%20y", "a%5cb"]
)
async def test_odd_paths_are_refused(path: str, dashboard: Dashboard, view: Any, browse: Any) -> None:
    assert (await browse(await view(path))).code in {400, 404}
    assert dashboard.requests == []


async def test_redirects_stay_inside(dashboard: Dashboard, view: Any, browse: Any, jp_base_url: str) -> None:
    url = await view("away?to=")
    answer = await browse(url + "/status%3Fx=1")
    root = url.partition("away")[0]
    assert answer.code == 302
    assert root.endswith(answer.headers["Location"].removesuffix("status?x=1"))
    assert answer.headers["Location"].startswith(f"{jp_base_url}{PREFIX}/view/")
    for away in (
        "https://elsewhere.example/",
        "//elsewhere.example/",
        "/%5Celsewhere.example",
        "/../../api/contents",
        "javascript:x",
    ):
        assert (await browse(url + away)).code == 502, away


# ---------------------------------------------------------------- tickets
@pytest.mark.parametrize("forged", ["x", "A" * 43, "[ticket]", ""])
async def test_a_forged_ticket_shows_nothing(forged: str, dashboard: Dashboard, view: Any, browse: Any) -> None:
    url = await view()
    ticket = url.split("/view/")[1].split("/")[0]
    answer = await browse(url.replace(ticket, forged))
    assert answer.code == 404
    assert b"no longer valid" in answer.body
    with pytest.raises(HTTPClientError):
        await websocket_connect(url.replace(ticket, forged).replace("http:", "ws:") + "/ws")
    assert dashboard.requests == []


async def test_a_ticket_lapses_unless_its_page_asks_again(
    dashboard: Dashboard, view: Any, browse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tickets_module, "LIFE_S", 1.5)
    url = await view()
    for _ in range(4):
        await asyncio.sleep(0.5)
        assert await view() == url
    assert (await browse(url)).code == 200
    await asyncio.sleep(1.6)
    assert (await browse(url)).code == 404
    assert await view() != url


async def test_a_ticket_ends_with_its_cluster(keeper: Any, dashboard: Dashboard, view: Any, browse: Any) -> None:
    url = await view()
    before = keeper.answers.pop(("GET", "/clusters/zmumu-1234/dashboard"))
    assert (await browse(url)).code == 404
    keeper.answers[("GET", "/clusters/zmumu-1234/dashboard")] = before
    assert (await browse(url)).code == 404, "the ticket came back to life"


async def test_no_ticket_without_dashboard(keeper: Any, jp_fetch: Any) -> None:
    problem = {"code": "not-running", "status": 409, "detail": "The cluster is stopped.", "hint": "Start it again."}
    keeper.answers[("GET", "/clusters/zmumu-1234/dashboard")] = (409, {}, problem)
    with pytest.raises(HTTPClientError) as caught:
        await jp_fetch(PREFIX, "clusters", "zmumu", "dashboard", "ticket", method="POST", body="")
    document = json.loads(caught.value.response.body)
    assert (document["status"], document["code"], document["hint"]) == (409, "not-running", "Start it again.")


async def test_the_log_never_shows_a_ticket(
    dashboard: Dashboard, view: Any, browse: Any, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("tornado.access", "tornado.application", "tornado.general"):
        caplog.set_level(logging.DEBUG, logger=name)
    url = await view()
    ticket = url.split("/view/")[1].split("/")[0]
    referer = {"Referer": url}
    await browse(url, headers=referer)
    await browse(url + "%00", headers=referer)
    await browse(url + "/missing", headers=referer)
    await browse(url, method="POST", body="x", headers=referer)
    websocket = await websocket_connect(HTTPRequest(url.replace("http:", "ws:") + "/ws", headers=referer))
    websocket.close()
    await asyncio.wait_for(dashboard.closed.wait(), 10)
    dashboard.server.stop()
    dashboard.socket.unlink()
    assert (await browse(url, headers=referer)).code == 502
    out, err = capfd.readouterr()
    said = caplog.text + out + err
    assert ticket not in said
    assert said.count("[ticket]") >= 4, "the requests were not logged at all, so this test proves nothing"


# ---------------------------------------------------------------- WebSocket
async def test_messages_and_subprotocols_pass_both_ways(dashboard: Dashboard, view: Any) -> None:
    url = (await view()).replace("http:", "ws:") + "/ws?session=1"
    websocket = await websocket_connect(HTTPRequest(url, headers=SECRETS), subprotocols=["bokeh", "session-token"])
    assert websocket.selected_subprotocol == "bokeh"
    [seen] = dashboard.requests
    assert seen.headers["Sec-WebSocket-Protocol"] == "bokeh,session-token"
    assert seen.query == "session=1"
    assert "secret" not in str(dict(seen.headers))
    for message in ("text", b"\x00\xff", "x" * 1_000_000):
        await websocket.write_message(message, binary=isinstance(message, bytes))
        assert await websocket.read_message() == message
    await websocket.write_message("leave")
    assert await websocket.read_message() is None


async def test_the_dashboard_hears_when_the_browser_leaves(dashboard: Dashboard, view: Any) -> None:
    websocket = await websocket_connect((await view()).replace("http:", "ws:") + "/ws")
    websocket.close()
    await asyncio.wait_for(dashboard.closed.wait(), 10)


async def test_an_open_connection_ends_with_its_ticket(
    dashboard: Dashboard, view: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tickets_module, "LIFE_S", 1.0)
    websocket = await websocket_connect((await view()).replace("http:", "ws:") + "/ws")
    for _ in range(4):
        await asyncio.sleep(0.5)
        await view()
    await websocket.write_message("renewed")
    assert await websocket.read_message() == "renewed"
    assert await asyncio.wait_for(websocket.read_message(), 10) is None
    assert websocket.close_code == 1008
    await asyncio.wait_for(dashboard.closed.wait(), 10)
    with pytest.raises(WebSocketClosedError):
        await websocket.write_message("late")


async def test_a_dashboard_that_does_not_answer_is_a_bad_gateway(dashboard: Dashboard, view: Any) -> None:
    url = await view("nowhere/ws")
    with pytest.raises(HTTPClientError) as caught:
        await websocket_connect(url.replace("http:", "ws:"))
    assert caught.value.code == 502


async def test_a_real_bokeh_client_works_through_the_proxy(
    keeper: Any, runtime_folder: Path, view: Any, browse: Any
) -> None:
    def fill(document: Any) -> None:
        document.add_root(Div(text="drawn by the server"))

    bokeh = DaskBokehTornado(
        {"/status": BokehApplication(FunctionHandler(fill))}, absolute_url="", extra_websocket_origins=[]
    )
    bokeh.initialize(io_loop=IOLoop.current())
    server = HTTPServer(bokeh)
    server.add_socket(bind_unix_socket(str(runtime_folder / "bokeh.sock"), 0o600))
    bokeh.start()
    target = {"socket": str(runtime_folder / "bokeh.sock"), "plots": []}
    keeper.answers[("GET", "/clusters/zmumu-1234/dashboard")] = (200, {}, target)
    url = await view()
    page = await browse(url)
    assert page.code == 200
    assert b'src="static/js/bokeh' in page.body, "absolute paths would leave the ticket"

    def pull() -> str:
        asyncio.set_event_loop(asyncio.new_event_loop())
        session = pull_session(url=url)
        text: str = session.document.roots[0].text
        session.close()
        asyncio.get_event_loop().close()
        return text

    assert await asyncio.to_thread(pull) == "drawn by the server"
    bokeh.stop()
    server.stop()
    await server.close_all_connections()


# ---------------------------------------------------------------- the page outside Lab
async def test_the_page_shows_a_sandboxed_frame(
    dashboard: Dashboard, keeper: Any, jp_fetch: Any, jp_base_url: str
) -> None:
    keeper.answers[("GET", "/clusters/zmumu/dashboard")] = keeper.answers[("GET", "/clusters/zmumu-1234/dashboard")]
    answer = await jp_fetch(PREFIX, "clusters", "zmumu", "dashboard/")
    page = answer.body.decode()
    assert 'sandbox="allow-scripts"' in page
    assert f'data-ticket-url="{jp_base_url}{PREFIX}/clusters/zmumu-1234/dashboard/ticket"' in page
    assert '<option value="status">Overview</option>' in page
    assert '<option value="individual-task-stream">Task Stream</option>' in page
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
    script = page.split('<script src="')[1].split('"')[0]
    assert script.startswith(jp_base_url)
    assert b"renew" in (await jp_fetch(script.removeprefix(jp_base_url).split("?")[0])).body


async def test_the_page_needs_a_login(
    dashboard: Dashboard, browse: Any, http_server_client: Any, jp_base_url: str
) -> None:
    answer = await browse(http_server_client.get_url(f"{jp_base_url}{PREFIX}/clusters/zmumu/dashboard/"))
    assert answer.code == 302
    assert answer.headers["Location"].startswith(f"{jp_base_url}login")
