"""Each process of a tree is killed once: what is said, what goes on, and what stays behind (nothing)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from process_tree import TreeOfOne, Zygote, all_gone, clean_environment, identities, until

from jupyter_offload.scheduler.process import is_alive

Start = Callable[..., TreeOfOne]


def test_killed_worker_is_started_again(start_either: Start) -> None:
    tree = start_either()
    victim = next(w for w in tree.connected(2)["workers"] if w["name"] == "w0")
    with tree.client() as client:
        results = client.map(lambda x: x + 1, range(100))
        client.gather(results)
        os.kill(victim["pid"], signal.SIGKILL)
        until(lambda: (tree.worker("w0") or {}).get("pid") not in (None, victim["pid"]))
        tree.connected(2)
        assert client.gather(results) == list(range(1, 101)), "what was lost is computed again"
    worker = tree.worker("w0")
    assert worker is not None
    assert worker["restarts"] == 1
    (event,) = tree.events("worker-restarted")
    assert (event["worker"], event["level"]) == ("w0", "warning")
    assert "SIGKILL" in event["message"]
    assert tree.log("w0").count("Start worker at") == 2, "the log goes on over restarts"


def test_killed_scheduler_takes_everything_with_it_and_says_so(start_either: Start) -> None:
    tree = start_either()
    tree.connected(2)
    members = identities(tree.members())
    os.kill(tree.ready()["scheduler"]["pid"], signal.SIGKILL)
    over = tree.exit()
    assert (over["code"], over["exit_status"]) == ("scheduler-died", -9)
    assert "SIGKILL" in over["message"]
    assert all_gone(members)


def test_killed_scheduler_with_a_stuck_task(start: Start) -> None:
    tree = start(workers=1)
    tree.connected(1)
    members = identities(tree.members())
    with tree.client() as client:
        _stuck = client.submit(time.sleep, 3600)
        until(lambda: tree.status()["workers"][0]["executing"] == 1)
        os.kill(tree.ready()["scheduler"]["pid"], signal.SIGKILL)
        assert tree.exit()["code"] == "scheduler-died"
    assert all_gone(members)


def test_killed_supervisor_takes_everything_with_it(start_either: Start) -> None:
    tree = start_either()
    tree.connected(2)
    assert tree.supervisor is not None
    members = identities(tree.members())
    assert len(members) == 3
    os.kill(tree.supervisor[0], signal.SIGKILL)
    until(lambda: all_gone(members), timeout_s=10)


def test_killed_supervisor_takes_a_stuck_task_with_it(start: Start) -> None:
    tree = start(workers=1)
    tree.connected(1)
    assert tree.supervisor is not None
    members = identities(tree.members())
    with tree.client() as client:
        _stuck = client.submit(time.sleep, 3600)
        until(lambda: tree.status()["workers"][0]["executing"] == 1)
        os.kill(tree.supervisor[0], signal.SIGKILL)
        until(lambda: all_gone(members), timeout_s=10)


def test_sigterm_to_the_supervisor_stops_in_order(start_either: Start) -> None:
    tree = start_either()
    tree.connected(2)
    assert tree.supervisor is not None
    members = identities(tree.members())
    os.kill(tree.supervisor[0], signal.SIGTERM)
    assert tree.exit()["code"] == "stopped"
    assert all_gone(members)


def test_sigterm_to_a_worker_moves_its_data(start: Start) -> None:
    tree = start()
    pid = next(w["pid"] for w in tree.connected(2)["workers"] if w["name"] == "w0")
    with tree.client() as client:
        (data,) = client.scatter([b"z" * 1000], workers=["w0"])
        os.kill(pid, signal.SIGTERM)
        until(lambda: (tree.worker("w0") or {}).get("pid") not in (None, pid))
        tree.connected(2)
        assert client.gather(data) == b"z" * 1000, "scattered data cannot be computed again, so it was moved"


def test_stop_with_a_stuck_task_and_what_it_started(start: Start) -> None:
    tree = start(workers=1)
    tree.connected(1)
    with tree.client() as client:
        children = client.submit(lambda: start_children()).result(30)
        _stuck = client.submit(time.sleep, 3600, pure=False)
        until(lambda: tree.status()["workers"][0]["executing"] == 1)
        members = identities([*tree.members(), *children])
        assert len(members) >= 4
        tree.control.call("stop", grace_s=1)
        assert tree.exit()["code"] == "stopped"
    assert all_gone(members)


def start_children() -> list[int]:
    """Leave two processes behind, one of them in a session of its own."""
    command = [sys.executable, "-c", "import time; time.sleep(3600)"]
    return [subprocess.Popen(command).pid, subprocess.Popen(command, start_new_session=True).pid]


def test_what_a_killed_worker_started_ends_too(start: Start) -> None:
    tree = start(workers=1)
    pid = tree.connected(1)["workers"][0]["pid"]
    with tree.client() as client:
        child = identities(client.submit(lambda: start_children()).result(30)[:1])
        os.kill(pid, signal.SIGKILL)
        until(lambda: all_gone(child))
        tree.connected(1)


def break_worker(folder: Path) -> None:
    """A module whose import ends the process, as a broken C library does."""
    folder.mkdir()
    (folder / "broken_library.py").write_text(
        "import os, sys\nprint('cannot open shared object file', file=sys.stderr)\nsys.stderr.flush()\nos._exit(77)\n"
    )


def test_worker_that_dies_while_starting_is_given_up(make_tree: Start, zygote: Zygote, tmp_path: Path) -> None:
    break_worker(tmp_path / "broken")
    tree = make_tree(workers=2, worker={"modules": ["broken_library"]})
    tree.start_warm(zygote, env=clean_environment(PYTHONPATH=str(tmp_path / "broken")))
    tree.ready()
    until(lambda: tree.events("workers-failing"))
    until(lambda: [w["state"] for w in tree.status()["workers"]] == ["lost", "lost"])
    (event,) = tree.events("workers-failing")
    assert event["level"] == "error"
    assert "exit status 77" in event["message"]
    assert "cannot open shared object file" in event["message"]
    for worker in tree.status()["workers"]:
        assert "cannot open shared object file" in worker["message"]
    assert len(tree.members()) == 1, "only the scheduler is left"
    (tmp_path / "broken" / "broken_library.py").write_text("")
    tree.control.call("scale", workers=0)
    until(lambda: tree.status()["workers"] == [])
    tree.control.call("scale", workers=1)
    tree.connected(1)


def test_scheduler_that_cannot_start_says_why(make_tree: Start, zygote: Zygote) -> None:
    tree = make_tree(workers=1)
    Path(tree.tls["scheduler_file"]).write_text("no certificate\n")
    tree.start_warm(zygote)
    over = tree.exit()
    assert over["code"] == "scheduler-start-failed"
    assert over["exit_status"] == 1
    assert "SSL" in over["message"] or "PEM" in over["message"]
    assert not (tree.runtime / "ready.json").exists()


def test_environment_without_dask_says_what_is_missing(make_tree: Start, tmp_path: Path) -> None:
    hide = tmp_path / "hide"
    (hide / "distributed").mkdir(parents=True)
    (hide / "distributed" / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'distributed'\")\n")
    tree = make_tree(workers=1).start_cold(env=clean_environment(PYTHONPATH=str(hide)))
    over = tree.exit()
    assert over["code"] == "scheduler-start-failed"
    assert "No module named 'distributed'" in over["message"]
    assert f"{sys.executable} -m pip install distributed" in over["message"]


def hold(size: int, seconds: float) -> int:
    """Hold memory outside of what Dask manages."""
    data = bytearray(size)
    data[::4096] = b"x" * len(data[::4096])
    time.sleep(seconds)
    return len(data)


def test_worker_over_its_limit_is_ended_and_started_again(start_either: Start) -> None:
    tree = start_either(workers=2, worker={"memory_bytes": 256 << 20})
    before = {w["name"]: w["pid"] for w in tree.connected(2)["workers"]}
    with tree.client() as client:
        _held = client.submit(lambda: hold(400 << 20, 60), workers=["w0"], allow_other_workers=False)
        until(lambda: tree.events("worker-over-memory"))
        event = tree.events("worker-over-memory")[0]
        assert (event["worker"], event["level"]) == ("w0", "warning")
        assert "of its 256 MiB" in event["message"]
        until(lambda: ((tree.worker("w0") or {}).get("restarts") or 0) >= 1)
    worker = tree.worker("w1")
    assert worker is not None
    assert worker["pid"] == before["w1"]
    assert tree.events("worker-lost") == []


def test_worker_short_of_memory_spills_and_pauses(start: Start) -> None:
    tree = start(workers=1, worker={"memory_bytes": 400 << 20})
    tree.connected(1)
    with tree.client() as client:
        pieces = client.map(lambda n: os.urandom(40 << 20), range(8), pure=False)
        until(lambda: tree.events("worker-spilling"))
        until(lambda: tree.status()["workers"][0]["spilled_bytes"] > 0)
        sizes = client.map(lambda piece: len(piece), pieces)
        assert client.gather(sizes) == [40 << 20] * 8, "what is on disk comes back"
        del pieces, sizes
        until(lambda: tree.status()["workers"][0]["spilled_bytes"] == 0)

        _held = client.submit(lambda: hold(260 << 20, 5), pure=False)
        until(lambda: tree.events("worker-paused"))
        until(lambda: tree.events("worker-resumed"))
        assert client.submit(sum, [1, 2], pure=False).result(60) == 3


def test_free_memory_goes_back_when_a_worker_falls_idle(start: Start) -> None:
    tree = start(workers=1, worker={"memory_bytes": 2 << 30})
    tree.connected(1)

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def fill() -> int:
        import numpy

        arrays = [numpy.ones(1 << 17) for _ in range(400)]  # 1 MiB each: below the threshold for mapping
        small = [bytearray(50_000) for _ in range(20)]
        del arrays
        globals()["kept"] = small  # lives above what was freed, so the heap cannot shrink by itself
        return resident()

    with tree.client() as client:
        (idle,) = client.run(resident).values()
        full = client.submit(fill).result(60)
        assert full - idle > 300 << 20, "the thresholds kept freed memory, as meant"
        until(lambda: next(iter(client.run(resident).values())) - idle < 60 << 20)


def test_orphaned_groups_do_not_hold_up_the_end(start: Start) -> None:
    tree = start(workers=1)
    tree.connected(1)

    def stubborn() -> int:
        code = (
            "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(3600)"
        )
        process: Any = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        process.stdout.readline()
        return int(process.pid)

    with tree.client() as client:
        (child,) = identities([client.submit(stubborn).result(60)])
    assert tree.stop()["code"] == "stopped"
    assert not is_alive(*child)
