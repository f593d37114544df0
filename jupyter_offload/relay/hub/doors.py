"""Sockets of this host on which HTTP is spoken: the unix socket of admission, and where metrics are read."""

from __future__ import annotations

import asyncio
import contextlib
import grp
import os
import socket
from pathlib import Path

from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from tornado.netutil import bind_sockets
from tornado.web import Application

from .admission import LONGEST_BODY
from .config import split_address
from .identities.unix import peer_of

_BACKLOG = 128
#: A user of this host keeps others from coming no more than others from elsewhere could.
_MOST_PER_USER = 128


def server(application: Application) -> HTTPServer:
    """Return a server with bounds on what a request may be and how long it may take. No header is believed about its origin."""
    return HTTPServer(
        application, max_body_size=LONGEST_BODY, max_buffer_size=4 * LONGEST_BODY, max_header_size=16384,
        idle_connection_timeout=30, body_timeout=10, xheaders=False,
    )  # fmt: skip


class UnixDoor:
    """Serves an application on a unix socket.

    Another process may take the path over at any moment: then that one's socket is left there at the end.

    Raises:
        OSError: the socket cannot be made there.
    """

    def __init__(self, path: Path, mode: int, group: str | None, http: HTTPServer) -> None:
        self._path = path
        self._http = http
        self._streams: set[_UnixStream] = set()
        self._socket, self._inode = _bind(path, mode, group)
        asyncio.get_running_loop().add_reader(self._socket, self._accept)

    def close(self) -> None:
        """Close it, and remove the path if it is still ours."""
        self.stop_listening()
        for stream in list(self._streams):
            stream.close()

    def stop_listening(self) -> None:
        """Take nobody new; again is harmless."""
        if self._socket.fileno() < 0:
            return
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        with contextlib.suppress(OSError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()

    def _accept(self) -> None:
        for _ in range(_BACKLOG):
            try:
                one, _address = self._socket.accept()
            except OSError:  # nobody is there, or the system has no descriptor: then it waits in the backlog
                return
            one.setblocking(False)
            peer = peer_of(one)
            uid = -1 if peer is None else peer.uid
            if sum(1 for stream in self._streams if stream.uid == uid) >= _MOST_PER_USER:
                one.close()
            else:
                self._http.handle_stream(_UnixStream(one, uid, self._streams), ("", 0))


class _UnixStream(IOStream):
    """A connection of a user of this host; what closes it removes it from the living."""

    def __init__(self, one: socket.socket, uid: int, living: set[_UnixStream]) -> None:
        super().__init__(one)
        self.uid = uid
        self._living = living
        living.add(self)

    def close_fd(self) -> None:
        self._living.discard(self)
        super().close_fd()


class MetricsDoor:
    """Serves numbers on a port of this host, or on a unix socket.

    Raises:
        OSError: it cannot be had.
    """

    def __init__(self, address: str, application: Application, *, reuse_port: bool = False) -> None:
        self._http = server(application)
        self._unix: UnixDoor | None = None
        self.port: int | None = None
        if address.startswith("/"):
            self._unix = UnixDoor(Path(address), 0o660, None, self._http)
            return
        host, port = split_address(address)
        sockets = bind_sockets(port, host, reuse_port=reuse_port)
        self.port = sockets[0].getsockname()[1]
        self._http.add_sockets(sockets)

    async def close(self) -> None:
        """Close it."""
        self._http.stop()
        if self._unix is not None:
            self._unix.close()
        await self._http.close_all_connections()


def _bind(path: Path, mode: int, group: str | None) -> tuple[socket.socket, int]:
    """Make the socket beside its path and move it there: nobody ever finds it missing, or with another mode."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.unlink(missing_ok=True)
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        one.setblocking(False)
        mask = os.umask(0o177)
        try:
            one.bind(str(part))
        finally:
            os.umask(mask)
        if group is not None:
            os.chown(part, -1, grp.getgrnam(group).gr_gid)
        part.chmod(mode)
        one.listen(_BACKLOG)
        part.replace(path)
        return one, path.stat().st_ino
    except BaseException:
        one.close()
        part.unlink(missing_ok=True)
        raise
