"""Tornado's own HTTP and WebSocket clients over unix sockets: the way to the keeper and to the dashboards."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from tornado.httpclient import HTTPRequest
from tornado.netutil import Resolver
from tornado.simple_httpclient import SimpleAsyncHTTPClient
from tornado.websocket import WebSocketClientConnection, websocket_connect

#: Long polls and slow requests must not make others wait for a slot.
_MAX_REQUESTS = 500
#: Largest answer that is taken into memory.
MAX_ANSWER_BYTES = 64 << 20
#: Largest WebSocket message, either way; Bokeh sends whole documents.
MAX_MESSAGE_BYTES = 32 << 20


class _UnixResolver(Resolver):
    """Host names are the hex form of a socket's path: URLs know no other place for it."""

    async def resolve(
        self, host: str, port: int, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[tuple[int, Any]]:
        return [(socket.AF_UNIX, bytes.fromhex(host).decode())]


def _url(scheme: str, path: Path, target: str) -> str:
    return f"{scheme}://{str(path).encode().hex()}{target}"


def new_client() -> SimpleAsyncHTTPClient:
    """Return a client of our own: a site may have configured another for the whole process, and it closes with us."""
    return SimpleAsyncHTTPClient(
        force_instance=True,
        resolver=_UnixResolver(),
        max_clients=_MAX_REQUESTS,
        max_buffer_size=MAX_ANSWER_BYTES,
        max_body_size=MAX_ANSWER_BYTES,
    )


def request(path: Path, method: str, target: str, **options: Any) -> HTTPRequest:
    """Return a request for ``target`` (path and query) to the server that listens on the socket ``path``."""
    headers = {**options.pop("headers", {}), "Host": "localhost"}
    return HTTPRequest(
        _url("http", path, target),
        method=method,
        headers=headers,
        follow_redirects=False,
        connect_timeout=5,
        allow_nonstandard_methods=True,
        **options,
    )


async def connect_websocket(path: Path, target: str, subprotocols: list[str]) -> WebSocketClientConnection:
    """Open a WebSocket to the server that listens on the socket ``path``.

    Raises:
        OSError: nobody listens.
        tornado.httpclient.HTTPError: it refuses, or does not answer within 10 s.
    """
    return await websocket_connect(
        HTTPRequest(_url("ws", path, target), headers={"Host": "localhost"}, connect_timeout=10, request_timeout=10),
        subprotocols=subprotocols,
        max_message_size=MAX_MESSAGE_BYTES,
        resolver=_UnixResolver(),
    )
