"""A cluster comes up, warm and cold alike, and shares nothing with its zygote that it must not."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from process_tree import ENTRY, TreeOfOne, Zygote, clean_environment, identities, until

from jupyter_offload.scheduler.process import is_alive

Start = Callable[..., TreeOfOne]


def look_around() -> dict[str, Any]:
    """Tell from inside a worker what its process is like."""
    import multiprocessing
    import random

    import numpy as np

    ours = [name for name in sys.modules if name.startswith("jupyter_offload")]
    main = sys.modules["__main__"]
    return {
        "pid": os.getpid(), "path": list(sys.path), "ours": ours, "main": getattr(main, "__file__", None),
        "argv": sys.argv, "drawn": random.random(), "numpy": float(np.random.random()),
        "authkey": bytes(multiprocessing.current_process().authkey).hex(), "cwd": os.getcwd(), "env": dict(os.environ),
    }  # fmt: skip


def test_comes_up_computes_and_stops(start_either: Start) -> None:
    tree = start_either()
    ready = tree.ready()
    assert ready["protocol"] == 1
    assert is_alive(ready["scheduler"]["pid"], ready["scheduler"]["start"])
    assert (ready["supervisor"]["pid"], ready["supervisor"]["start"]) == tree.supervisor
    status = tree.connected(2)
    assert status["target"] == 2
    assert ready["scheduler_address"] == status["scheduler_address"]
    assert status["scheduler_address"].startswith("tls://127.0.0.1:")
    with tree.client() as client:
        assert client.gather(client.map(lambda x: x * x, range(20))) == [x * x for x in range(20)]
        status = tree.status()
        assert status["clients"] == 1
        assert status["tasks_done"] == 20
        assert sum(worker["tasks_done"] for worker in status["workers"]) == 20
    members = identities(tree.members())
    assert len(members) == 3
    over = tree.stop()
    assert over["code"] == "stopped"
    assert not any(is_alive(*member) for member in members)
    assert list(tree.spill.iterdir()) == []
    assert not (tree.runtime / "control.sock").exists()
    for name in ("supervisor", "scheduler", "w0", "w1"):
        assert tree.log(name), f"{name} left no log"


def test_files_are_private(start: Start) -> None:
    tree = start()
    tree.connected(2)
    until((tree.runtime / "dashboard.sock").exists)
    private = [*tree.logs.iterdir(), *tree.runtime.iterdir(), tree.folder / "connection.json"]
    assert len(private) >= 8
    assert {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in private} == {
        path.name: "0o600" for path in private
    }


def test_connection_file_serves_a_client_without_our_package(start: Start) -> None:
    tree = start(workers=1)
    tree.connected(1)
    connection = json.loads((tree.folder / "connection.json").read_text())
    assert (connection["id"], connection["name"]) == ("test-cluster", "test")
    assert connection["tls"] == {
        "ca_file": tree.tls["ca_file"], "cert_file": tree.tls["client_file"], "key_file": tree.tls["client_file"]
    }  # fmt: skip
    from distributed import Client

    with Client(scheduler_file=str(tree.folder / "connection.json"), security=tree.security(), timeout=30) as client:
        assert client.submit(sum, [1, 2]).result(30) == 3
        assert "Client" in client._repr_html_()


def test_nothing_of_ours_enters_the_environment_of_the_user(start_either: Start) -> None:
    tree = start_either(workers=1)
    tree.connected(1)
    with tree.client() as client:
        (seen,) = client.run(look_around).values()
        scheduler = client.run_on_scheduler(look_around)
    for process in (seen, scheduler):
        assert str(ENTRY.parent) not in process["path"]
        assert process["ours"] == []
        assert process["main"] is None


def test_processes_do_not_draw_the_same_numbers(start: Start) -> None:
    first, second = start(workers=2), start(workers=1)
    first.connected(2), second.connected(1)
    seen = []
    for tree in (first, second):
        with tree.client() as client:
            seen += [*client.run(look_around).values(), client.run_on_scheduler(look_around)]
    for name in ("drawn", "numpy", "authkey", "pid"):
        values = [process[name] for process in seen]
        assert len(set(values)) == 5, name


def test_environment_and_folder_come_from_the_request(make_tree: Start, zygote: Zygote, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "my_extra_module.py").write_text("LOADED = 1\n")
    (tmp_path / "dask.yaml").write_text("distributed:\n  scheduler:\n    allowed-failures: 17\n")
    env = clean_environment(
        PYTHONPATH=str(tmp_path / "mine"), DASK_CONFIG=str(tmp_path), DASK_TEST__VALUE="5", TZ="Asia/Tokyo"
    )
    tree = make_tree(workers=1, worker={"env": {"OF_THE_USER": "yes"}, "modules": ["my_extra_module"]})
    tree.launch["scheduler"]["modules"] = ["my_extra_module"]
    tree.start_warm(zygote, env=env, cwd=str(tmp_path / "mine"))
    tree.connected(1)

    def inside() -> Any:
        import time

        import dask.config

        return (sys.modules["my_extra_module"].LOADED, dask.config.get("test.value"), time.tzname[0], os.getcwd(),
                dask.config.get("distributed.scheduler.allowed-failures"), os.environ.get("OF_THE_USER"))  # fmt: skip

    expected = (1, 5, "JST", str(tmp_path / "mine"), 17, "yes")
    with tree.client() as client:
        assert list(client.run(inside).values()) == [expected]
        until(lambda: client.run_on_scheduler(lambda: "my_extra_module" in sys.modules))
        assert client.run_on_scheduler(inside) == expected
        assert client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.allowed_failures) == 17
        names = set(client.run_on_scheduler(lambda: dict(os.environ)))
    assert not {"OF_THE_ZYGOTE", "OPENBLAS_NUM_THREADS"} & names


def test_missing_module_is_an_event_and_work_goes_on(start: Start) -> None:
    tree = start(workers=2, worker={"modules": ["no_such_module"]}, scheduler={"modules": ["no_such_module"]})
    tree.connected(2)
    until(lambda: len(tree.events("module-failed")) == 2)
    by_worker = {event["worker"] is None: event for event in tree.events("module-failed")}
    assert set(by_worker) == {True, False}  # told once for all workers
    for event in by_worker.values():
        assert event["level"] == "error"
        assert "no_such_module" in event["message"]
        assert "ModuleNotFoundError" in event["message"]
        assert sys.executable in event["message"]
    with tree.client() as client:
        assert client.submit(sum, [1, 2]).result(30) == 3


def test_user_configuration_cannot_end_a_cluster(make_tree: Start, zygote: Zygote) -> None:
    env = clean_environment(
        DASK_DISTRIBUTED__SCHEDULER__IDLE_TIMEOUT="100ms", DASK_DISTRIBUTED__WORKER__LIFETIME__DURATION="100ms"
    )
    tree = make_tree(workers=1).start_warm(zygote, env=env)
    tree.connected(1)
    with tree.client() as client:
        assert client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.idle_timeout) is None
        assert list(client.run(lambda dask_worker: dask_worker.lifetime).values()) == [None]


def test_two_clusters_at_once_are_two_sessions(start: Start) -> None:
    trees = [start(workers=1), start(workers=1)]
    for tree in trees:
        tree.connected(1)
    sessions = {os.getsid(tree.supervisor[0]) for tree in trees if tree.supervisor}
    assert len(sessions) == 2
    assert os.getsid(0) not in sessions
