"""Listeners and connectors as Dask's servers and clients make them."""

from __future__ import annotations

import asyncio

from distributed.comm import connect, listen
from distributed.comm.core import CommClosedError

from jupyter_offload.relay.comm.listener import RelayListener


async def echo(comm) -> None:
    while True:
        try:
            await comm.write(await comm.read())
        except CommClosedError:
            return


class Listening:
    """A listener of Dask as its servers make one."""

    def __init__(self, name: str, security, handler=echo, role: str = "worker") -> None:
        self.listener: RelayListener = listen(
            f"relay://{name}", handler, deserialize=False, **security.get_listen_args(role)
        )

    async def __aenter__(self) -> RelayListener:
        await self.listener.start()
        return self.listener

    async def __aexit__(self, *_) -> None:
        self.listener.stop()
        await asyncio.sleep(0)


async def ask(comm, message):
    async with asyncio.timeout(20):
        await comm.write(message)
        return await comm.read()


def dial(address: str, security, **more):
    return connect(address, timeout=more.pop("timeout", 10), **security.get_connection_args("client"), **more)


async def until(condition, timeout_s: float = 20) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.02)
