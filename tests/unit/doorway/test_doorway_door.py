"""The keeper's door by itself, before a keeper that is only a socket."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from cryptography import x509

from jupyter_offload.api import locations
from jupyter_offload.api.problems import OffloadError, ProblemCode
from jupyter_offload.doorway import identity
from jupyter_offload.doorway.wire import Distrust, Wire
from jupyter_offload.keeper import door


@contextlib.asynccontextmanager
async def opened(own: Path, authority: identity.Authority) -> AsyncIterator[tuple[tuple[str, int], Path]]:
    """A door in this loop, before a server that answers every request with its first line; yields address and folder."""
    folder = own / "door"
    folder.mkdir(exist_ok=True)
    (folder / door.AUTHORITY).write_bytes(authority.pem)
    (folder / door.CERTIFICATE).write_bytes(authority.door())

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                asked = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0]
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(asked), asked))
        writer.close()

    keeper = await asyncio.start_unix_server(echo, own / "keeper")
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    serving = asyncio.create_task(
        door.Door(door.context(folder), folder, own / "keeper", listener).serve(), name="the door"
    )
    try:
        yield address, folder
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        listener.close()
        keeper.close()


@contextlib.asynccontextmanager
async def wire_to(address: tuple[str, int], authority: identity.Authority) -> AsyncIterator[Wire]:
    made = Wire(address, authority)
    try:
        yield made
    finally:
        await made.close()


async def test_http_is_carried_as_it_is(own: Path) -> None:
    authority = identity.authority()
    async with opened(own, authority) as (address, _), wire_to(address, authority) as wire:
        answers = await asyncio.gather(*(wire.send("GET", f"/clusters/a%2Fb?n={n}", {}, b"") for n in range(20)))
    assert [a.text for a in answers] == [f"GET /clusters/a%2Fb?n={n} HTTP/1.1" for n in range(20)]


async def test_what_belongs_to_somebody_else_is_distrusted(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = identity.authority()
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(own / "of-another"))
    other = identity.authority()
    async with opened(own, other) as (address, _), wire_to(address, mine) as wire:
        with pytest.raises(Distrust):
            await wire.health()
        with pytest.raises(OffloadError):
            await wire.operate(op="token", token="a-secret")
    assert not locations.relay_token_path().exists()


@pytest.mark.parametrize("shown", ["of-another", "door"])
async def test_who_shows_another_certificate_is_not_let_in(
    own: Path, monkeypatch: pytest.MonkeyPatch, shown: str
) -> None:
    mine = identity.authority()
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(own / "of-another"))
    false = identity.authority().guest() if shown == "of-another" else mine.door()
    monkeypatch.setattr(identity.Authority, "guest", lambda _: false)
    async with opened(own, mine) as (address, _), wire_to(address, mine) as wire:
        with pytest.raises((Distrust, httpx.TransportError)):
            await wire.health()
        with pytest.raises(OffloadError):
            await wire.operate(op="token", token="a-secret")
    assert not locations.relay_token_path().exists()


async def test_a_renewed_certificate_is_shown_without_a_restart(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "REREAD_S", 0.05)
    monkeypatch.setattr(identity, "VALIDITY", datetime.timedelta(days=3))
    authority = identity.authority()
    async with opened(own, authority) as (address, folder), wire_to(address, authority) as wire:
        first = await wire.certificate_ends_at()
        monkeypatch.setattr(identity, "VALIDITY", datetime.timedelta(days=9))
        renewed = authority.door()
        (folder / "new").write_bytes(renewed)
        (folder / "new").replace(folder / door.CERTIFICATE)
        async with asyncio.timeout(30):
            while await wire.certificate_ends_at() == first:
                await asyncio.sleep(0.02)
        assert await wire.certificate_ends_at() == x509.load_pem_x509_certificate(renewed).not_valid_after_utc
        assert (await wire.send("GET", "/", {}, b"")).status_code == 200


async def test_a_broken_renewal_leaves_the_old_one(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "REREAD_S", 0.01)
    authority = identity.authority()
    async with opened(own, authority) as (address, folder), wire_to(address, authority) as wire:
        (folder / door.CERTIFICATE).write_bytes(b"half a file")
        await asyncio.sleep(0.2)
        assert (await wire.certificate_ends_at()) > datetime.datetime.now(datetime.UTC)


async def test_a_full_house_goes_on_when_somebody_leaves(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "MAXIMUM", 3)
    monkeypatch.setattr(door, "HANDSHAKE_TIMEOUT_S", 0.3)
    authority = identity.authority()
    async with opened(own, authority) as (address, _), wire_to(address, authority) as wire:
        strangers = [await asyncio.open_connection(*address) for _ in range(12)]
        assert (await wire.send("GET", "/", {}, b"")).status_code == 200
        for reader, writer in strangers:
            assert await asyncio.wait_for(reader.read(), 30) == b""
            writer.close()


async def test_a_token_is_kept_for_the_keeper_alone(own: Path) -> None:
    authority = identity.authority()
    async with opened(own, authority) as (address, _), wire_to(address, authority) as wire:
        _, (_, writer) = await wire.operate(op="token", token="of-the-session")
        writer.close()
    path = locations.relay_token_path()
    assert path.read_text() == "of-the-session"
    assert path.stat().st_mode & 0o777 == 0o600


async def test_a_keeper_that_is_gone_is_told(own: Path) -> None:
    authority = identity.authority()
    async with opened(own, authority) as (address, _), wire_to(address, authority) as wire:
        (own / "keeper").unlink()
        with pytest.raises(httpx.TransportError):
            await wire.send("GET", "/", {}, b"")
        with pytest.raises(OffloadError) as caught:
            await wire.operate(op="files", cluster="c")
        assert caught.value.code is ProblemCode.keeper_unreachable
