"""Small parts by themselves: launch file, journal, line, private files, bootstrap."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import jupyter_offload.scheduler
from jupyter_offload.scheduler.files import last_lines, write_json
from jupyter_offload.scheduler.journal import Journal
from jupyter_offload.scheduler.launch import BadLaunch, read_launch
from jupyter_offload.scheduler.line import Line, encode
from jupyter_offload.scheduler.process import is_alive, process_start

LAUNCH: dict[str, Any] = {
    "protocol": 1, "cluster": {"id": "c", "name": "n", "owner": "o"}, "folder": "/f", "runtime": "/r", "spill": "/s",
    "logs": "/l", "tls": {"ca_file": "a", "scheduler_file": "b", "worker_file": "c", "client_file": "d"},
    "host": "127.0.0.1", "workers": 2, "worker": {"cores": 1, "memory_bytes": 5}, "scheduler": {},
}  # fmt: skip


def test_launch_is_read(tmp_path: Path) -> None:
    path = tmp_path / "launch.json"
    path.write_text(json.dumps(LAUNCH))
    launch = read_launch(path)
    assert (launch.workers, launch.worker.memory_bytes, launch.dashboard) == (2, 5, True)
    assert launch.log("w0") == Path("/l/w0.log")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"protocol": 2}, "protocol 2"),
        ({"workers": -1}, "workers -1"),
        ({"workers": "two"}, "workers 'two'"),
        ({"workers": 10**6}, "workers 1000000"),
        ({"folder": None}, "wrong"),
        ({"worker": {"cores": 1}}, "memory_bytes"),
        ({"worker": {"cores": 1, "memory_bytes": 1, "colour": "red"}}, "colour"),
    ],
)
def test_launch_mistakes_are_named(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    path = tmp_path / "launch.json"
    path.write_text(json.dumps({**LAUNCH, **change}))
    with pytest.raises(BadLaunch, match=words):
        read_launch(path)


@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}"])
def test_launch_that_is_none(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "launch.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BadLaunch, match=r"launch\.json"):
        read_launch(path)


async def test_journal_counts_and_wakes() -> None:
    journal = Journal()
    journal.add("info", "a", "first", "w0")
    journal.changed()
    journal.add("error", "b", "second")
    assert journal.sequence == 3
    assert [(e["sequence"], e["code"], e["worker"]) for e in journal.since(0)] == [(1, "a", "w0"), (3, "b", None)]
    assert [e["code"] for e in journal.since(1)] == ["b"]
    await asyncio.wait_for(journal.wait(since=0, timeout_s=60), 5)
    waiting = [asyncio.ensure_future(journal.wait(since=3, timeout_s=60)) for _ in range(3)]
    await asyncio.sleep(0)
    journal.changed()
    await asyncio.wait_for(asyncio.gather(*waiting), 5)
    await journal.wait(since=4, timeout_s=0.01)


async def test_journal_keeps_a_bounded_past() -> None:
    journal = Journal()
    for number in range(2000):
        journal.add("info", "a", str(number))
    kept = journal.since(0)
    assert len(kept) == 500
    assert kept[-1]["sequence"] == journal.sequence == 2000


def test_line_never_blocks_and_loses_nothing() -> None:
    ours, theirs = socket.socketpair()
    line = Line(ours)
    for number in range(20_000):  # far more than the system buffers; nobody reads yet
        line.send({"number": number})
    assert line.wants_write
    theirs.setblocking(False)
    received = b""
    while received.count(b"\n") < 20_000:
        try:
            received += theirs.recv(1 << 16)
        except BlockingIOError:
            line.flush()
    assert [json.loads(one)["number"] for one in received.split()] == list(range(20_000))
    assert not line.wants_write
    theirs.setblocking(True)
    theirs.sendall(encode({"a": 1})[:4])
    assert line.receive() == []
    theirs.sendall(encode({"a": 1})[4:] + encode({"b": 2}))
    assert line.receive() == [{"a": 1}, {"b": 2}]
    theirs.close()
    assert line.receive() == []
    assert not line.open
    line.send({"c": 3})


def test_files_are_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "ready.json"
    write_json(path, {"a": 1})
    write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 2}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 2}
    assert os.listdir(tmp_path) == ["ready.json"]


def test_last_lines(tmp_path: Path) -> None:
    path = tmp_path / "w0.log"
    assert last_lines(path) == ""
    path.write_text("\n".join(map(str, range(5000))) + "\n\n")
    assert last_lines(path, lines=2) == "4998\n4999"


def test_entry_refuses_what_it_does_not_know() -> None:
    entry = Path(jupyter_offload.scheduler.__file__).parent / "__main__.py"
    done = subprocess.run([sys.executable, str(entry), "dance"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "usage" in done.stderr


def test_the_process_helper_needs_the_standard_library_only() -> None:
    code = "import sys, jupyter_offload.scheduler.process; print({'dask', 'distributed', 'tornado', 'pydantic'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "set()"


def test_children_watch_their_parent_where_the_kernel_does_not() -> None:
    child = (
        "import os, sys, time; sys.platform = 'darwin'; from jupyter_offload.scheduler import become;"
        "become._die_with_parent(os.getppid()); print(os.getpid(), flush=True); time.sleep(600)"
    )
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    start = process_start(pid)
    assert start is not None
    process.kill()
    process.wait(10)
    end = time.monotonic() + 30
    while is_alive(pid, start) and time.monotonic() < end:
        time.sleep(0.02)
    assert not is_alive(pid, start)
