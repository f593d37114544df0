"""``/view/<ticket>/...``: a cluster's dashboard for a sandboxed frame.

The frame has an opaque origin and sends no cookie: the ticket in the path is all it has, and all it can reach with it is
this one dashboard. So this is no Jupyter handler: nobody is logged in here. What is passed on, either way, is on a list;
cookies and authorization never are. The ticket does not reach the log.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any
from urllib.parse import unquote, urlsplit

from jupyter_server.auth.decorator import allow_unauthenticated
from tornado.httpclient import HTTPError as ClientError
from tornado.simple_httpclient import SimpleAsyncHTTPClient
from tornado.web import HTTPError
from tornado.websocket import WebSocketClientConnection, WebSocketClosedError, WebSocketHandler

from ..api.problems import NotFound, OffloadError
from ..api.routes import PREFIX
from .dashboards import dashboard_socket
from .keeper_link import KeeperLink
from .tickets import Ticket, TicketBook
from .unix_http import MAX_MESSAGE_BYTES, connect_websocket, request

_SEND = ("Accept", "Accept-Encoding", "Accept-Language", "If-None-Match", "If-Modified-Since")
_RETURN = ("Content-Type", "Content-Encoding", "ETag", "Last-Modified", "Vary")
_PATH = re.compile(r"[A-Za-z0-9._~/@+-]*\Z")
_FRAME_ANCESTORS = re.compile(r"frame-ancestors\s+([^;]+)")
_HIDDEN = "[ticket]"


class ViewHandler(WebSocketHandler):
    """GET, HEAD and WebSocket to the dashboard that the ticket stands for."""

    def initialize(self, link: KeeperLink, tickets: TicketBook, http: SimpleAsyncHTTPClient) -> None:
        """Take what all requests share."""
        self._link = link
        self._tickets = tickets
        self._http = http
        self._upstream: WebSocketClientConnection | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._take_ticket()

    def _take_ticket(self) -> None:
        """Take the ticket out of the request before anything can refuse the request and log it."""
        _, _, rest = self.request.path.partition(f"/{PREFIX}/view/")
        name, _, self._path = rest.partition("/")
        self._root = self.request.path[: len(self.request.path) - len(self._path)]
        if name:
            self.request.uri = (self.request.uri or "").replace(name, _HIDDEN)
            self.request.path = self.request.path.replace(name, _HIDDEN)
            if name in self.request.headers.get("Referer", ""):
                del self.request.headers["Referer"]
        self._ticket = self._tickets.find(name)

    def set_default_headers(self) -> None:
        """Let the page run scripts in an origin of its own, inside pages that may show this server, and nothing else."""
        said = str(self.settings.get("headers", {}).get("Content-Security-Policy", ""))
        allowed = _FRAME_ANCESTORS.search(said)
        ancestors = [a for a in (allowed.group(1).split() if allowed else []) if a not in ("'none'", "'self'")]
        frames = " ".join(["'self'", *ancestors])
        self.set_header("Content-Security-Policy", f"sandbox allow-scripts; frame-ancestors {frames}")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Cache-Control", "private, no-cache")
        # Fonts and scripts that the page loads as modules are cross-origin to an opaque origin.
        self.set_header("Access-Control-Allow-Origin", "*")

    async def _target(self) -> tuple[Any, str]:
        """Return the dashboard's socket and the path to ask there."""
        if self._ticket is None:
            raise HTTPError(404)
        if not _PATH.match(self._path) or ".." in unquote(self._path).split("/"):
            raise HTTPError(400)
        try:
            socket = await dashboard_socket(self._link, self._ticket.cluster_id)
        except OffloadError as error:
            if isinstance(error, NotFound):
                self._tickets.withdraw(self._ticket.cluster_id)
            raise HTTPError(error.status) from error
        return socket, f"/{self._path}" + (f"?{self.request.query}" if self.request.query else "")

    @allow_unauthenticated
    async def get(self, *args: str) -> None:
        """Pass on a page, a script, or a WebSocket."""
        if self.request.headers.get("Upgrade", "").lower() != "websocket":
            await self._forward()
            return
        socket, target = await self._target()
        asked = [p.strip() for p in self.request.headers.get("Sec-WebSocket-Protocol", "").split(",") if p.strip()]
        try:
            self._upstream = await connect_websocket(socket, target, asked)
        except (OSError, ClientError) as error:
            raise HTTPError(502) from error
        try:
            await super().get()  # until the browser leaves
        finally:
            self._upstream.close()

    @allow_unauthenticated
    async def head(self, *args: str) -> None:
        """Pass on what GET would answer, without the body."""
        await self._forward()

    async def _forward(self) -> None:
        socket, target = await self._target()
        headers = {name: self.request.headers[name] for name in _SEND if name in self.request.headers}
        try:
            answer = await self._http.fetch(
                request(
                    socket, self.request.method or "GET", target,
                    headers=headers, request_timeout=30, decompress_response=False,
                ),
                raise_error=False,
            )  # fmt: skip
        except (OSError, ClientError) as error:
            raise HTTPError(502) from error
        self.set_status(answer.code)
        self.clear_header("Content-Type")
        for name in _RETURN:
            if name in answer.headers:
                self.set_header(name, answer.headers[name])
        if 300 <= answer.code < 400 and answer.code != 304:
            self.set_header("Location", self._inside(answer.headers.get("Location", "")))
        if answer.body and self.request.method != "HEAD":
            self.write(answer.body)
        await self.finish()

    def compute_etag(self) -> str | None:
        """Keep the dashboard's own ETag."""
        return None

    def _inside(self, location: str) -> str:
        """Return where a redirect of the dashboard leads below the ticket; one that leads elsewhere is refused."""
        parts = urlsplit(location)
        if parts.scheme or parts.netloc or not parts.path or location.startswith(("//", "/\\", "\\")):
            raise HTTPError(502)
        below = parts.path.lstrip("/")
        if not _PATH.match(below) or ".." in below.split("/"):
            raise HTTPError(502)
        return (self._root if parts.path.startswith("/") else "") + below + (f"?{parts.query}" if parts.query else "")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Say in plain text why the frame stays empty."""
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(
            "This dashboard link is no longer valid. Open the dashboard again from its cluster."
            if status_code == 404
            else "The dashboard cannot be shown now. The cluster's card says why."
        )

    # ---------------------------------------------------------------- WebSocket
    @property
    def max_message_size(self) -> int:
        """Return the largest message taken from the browser, in bytes."""
        return MAX_MESSAGE_BYTES

    def check_origin(self, origin: str) -> bool:
        """A sandboxed frame has the origin ``null``; the ticket is what counts."""
        return True

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        """Return what the dashboard chose; Bokeh carries its session token here."""
        return self._upstream.selected_subprotocol if self._upstream is not None else None

    async def open(self, *args: str) -> None:
        """Start both ways: what the dashboard sends, and the end of the ticket."""
        assert self._ticket is not None
        for work in (self._relay(), self._expire(self._ticket)):
            task = asyncio.ensure_future(work)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _relay(self) -> None:
        assert self._upstream is not None
        try:
            # Each message is written before the next one is read, so a slow browser slows the dashboard down.
            while (message := await self._upstream.read_message()) is not None:
                await self.write_message(message, binary=isinstance(message, bytes))
        except WebSocketClosedError:
            pass
        self.close(self._upstream.close_code or 1001, "The dashboard ended.")

    async def _expire(self, ticket: Ticket) -> None:
        while (left_s := self._tickets.left_s(ticket)) > 0:  # noqa: ASYNC110  (it may be renewed meanwhile)
            await asyncio.sleep(min(left_s, 60))
        self.close(1008, "The ticket lapsed.")

    async def on_message(self, message: str | bytes) -> None:
        """Pass a message of the browser on; the next one is read when this one is written."""
        if self._upstream is not None:
            try:
                await self._upstream.write_message(message, binary=isinstance(message, bytes))
            except WebSocketClosedError:
                self.close(1001, "The dashboard ended.")

    def on_close(self) -> None:
        """End both ways."""
        for task in self._tasks:
            task.cancel()
        if self._upstream is not None:
            self._upstream.close()
