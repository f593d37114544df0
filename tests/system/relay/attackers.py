"""What strangers and insiders do to a relay. Everything here blocks, and so runs in threads beside Dask's loop."""

from __future__ import annotations

import contextlib
import json
import random
import secrets
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

from jupyter_offload.relay.hello import client_hello
from jupyter_offload.relay.names import Kind, Target, server_name

DOMAIN = "relay.test"
_TIMEOUT_S = 30.0


class Attacker:
    """Opens connections to one port and holds them until the attack is over.

    Args:
        source: the address it comes from.
    """

    def __init__(self, port: int, source: str = "127.0.0.1") -> None:
        self._port = port
        self._source = source
        self.held: list[socket.socket] = []

    def __enter__(self) -> Attacker:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self.held:
            one.close()

    def open(self, data: bytes = b"") -> socket.socket:
        """Connect and send something; what the relay says to that is another matter."""
        one = socket.create_connection(("127.0.0.1", self._port), _TIMEOUT_S, (self._source, 0))
        self.held.append(one)
        with contextlib.suppress(OSError):
            one.sendall(data)
        return one

    def hello(self, kind: Kind, peer: str, cluster: str = "", data: bytes = b"") -> socket.socket:
        """Open a connection with a genuine hello."""
        return self.open(client_hello(server_name(Target(kind, peer, cluster), DOMAIN)) + data)

    def flood(self, number: int, data: bytes = b"") -> None:
        """Open so many and keep them."""
        for _ in range(number):
            with contextlib.suppress(OSError):
                self.open(data)

    def open_ones(self) -> int:
        """How many of those that are held has the relay not closed?"""
        return sum(not ended(one, 0.0) for one in self.held)


def ended(one: socket.socket, timeout_s: float = _TIMEOUT_S) -> bool:
    """Read until the other end closes; False when it does not in time."""
    end = time.monotonic() + timeout_s
    try:
        while True:
            one.settimeout(max(end - time.monotonic(), 1e-6))
            if not one.recv(1 << 16):
                return True
    except (TimeoutError, BlockingIOError, ssl.SSLWantReadError):
        return False
    except OSError:
        return True


def mutated(hello: bytes, dice: random.Random) -> bytes:
    """A hello with a few bytes changed, cut, doubled or put in."""
    changed = bytearray(hello)
    for _ in range(dice.randint(1, 6)):
        at = dice.randrange(len(changed))
        match dice.randrange(4):
            case 0:
                changed[at] = dice.randrange(256)
            case 1:
                del changed[at : at + dice.randint(1, 20)]
            case 2:
                changed[at:at] = changed[max(0, at - 20) : at]
            case _:
                changed[at:at] = dice.randbytes(dice.randint(1, 20))
        if not changed:
            return b"\x16"
    return bytes(changed)


def garbage(cluster: str, number: int) -> Iterator[bytes]:
    """What port scanners, browsers and fuzzers send."""
    dice = random.Random(7)
    hello = client_hello(f"scheduler.{cluster}.c.{DOMAIN}")
    for n in range(number):
        yield (
            dice.randbytes(dice.randint(1, 3000)),
            b"GET /metrics HTTP/1.1\r\nHost: relay.test\r\n\r\n",
            mutated(hello, dice),
            b"\x16\x03\x01" + dice.randbytes(dice.randint(2, 400)),
        )[n % 4]


def control_context(authority: Path, certificate: Path) -> ssl.SSLContext:
    """The context of a peer towards the relay."""
    context = ssl.create_default_context(cafile=str(authority))
    context.check_hostname = False
    context.load_cert_chain(certificate)
    return context


class Insider:
    """A control connection by hand, which registers and then does nothing it should."""

    def __init__(self, port: int, context: ssl.SSLContext, cluster: str) -> None:
        one = socket.create_connection(("127.0.0.1", port), _TIMEOUT_S)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.socket = context.wrap_socket(one, server_hostname=f"{cluster}.l.{DOMAIN}")
        except BaseException:
            one.close()
            raise

    def register(self, name: str) -> dict[str, object]:
        """Ask for a name; return the answer.

        Raises:
            OSError: the relay closed the connection, with or without a TLS alert.
        """
        request = {"op": "register", "protocol": 1, "name": name, "instance": secrets.token_hex(16)}
        self.socket.sendall(json.dumps(request).encode() + b"\n")
        answer = self.socket.recv(1 << 16)
        if not answer:
            raise ConnectionResetError("closed without an answer")
        return dict(json.loads(answer.partition(b"\n")[0]))

    def close(self) -> None:
        self.socket.close()
