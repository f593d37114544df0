"""More and fewer workers, and clients that restart them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from process_tree import TIMEOUT_S, TreeOfOne, clean_environment, identities, until

from jupyter_offload.scheduler.process import is_alive

Start = Callable[..., TreeOfOne]


def test_up_and_down_and_up_again(start_either: Start) -> None:
    tree = start_either(workers=1)
    tree.connected(1)
    assert tree.control.call("scale", workers=3)["target"] == 3
    status = tree.connected(3)
    assert sorted(w["name"] for w in status["workers"]) == ["w0", "w1", "w2"]
    pids = identities([w["pid"] for w in status["workers"]])
    assert tree.control.call("scale", workers=1)["target"] == 1
    until(lambda: [w["state"] for w in tree.status()["workers"]] == ["connected"])
    until(lambda: sum(is_alive(*pid) for pid in pids) == 1)
    assert len(tree.events("worker-retired")) == 2
    assert tree.events("worker-restarted") == []
    assert tree.control.call("scale", workers=2)["target"] == 2
    tree.connected(2)
    assert tree.control.call("scale", workers=0)["target"] == 0
    until(lambda: tree.status()["workers"] == [])
    assert tree.status()["target"] == 0
    tree.control.call("scale", workers=1)
    tree.connected(1)


def test_the_idlest_goes_and_its_data_moves(start: Start) -> None:
    tree = start(workers=3)
    tree.connected(3)
    with tree.client() as client:
        busy = client.submit(time.sleep, 600, workers=["w1"], allow_other_workers=False, pure=False)
        until(lambda: (tree.worker("w1") or {})["executing"] == 1)
        (small,) = client.scatter([b"x" * 1000], workers=["w0"])
        (large,) = client.scatter([b"y" * 1_000_000], workers=["w2"])
        tree.control.call("scale", workers=2)
        until(lambda: len(tree.status()["workers"]) == 2)
        assert tree.worker("w0") is None, "it was idle and held the least"
        assert client.gather(small) == b"x" * 1000
        tree.control.call("scale", workers=1)
        until(lambda: len(tree.status()["workers"]) == 1)
        assert tree.worker("w1") is not None
        assert [len(data) for data in client.gather([small, large])] == [1000, 1_000_000]
        assert busy.status == "pending"


def test_scale_is_idempotent(start: Start) -> None:
    tree = start(workers=2)
    before = tree.connected(2)
    for _ in range(3):
        assert tree.control.call("scale", workers=2)["target"] == 2
    after = tree.status()
    assert {w["name"]: w["pid"] for w in before["workers"]} == {w["name"]: w["pid"] for w in after["workers"]}


def test_workers_told_to_go_while_they_are_being_forked_take_nobody_with_them(start: Start) -> None:
    tree = start(workers=0)
    for pause_s in [0, 0.005, 0.02, 0.05, 0.1] * 6:
        tree.control.call("scale", workers=2)
        time.sleep(pause_s)
        tree.control.call("scale", workers=0)
        until(lambda: tree.status()["workers"] == [])
    tree.control.call("scale", workers=1)
    tree.connected(1)


def test_restart_brings_all_workers_back_new(start_either: Start) -> None:
    tree = start_either()
    before = {w["pid"] for w in tree.connected(2)["workers"]}
    with tree.client() as client:
        lost = client.submit(sum, [1, 2])
        lost.result(30)
        client.restart(timeout=60)
        assert lost.status in ("cancelled", "lost")
        after = client.run(os.getpid)
        assert len(after) == 2
        assert not before & set(after.values())
        assert client.submit(sum, [1, 2], pure=False).result(30) == 3
    status = tree.connected(2)
    assert [w["restarts"] for w in status["workers"]] == [0, 0], "a restart somebody asked for is no fault"
    assert {event["level"] for event in tree.events("worker-restarted")} == {"info"}
    assert tree.events("worker-lost") == []


def test_restart_does_not_wait_for_a_task_that_never_ends(start: Start) -> None:
    tree = start(workers=1)
    pid = tree.connected(1)["workers"][0]["pid"]
    with tree.client() as client:
        _stuck = client.submit(time.sleep, 3600)
        until(lambda: tree.status()["workers"][0]["executing"] == 1)
        client.restart(timeout=60)
        assert list(client.run(os.getpid).values()) != [pid]


def test_single_workers_can_be_restarted(start: Start) -> None:
    tree = start()
    before = {w["name"]: w["pid"] for w in tree.connected(2)["workers"]}
    with tree.client() as client:
        assert client.restart_workers(["w0"], timeout=60) == {"w0": "OK"}
    after = {w["name"]: w["pid"] for w in tree.connected(2)["workers"]}
    assert after["w0"] != before["w0"]
    assert after["w1"] == before["w1"]


def test_client_shutdown_ends_the_cluster(start: Start) -> None:
    tree = start()
    tree.connected(2)
    members = identities(tree.members())
    with tree.client() as client:
        client.shutdown()
    over = tree.exit()
    assert over["code"] == "stopped"
    assert "client" in over["message"]
    assert not any(is_alive(*member) for member in members)


@pytest.fixture
def remote_worker() -> Callable[..., int]:
    started: list[subprocess.Popen[bytes]] = []

    def run(tree: TreeOfOne, name: str, contact: str | None = None) -> int:
        code = (
            "import asyncio, sys\nfrom distributed import Worker\nfrom distributed.security import Security\n"
            "async def main(address, ca, pem, folder, name, contact):\n"
            "    security = Security(tls_ca_file=ca, tls_worker_cert=pem, tls_worker_key=pem)\n"
            "    async with Worker(address, host='127.0.0.1', security=security, name=name, nthreads=1,\n"
            "        local_directory=folder, contact_address=contact or None, dashboard_address='127.0.0.1:0') as worker:\n"
            "        await worker.finished()\n"
            "asyncio.run(main(*sys.argv[1:]))\n"
        )
        address = tree.ready()["scheduler_address"]
        files = [tree.tls["ca_file"], tree.tls["worker_file"], str(tree.folder)]
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", code, address, *files, name, contact or ""], env=clean_environment(),
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
        )  # fmt: skip
        return started[-1].pid

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait(TIMEOUT_S)


def test_remote_workers_are_seen_and_retired_by_name(start: Start, remote_worker: Callable[..., int]) -> None:
    tree = start(workers=0)
    tree.ready()
    remote_worker(tree, "r0")
    status = tree.connected(1)
    assert (status["target"], status["workers"][0]["name"]) == (0, "r0")
    assert tree.control.call("retire", names=["r0"])["ok"]
    until(lambda: tree.status()["workers"] == [])
    until(lambda: [event["worker"] for event in tree.events("worker-retired")] == ["r0"])
    assert tree.events("worker-lost") == []


def test_remote_worker_that_dies_is_lost(start: Start, remote_worker: Callable[..., int]) -> None:
    tree = start(workers=0)
    tree.ready()
    pid = remote_worker(tree, "r0")
    tree.connected(1)
    os.kill(pid, signal.SIGKILL)
    until(lambda: tree.status()["workers"] == [])
    (event,) = tree.events("worker-lost")
    assert (event["worker"], event["level"]) == ("r0", "warning")


def test_worker_that_cannot_be_reached_gets_no_task_and_is_closed(
    start: Start, remote_worker: Callable[..., int], tmp_path: Path
) -> None:
    tree = start(workers=0)
    tree.ready()
    with tree.client() as client:
        waiting = client.submit(sum, [1, 2])
        remote_worker(tree, "behind-nat", contact="tls://127.0.0.1:9")
        until(lambda: tree.events("worker-unreachable"))
        (event,) = tree.events("worker-unreachable")
        assert event["worker"] == "behind-nat"
        assert "tls://127.0.0.1:9" in event["message"]
        until(lambda: tree.status()["workers"] == [])
        assert tree.events("worker-connected") == tree.events("worker-lost") == []
        assert waiting.status == "pending"
        tree.control.call("scale", workers=1)
        assert waiting.result(60) == 3
