"""The control line against a real unix socket server that can be slow, rude or dead."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from jupyter_offload.api.problems import NotNow, Unavailable
from jupyter_offload.keeper.control import ControlLine, ask_once


@pytest.fixture
async def peer() -> AsyncIterator[Path]:
    """Answers ``echo``; ``slow`` after half a second; ``never`` not; ``cut`` by hanging up; ``rude`` with no JSON."""

    async def answer(writer: asyncio.StreamWriter, request: dict) -> None:
        op = request["op"]
        if op == "slow":
            await asyncio.sleep(0.5)
        if op == "never":
            return
        if op == "cut":
            writer.close()
        elif op == "rude":
            writer.write(b"what?\n")
        elif op == "no":
            writer.write(
                json.dumps({"id": request["id"], "ok": False, "error": {"code": "x", "message": "not now"}}).encode()
                + b"\n"
            )
        else:
            writer.write(json.dumps({"ok": True, **request}).encode() + b"\n")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks = set()
        while line := await reader.readline():
            tasks.add(asyncio.create_task(answer(writer, json.loads(line))))
        writer.close()

    folder = tempfile.mkdtemp(dir="/tmp")
    path = Path(folder) / "c.sock"
    server = await asyncio.start_unix_server(serve, path)
    yield path
    server.close()
    path.unlink(missing_ok=True)
    Path(folder).rmdir()


async def test_answers_find_their_requests(peer: Path) -> None:
    line = ControlLine(peer)
    slow, quick = await asyncio.gather(line.call("slow", mark=1), line.call("echo", mark=2))
    assert (slow["mark"], quick["mark"]) == (1, 2)
    await line.close()


async def test_a_hung_request_fails_alone(peer: Path) -> None:
    line = ControlLine(peer, "The scheduler of 'z'", timeout_s=0.2)
    hung = asyncio.create_task(line.call("never"))
    assert (await line.call("echo"))["ok"]
    with pytest.raises(Unavailable) as caught:
        await hung
    assert caught.value.transient and "The scheduler of 'z'" in caught.value.message
    assert (await line.call("echo"))["ok"]
    await line.close()


async def test_waiting_is_given_the_time_it_asks_for(peer: Path) -> None:
    line = ControlLine(peer, timeout_s=0.1)
    asked = asyncio.create_task(line.call("wait", timeout_s=0.3))
    assert (await asked)["ok"]
    await line.close()


@pytest.mark.parametrize("op", ["cut", "rude"])
async def test_a_break_fails_what_is_under_way_and_is_mended(peer: Path, op: str) -> None:
    line = ControlLine(peer)
    hung = asyncio.create_task(line.call("never"))
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await line.call(op)
    with pytest.raises(Unavailable, match="ConnectionReset"):  # at once, and not by its timeout
        await hung
    assert (await line.call("echo"))["ok"]
    await line.close()


async def test_a_refusal_is_told(peer: Path) -> None:
    line = ControlLine(peer)
    with pytest.raises(NotNow, match="not now"):
        await line.call("no")
    await line.close()


async def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        await ControlLine(tmp_path / "none").call("echo")
    with pytest.raises(FileNotFoundError):
        await ask_once(tmp_path / "none", {"op": "ping"}, 1)


async def test_ask_once(peer: Path) -> None:
    assert (await ask_once(peer, {"op": "echo"}, 5))["ok"]
    with pytest.raises(TimeoutError):
        await ask_once(peer, {"op": "never"}, 0.1)
    with pytest.raises(ConnectionResetError):
        await ask_once(peer, {"op": "cut"}, 5)
