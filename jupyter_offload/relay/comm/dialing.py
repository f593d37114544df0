"""TCP connections to the relay, each begun by a hello that says where it leads."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tornado.iostream import SSLIOStream, StreamClosedError

from .. import sockets
from ..hello import client_hello
from .settings import Settings

CONNECT_TIMEOUT_S = 5.0
RESOLVE_TIMEOUT_S = 5.0
_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


class RelayUnreachable(OSError):
    """No relay can be reached from here now: there is no way, or nobody listens."""


@dataclass(frozen=True)
class Endpoint:
    """One relay process as the network knows it."""

    family: int
    address: tuple[Any, ...]

    def __str__(self) -> str:
        host, port = self.address[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def endpoints(settings: Settings) -> list[Endpoint]:
    """Return every relay behind the configured addresses.

    Raises:
        RelayUnreachable: no name can be resolved now.
    """
    found: dict[Endpoint, None] = {}
    problems: list[OSError] = []
    for host, port in settings.addresses:
        try:
            found.update(dict.fromkeys(await _resolve(host, port)))
        except OSError as error:
            problems.append(error)
    if not found:
        raise RelayUnreachable(f"no address of the relay is known: {problems[0]}") from problems[0]
    return list(found)


async def _resolve(host: str, port: int) -> Iterable[Endpoint]:
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=_NUMERIC)
    except socket.gaierror:  # a name: a thread asks for it
        lookup = asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        try:
            answers = await asyncio.wait_for(lookup, RESOLVE_TIMEOUT_S)
        except TimeoutError as error:
            raise OSError(f"{host} was not resolved within {RESOLVE_TIMEOUT_S:g} s") from error
    return [Endpoint(family, address) for family, _, _, _, address in answers]


async def dial(endpoint: Endpoint, server_name: str | None = None) -> socket.socket:
    """Return a connection to one relay; with a server name, its hello has been sent on it.

    Raises:
        RelayUnreachable: it cannot be reached.
    """
    loop = asyncio.get_running_loop()
    one = socket.socket(endpoint.family, socket.SOCK_STREAM)
    try:
        one.setblocking(False)
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await loop.sock_connect(one, endpoint.address)
            sockets.tune(one)
            if server_name is not None:
                await loop.sock_sendall(one, client_hello(server_name))
    except TimeoutError as error:
        one.close()
        raise RelayUnreachable(errno.ETIMEDOUT, f"no answer in {CONNECT_TIMEOUT_S:g} s") from error
    except OSError as error:
        one.close()
        raise RelayUnreachable(error.errno, error.strerror) from error
    except BaseException:
        one.close()
        raise
    return one


def nobody_leads(target: str, problems: dict[Endpoint, Exception]) -> OSError:
    """Return the error of somebody whom no relay leads to ``target``: what went wrong at each."""
    unreachable = all(isinstance(problem, RelayUnreachable) for problem in problems.values())
    kind = RelayUnreachable if unreachable else OSError
    told = "; ".join(f"{endpoint}: {why(problem)}" for endpoint, problem in problems.items())
    return kind(f"no relay leads to {target}: {told}")


async def secure(
    one: socket.socket,
    context: ssl.SSLContext,
    *,
    server: bool = False,
    server_name: str | None = None,
    timeout_s: float,
    buffer_bytes: float | None = None,
) -> SSLIOStream:
    """Return a stream with TLS on a connection, which is closed when that fails.

    Raises:
        ssl.SSLError: the two do not trust each other, or the relay refuses.
        OSError: the connection broke, or it took too long.
    """
    try:
        wrapped = context.wrap_socket(
            one, server_side=server, server_hostname=server_name, do_handshake_on_connect=False
        )
    except BaseException:
        one.close()
        raise
    stream = SSLIOStream(wrapped, max_buffer_size=buffer_bytes)
    try:
        async with asyncio.timeout(timeout_s):
            await stream.wait_for_handshake()
    except TimeoutError as error:
        stream.close()
        raise OSError(errno.ETIMEDOUT, f"no TLS within {timeout_s:g} s") from error
    except StreamClosedError as error:
        raise stream.error or OSError("the connection was closed before TLS was established") from error
    except BaseException:
        stream.close()
        raise
    return stream


def shuffled(found: Iterable[Endpoint]) -> list[Endpoint]:
    """Return the relays in the order in which to try them: another one each time, so that they share the load."""
    order = list(found)
    random.shuffle(order)
    return order


def why(error: BaseException) -> str:
    """Return what went wrong, for a sentence."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and "UNRECOGNIZED_NAME" in (error.reason or ""):
        return "it knows no such peer, or not this cluster"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or error}"
    if isinstance(error, OSError) and error.errno is not None:
        return (
            os.strerror(error.errno) if str(error.strerror).startswith("Connect call failed") else str(error.strerror)
        )
    return str(error) or type(error).__name__


class Backoff:
    """Pauses between attempts: growing, at most 2 s, and different for everybody, so that a relay is not stormed."""

    _FIRST_S, _LONGEST_S = 0.1, 2.0

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew after a success."""
        self._longest_s = self._FIRST_S

    async def pause(self) -> None:
        """Wait before the next attempt."""
        pause_s = random.uniform(self._longest_s / 2, self._longest_s)  # noqa: S311  (no secret hangs on it)
        self._longest_s = min(self._longest_s * 2, self._LONGEST_S)
        await asyncio.sleep(pause_s)
