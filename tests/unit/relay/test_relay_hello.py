"""The name in a ClientHello: found in genuine ones, and nothing but ValueError from all others."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jupyter_offload.relay.hello import (
    ALERT_BUSY,
    ALERT_FIRST_BYTE,
    ALERT_UNKNOWN,
    LONGEST_RECORD_BYTES,
    RECORD_HEADER_BYTES,
    client_hello,
    record_bytes,
    server_name_in,
)

NAME = "w-job7-k3." + "a" * 52 + ".c.relay.example.org"
HELLO = client_hello(NAME)


def of_openssl(name: str | None, **settings: object) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    for key, value in settings.items():
        setattr(context, key, value)
    outgoing = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


def test_the_name_in_a_genuine_hello() -> None:
    assert record_bytes(HELLO) == len(HELLO)
    assert server_name_in(HELLO) == NAME
    assert client_hello(NAME) != HELLO  # each has a random of its own
    assert server_name_in(of_openssl("x.test", maximum_version=ssl.TLSVersion.TLSv1_2)) == "x.test"
    assert server_name_in(of_openssl(None)) == ""


@given(st.integers(0, len(HELLO)), st.binary(max_size=8), st.integers(0, 8))
@example(0, b"", 0)
def test_a_hello_that_was_changed_is_a_name_or_malformed(at: int, put: bytes, instead_of: int) -> None:
    check(HELLO[:at] + put + HELLO[at + instead_of :])


@given(st.lists(st.tuples(st.integers(RECORD_HEADER_BYTES, len(HELLO) - 1), st.integers(0, 255)), max_size=6))
def test_bytes_that_were_flipped_do_no_harm(changes: list[tuple[int, int]]) -> None:
    hello = bytearray(HELLO)
    for at, value in changes:
        hello[at] = value
    check(bytes(hello))


@given(st.binary(max_size=300))
def test_garbage_does_no_harm(data: bytes) -> None:
    check(data)
    check(HELLO[:RECORD_HEADER_BYTES] + data)
    body = b"\x01" + len(data).to_bytes(3, "big") + data
    check(b"\x16\x03\x01" + len(body).to_bytes(2, "big") + body)


@given(st.integers(0, len(HELLO) - 1))
def test_a_part_is_never_taken_for_the_whole(length: int) -> None:
    with pytest.raises(ValueError, match=r"."):
        server_name_in(HELLO[:length])


def check(record: bytes) -> None:
    try:
        name = server_name_in(record)
    except ValueError:
        return
    assert isinstance(name, str)
    assert name.isascii()


@given(st.binary(min_size=5, max_size=5))
def test_how_long_a_record_is(head: bytes) -> None:
    try:
        size = record_bytes(head)
    except ValueError:
        return
    assert head[:2] == b"\x16\x03"
    assert 42 < size <= RECORD_HEADER_BYTES + LONGEST_RECORD_BYTES


@pytest.mark.parametrize(("alert", "reason"), [(ALERT_BUSY, "INTERNAL_ERROR"), (ALERT_UNKNOWN, "UNRECOGNIZED_NAME")])
def test_a_tls_client_understands_the_alerts(alert: bytes, reason: str) -> None:
    incoming = ssl.MemoryBIO()
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(incoming, ssl.MemoryBIO(), server_hostname="x.test")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    incoming.write(alert)
    with pytest.raises(ssl.SSLError, match=reason):
        client.do_handshake()
    assert alert[:1] == ALERT_FIRST_BYTE
