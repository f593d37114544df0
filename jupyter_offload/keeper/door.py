"""The door of a keeper in a pod: mutual TLS 1.3, behind it the keeper's private socket and little else.

Who has a certificate of the user's own authority (``doorway/identity.py``) may do here what the user may do at the keeper's
socket. What is spoken is agreed on by ALPN: ``http/1.1`` leads to the socket, byte for byte; ``offload-door/1`` is one request as a
line of JSON, answered by a line of JSON, for what HTTP on the socket leaves to files of this host:

- ``{"op": "files", "cluster": id}``: the contents of a cluster's connection folder, by the field of ``Connection`` that names each
- ``{"op": "dashboard", "cluster": id}``: after the answer, the connection is one to the cluster's dashboard
- ``{"op": "token", "token": text}``: the session's token for the facility's relay

An answer is ``{"ok": true, ...}``, or ``{"ok": false, "status": ..., "problem": ...}`` with a problem document.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import ssl
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from ..api import relay_token
from ..api.problems import BadInput, OffloadError, ProblemCode, Unavailable

log = logging.getLogger(__name__)

PORT = 8786
HTTP = "http/1.1"
PROTOCOL = "offload-door/1"
#: Files in the folder of a door: its certificate with the key, and the authority of those who may enter.
CERTIFICATE, AUTHORITY = "door.pem", "ca.pem"
#: Name in the door's certificate, whatever its address is.
NAME = "keeper"
#: Connections at a time. One that has not shown its certificate counts for ``HANDSHAKE_TIMEOUT_S`` at most.
MAXIMUM = 256
HANDSHAKE_TIMEOUT_S = 5.0
REQUEST_TIMEOUT_S = 10.0
#: A kubelet writes a renewed Secret about once a minute.
REREAD_S = 30.0
LINE_LIMIT = 1 << 20
_CHUNK = 1 << 16

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def context(folder: Path) -> ssl.SSLContext:
    """Return the TLS of a door with the files in this folder.

    Raises:
        OSError: a file is missing, or is not what it should be.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_verify_locations(folder / AUTHORITY)
    made.load_cert_chain(folder / CERTIFICATE)
    made.set_alpn_protocols([HTTP, PROTOCOL])
    return made


def open_door(folder: Path, keeper_socket: Path, address: tuple[str, int]) -> threading.Thread:
    """Open the door in a thread of its own, so that whoever stands before it keeps the keeper from nothing.

    Raises:
        OSError: the files cannot be used, or the port is taken.
    """
    tls = context(folder)
    listener = socket.create_server(address, backlog=MAXIMUM)
    door = Door(tls, folder, keeper_socket, listener)
    thread = threading.Thread(target=lambda: asyncio.run(door.serve()), name="door", daemon=True)
    thread.start()
    log.info("the door is open at %s:%s", *listener.getsockname()[:2])
    return thread


