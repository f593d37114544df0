"""The one port: takes connections and finds out where each wants to go, by its ClientHello and without consuming it."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections import Counter
from collections.abc import Callable

from ..hello import LONGEST_RECORD_BYTES, RECORD_HEADER_BYTES, record_bytes, server_name_in
from ..sockets import tune
from .connection import Connection
from .counters import Counters
from .events import Events
from .limits import HubLimits, Stage, source_of

_BACKLOG = 4096
#: Connections taken before others have a turn.
_BATCH = 16
_PAUSE_S = 0.2
#: When to look again at a hello that was not whole.
_FIRST_LOOK_S, _LONGEST_LOOK_S = 0.002, 0.2
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
#: Parsed at once, never across two turns of the loop.
_PEEK = bytearray(RECORD_HEADER_BYTES + LONGEST_RECORD_BYTES)

Route = Callable[[Connection, str, int], None]


class _Arrival:
    """A connection whose hello is not here yet."""

    __slots__ = ("connection", "look_s", "timer")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.look_s = _FIRST_LOOK_S
        self.timer: asyncio.TimerHandle | None = None

    @property
    def source(self) -> str:
        return self.connection.source


class Gate:
    """Listens, and hands each connection with a whole hello to ``route``: with the server name and the record's bytes.

    What is no ClientHello is closed without a word. The hello is only looked at (``MSG_PEEK``), so it can still be
    forwarded or be answered by a TLS server.
    """

    def __init__(self, limits: HubLimits, most: int, counters: Counters, events: Events, route: Route) -> None:
        self._limits = limits
        self._most = most
        self._counters = counters
        self._events = events
        self._route = route
        self._listeners: list[socket.socket] = []
        self._paused: dict[socket.socket, asyncio.TimerHandle] = {}
        self._by_source: Counter[str] = Counter()
        self._silent: Stage[_Arrival] = Stage(
            limits.silent, limits.silent_per_source, limits.hello_s, self._drop
        )  # fmt: skip
        self.connections = 0

    @property
    def silent(self) -> int:
        """How many have not sent a whole hello."""
        return len(self._silent)

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Host and port of every listening socket."""
        return [one.getsockname()[:2] for one in self._listeners]

    async def listen(self, host: str, port: int, *, reuse_port: bool) -> None:
        """Listen on every address of the host; an empty host is all of them, and port 0 one that is free.

        Raises:
            OSError: an address cannot be had; then it listens on none.
        """
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        try:
            for family, _, _, _, address in dict.fromkeys(found):
                if family not in (socket.AF_INET, socket.AF_INET6):
                    continue
                where = (address[0], port, *address[2:])
                listener = _listener(family, where, reuse_port=reuse_port)
                if listener is None:
                    continue
                self._listeners.append(listener)
                port = listener.getsockname()[1]
        except OSError:
            self.stop_listening()
            raise
        if not self._listeners:
            raise OSError(f"no address of {host!r} can be listened on")
        for listener in self._listeners:
            loop.add_reader(listener, self._accept, listener)

    def stop_listening(self) -> None:
        """Take no more connections; those that are here stay."""
        for listener in self._listeners:
            asyncio.get_running_loop().remove_reader(listener)
            listener.close()
        for timer in self._paused.values():
            timer.cancel()
        self._paused.clear()
        self._listeners.clear()

    def close(self) -> None:
        """Listen no more and drop whoever has not said what it wants."""
        self.stop_listening()
        self._silent.close()

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_BATCH):
            try:
                sock, address = listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._pause(listener, error)
                    return
                continue  # it was reset while it waited (accept(2) says so here)
            self._take(sock, str(address[0]), int(address[1]))

    def _pause(self, listener: socket.socket, error: OSError) -> None:
        """The system has no descriptor or memory: the backlog would wake us for ever, so wait, and let the oldest go."""
        self._counters.accept_errors += 1
        self._events.noise("accept-failed", reason=error.strerror or str(error))
        self._silent.evict_oldest()
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener)
        self._paused[listener] = loop.call_later(_PAUSE_S, self._resume, listener)

    def _resume(self, listener: socket.socket) -> None:
        del self._paused[listener]
        asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def _take(self, sock: socket.socket, address: str, port: int) -> None:
        source = source_of(address)
        per_source = self._limits.connections_per_source
        if per_source is not None and self._by_source[source] >= per_source:
            refusal = "source-full"
        elif self.connections >= self._most and not self._silent.evict_oldest():
            refusal = "relay-full"
        else:
            refusal = None
        if refusal is not None:
            if not self._by_source[source]:
                del self._by_source[source]
            sock.close()
            self._counters.refused(refusal)
            self._events.noise("refused", source=address, reason=refusal)
            return
        sock.setblocking(False)
        tune(sock)
        self.connections += 1
        self._by_source[source] += 1
        arrival = _Arrival(Connection(sock, address, port, source, self._gone))
        self._silent.enter(arrival)
        if arrival in self._silent:
            self._look(arrival)

    def _gone(self, one: Connection) -> None:
        self.connections -= 1
        self._by_source[one.source] -= 1
        if not self._by_source[one.source]:
            del self._by_source[one.source]

    def _look(self, arrival: _Arrival) -> None:
        sock = arrival.connection.sock
        loop = asyncio.get_running_loop()
        arrival.timer = None
        try:
            number = sock.recv_into(_PEEK, len(_PEEK), socket.MSG_PEEK)
            needed = (
                record_bytes(bytes(_PEEK[:RECORD_HEADER_BYTES]))
                if number >= RECORD_HEADER_BYTES
                else RECORD_HEADER_BYTES
            )
            if 0 < number < needed:
                self._look_later(arrival)
                return
            name = server_name_in(bytes(_PEEK[:needed])) if number else None
        except (BlockingIOError, InterruptedError):
            loop.add_reader(arrival.connection.fd, self._look, arrival)
            return
        except (OSError, ValueError):
            name = None
        self._off(arrival)
        if name is None:
            self._counters.refused("no-hello")
            arrival.connection.close()
            return
        try:
            self._route(arrival.connection, name, needed)
        except BaseException:  # a fault of ours, which the loop logs: nobody is to wait for it in vain
            arrival.connection.close()
            raise

    def _look_later(self, arrival: _Arrival) -> None:
        """Part of a hello is here. A reader would now be called again and again, since looking takes nothing away."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(arrival.connection.fd)
        arrival.timer = loop.call_later(arrival.look_s, self._look, arrival)
        arrival.look_s = min(arrival.look_s * 2, _LONGEST_LOOK_S)

    def _off(self, arrival: _Arrival) -> None:
        self._silent.leave(arrival)
        asyncio.get_running_loop().remove_reader(arrival.connection.fd)
        if arrival.timer is not None:
            arrival.timer.cancel()
            arrival.timer = None

    def _drop(self, arrival: _Arrival, why: str) -> None:
        self._off(arrival)
        self._counters.dropped["silent", why] += 1
        arrival.connection.close()


def _listener(family: int, address: tuple[object, ...], *, reuse_port: bool) -> socket.socket | None:
    """Return a listening socket; None when this machine has no such protocol."""
    try:
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError:
        return None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.setblocking(False)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if family == socket.AF_INET6 and error.errno == errno.EADDRNOTAVAIL:
            return None  # IPv6 is compiled in and turned off
        raise
    return listener
