"""The first message of TLS, which carries the name that the relay routes by (RFC 8446, RFC 6066)."""

from __future__ import annotations

import functools
import ssl
import struct

RECORD_HEADER_BYTES = 5
#: A record holds no more (RFC 8446, 5.1); real hellos have 0.3 to 2 kB.
LONGEST_RECORD_BYTES = 1 << 14
_SHORTEST_HELLO_BYTES = 42
_HANDSHAKE, _CLIENT_HELLO, _SERVER_NAME, _HOST_NAME = 22, 1, 0, 0

#: Fatal alerts (RFC 8446, 6), which a TLS client in the middle of its handshake understands.
ALERT_UNKNOWN = b"\x15\x03\x03\x00\x02\x02\x70"  # unrecognized_name: no such peer
ALERT_BUSY = b"\x15\x03\x03\x00\x02\x02\x50"  # internal_error: a limit is reached, try again
#: A session's dialer reads this where it expects an answer.
ALERT_FIRST_BYTE = ALERT_BUSY[:1]


def record_bytes(head: bytes) -> int:
    """Return how many bytes the record that begins with ``head`` has, its header included.

    Raises:
        ValueError: it is not the beginning of a TLS handshake. ``head`` needs at least 5 bytes.
    """
    length = int.from_bytes(head[3:5], "big")
    if head[0] != _HANDSHAKE or head[1] != 3 or not _SHORTEST_HELLO_BYTES <= length <= LONGEST_RECORD_BYTES:
        raise ValueError("no TLS handshake")
    return RECORD_HEADER_BYTES + length


def server_name_in(record: bytes) -> str:
    """Return the server name in a record that holds one whole ClientHello; an empty string if there is none.

    Raises:
        ValueError: it is malformed, whatever the bytes are.
    """
    try:
        return _server_name(memoryview(record)[RECORD_HEADER_BYTES:])
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise ValueError(f"malformed ClientHello: {error}") from error


def _server_name(hello: memoryview) -> str:
    if hello[0] != _CLIENT_HELLO or int.from_bytes(hello[1:4], "big") != len(hello) - 4:
        raise ValueError("not one whole ClientHello")
    at = 4 + 2 + 32  # version and random
    at += 1 + hello[at]  # session id
    at += 2 + struct.unpack_from(">H", hello, at)[0]  # cipher suites
    at += 1 + hello[at]  # compression methods
    if at == len(hello):
        return ""
    (length,) = struct.unpack_from(">H", hello, at)
    at += 2
    if at + length != len(hello):
        raise ValueError("the extensions have another length than they say")
    while at < len(hello):
        extension, length = struct.unpack_from(">HH", hello, at)
        at += 4
        if at + length > len(hello):
            raise ValueError("an extension is longer than the hello")
        if extension == _SERVER_NAME:
            return _host_name(hello[at : at + length])
        at += length
    return ""


def _host_name(names: memoryview) -> str:
    _, kind, length = struct.unpack_from(">HBH", names)
    if kind != _HOST_NAME or 5 + length > len(names):
        raise ValueError("bad server_name")
    return bytes(names[5 : 5 + length]).decode("ascii")


@functools.cache
def _context() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def client_hello(server_name: str) -> bytes:
    """Return a genuine ClientHello that only carries a name: nobody answers it."""
    outgoing = ssl.MemoryBIO()
    hello = _context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=server_name)
    try:
        hello.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("a handshake without an answer cannot succeed")