class Door:
    """Lets in who is let in."""

    def __init__(self, tls: ssl.SSLContext, folder: Path, keeper_socket: Path, listener: socket.socket) -> None:
        self._tls = tls
        self._folder = folder
        self._keeper = keeper_socket
        self._listener = listener
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Serve until cancelled."""
        self._listener.setblocking(False)
        loop = asyncio.get_running_loop()
        room = asyncio.Semaphore(MAXIMUM)
        self._keep(asyncio.create_task(self._reread()))
        while True:
            await room.acquire()
            try:
                connection, _ = await loop.sock_accept(self._listener)
            except OSError as error:  # no descriptor is free, or the caller left
                log.warning("a connection was not taken: %s", error)
                room.release()
                await asyncio.sleep(0.1)
                continue
            task = asyncio.create_task(self._one(connection))
            task.add_done_callback(lambda _: room.release())
            self._keep(task)

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reread(self) -> None:
        """Take a renewed certificate for those who come from then on."""
        seen = (self._folder / CERTIFICATE).read_bytes()
        while True:
            await asyncio.sleep(REREAD_S)
            try:
                now = (self._folder / CERTIFICATE).read_bytes()
                if now != seen:
                    self._tls.load_cert_chain(self._folder / CERTIFICATE)
                    seen = now
                    log.info("the door has a new certificate")
            except OSError as error:
                log.warning("the door's certificate cannot be read again: %s", error)

    async def _one(self, connection: socket.socket) -> None:
        try:
            reader, writer = await self._greeted(connection)
        except (OSError, TimeoutError) as error:  # ssl.SSLError among them
            log.info("somebody was not let in: %s", error)
            connection.close()
            return
        try:
            spoken = writer.get_extra_info("ssl_object").selected_alpn_protocol()
            if spoken == HTTP:
                await splice((reader, writer), await asyncio.open_unix_connection(str(self._keeper)))
            elif spoken == PROTOCOL:
                await self._operation(reader, writer)
        except (OSError, TimeoutError, ValueError) as error:
            log.info("a connection ended: %s: %s", type(error).__name__, error)
        finally:
            writer.close()

    async def _greeted(self, connection: socket.socket) -> Streams:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=LINE_LIMIT)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol, connection, ssl=self._tls, ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S
        )
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    # ------------------------------------------------------------ operations
    async def _operation(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onwards: Streams | None = None
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                request = json.loads(await reader.readline())
                answer, onwards = await self._answer(request if isinstance(request, dict) else {})
        except OffloadError as error:
            answer = {"ok": False, "status": error.status, "problem": error.as_dict()}
        writer.write(json.dumps(answer).encode() + b"\n")
        await writer.drain()
        if onwards is not None:
            await splice((reader, writer), onwards)

    async def _answer(self, request: Mapping[str, Any]) -> tuple[dict[str, Any], Streams | None]:
        match request.get("op"):
            case "files":
                return await self._ask(request, "connection", _contents), None
            case "dashboard":
                answer = await self._ask(request, "dashboard", lambda found: {"socket": found["socket"]})
                if not answer["ok"]:
                    return answer, None
                return {"ok": True}, await asyncio.open_unix_connection(answer["socket"])
            case "token":
                await asyncio.to_thread(relay_token.keep, str(request.get("token", "")))
                return {"ok": True}, None
        raise BadInput(ProblemCode.invalid, f"There is no operation {str(request.get('op'))[:40]!r}.", field="op")

    async def _ask(self, request: Mapping[str, Any], what: str, take: Any) -> dict[str, Any]:
        """Ask the keeper about a cluster, and take from its answer what is wanted."""
        cluster = quote(str(request.get("cluster", "")), safe="")
        try:
            async with httpx.AsyncClient(
                transport=httpx.AsyncHTTPTransport(uds=str(self._keeper)), timeout=REQUEST_TIMEOUT_S
            ) as http:
                answer = await http.get(f"http://keeper/clusters/{cluster}/{what}")
        except httpx.HTTPError as error:
            raise Unavailable(
                ProblemCode.keeper_unreachable, f"The keeper does not answer its door ({type(error).__name__})."
            ) from error
        if answer.status_code != 200:
            return {"ok": False, "status": answer.status_code, "problem": answer.json()}
        return {"ok": True, **(await asyncio.to_thread(take, answer.json()))}


def _contents(connection: Mapping[str, Any]) -> dict[str, Any]:
    """Return the files that a client on another host needs, with their paths here."""
    named = {**(connection["tls"] or {}), "connection_file": connection["connection_file"]}
    if connection.get("relay") and connection["relay"].get("ca_file"):
        named["relay_ca_file"] = connection["relay"]["ca_file"]
    files = {}
    for field, path in named.items():
        with contextlib.suppress(FileNotFoundError):
            files[field] = {"path": path, "text": Path(path).read_text(encoding="utf-8")}
    return {"files": files}


async def splice(one: Streams, other: Streams) -> None:
    """Carry bytes both ways until either end is over, then close both."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                writer.write(data)
                await writer.drain()

    ways = [asyncio.create_task(carry(one[0], other[1])), asyncio.create_task(carry(other[0], one[1]))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for _, writer in (one, other):
            with contextlib.suppress(OSError):
                await asyncio.wait_for(writer.drain(), 5)
    finally:
        for way in ways:
            way.cancel()
        for _, writer in (one, other):
            writer.close()
