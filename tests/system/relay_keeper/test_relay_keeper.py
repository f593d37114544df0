"""From the click to a result through a relay of the keeper's own, and every process killed once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import psutil
from jupyter_client import KernelManager
from nbclient import NotebookClient

from jupyter_offload.api.models import Connection, SiteList
from jupyter_offload.keeper.relay import embedded

from ..keeper.conftest import until
from .conftest import no_relay, relay_process


def run(cells: list[str], folder: Path, *, python: Path | None = None, env: dict[str, str] | None = None) -> list[Any]:
    """Execute cells in a kernel of their own; return the executed cells."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    manager = KernelManager(kernel_name="python3")
    if python is not None:
        manager.kernel_spec.argv[0] = str(python)
    try:
        NotebookClient(notebook, km=manager, timeout=120).execute(cwd=str(folder), **({"env": env} if env else {}))
    finally:
        manager.shutdown_kernel(now=True)
    return notebook.cells


def text_of(cell: Any) -> str:
    return "".join(o.get("text", "") or o.get("data", {}).get("text/plain", "") for o in cell.outputs)


def pid_of_worker() -> Callable[[], int]:
    """Return a function that workers need not import."""
    return lambda: os.getpid()


def slowly() -> Callable[[int], int]:
    def same(number: int) -> int:
        time.sleep(0.3)
        return number

    return same


# ---------------------------------------------------------------- from the click to a result
def test_from_the_click_to_a_result_in_every_kernel(far: Any, bare_python: Path, tmp_path: Path) -> None:
    with far() as desk:
        cluster = desk.new("far", 2, site="far")
        assert {str(w.address).rpartition("-")[0].rpartition("-")[0] for w in cluster.worker_list} == {"relay://w"}
        assert cluster.reason.code.value == "all-workers"
        with_us = run(
            [
                "import jupyter_offload as offload\nfrom dask.distributed import Client\nclient = Client(offload.cluster('far'))",
                "client.submit(sum, [40, 2]).result()",
                "client.gather(client.submit(sum, [1, 2]), direct=True)",
                "import os; sorted(client.run(os.getpid)) == sorted(client.scheduler_info()['workers'])",
            ],
            tmp_path,
        )
        assert [text_of(c) for c in with_us[1:]] == ["42", "3", "True"]
        found = desk.client.call("clusterConnection", Connection, id="far")
        plain = (
            "from distributed import Client\nfrom distributed.security import Security\n"
            f"s = Security(tls_ca_file={found.tls.ca_file!r}, tls_client_cert={found.tls.cert_file!r},"
            f" tls_client_key={found.tls.key_file!r}, require_encryption=True)\n"
            f"client = Client({found.scheduler_address!r}, security=s)"
        )
        env = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
        without = run(
            [plain, "client.gather(client.map(abs, range(-50, 0)))[0]"], tmp_path, python=bare_python, env=env
        )
        assert text_of(without[1]) == "50"
        desk.change("far", workers=3)
        desk.when("far", lambda c: c.workers.connected == 3)
        desk.change("far", workers=1)
        desk.when("far", lambda c: c.workers.connected == 1 and c.workers.starting == 0)
        log = embedded.folder() / "relay.log"
        until(lambda: log.read_text().count('"event": "revoked"') >= 2, wrong="jobs that are over were not revoked")
        assert not [e for e in desk.codes("far") if e in ("worker-lost", "worker-unreachable", "relay-lost")]


def test_a_task_in_a_worker_may_submit_tasks(far: Any) -> None:
    with far() as desk:
        desk.new("far", 1, site="far")
        with desk.dask("far") as dask:

            def outer() -> int:
                from distributed import worker_client

                with worker_client() as client:
                    return int(client.submit(sum, [1, 2]).result())

            assert dask.submit(outer).result(60) == 3


def test_workers_with_nannies_restart(far: Any) -> None:
    with far(arguments=()) as desk:
        desk.new("far", 1, site="far")
        with desk.dask("far") as dask:
            before = dask.submit(pid_of_worker()).result(60)
            dask.restart(timeout=60)
            assert dask.submit(pid_of_worker(), pure=False).result(60) != before


# ---------------------------------------------------------------- the end
def test_a_stop_gives_the_lease_back_and_leaves_no_process(far: Any, tmp_path: Path) -> None:
    with far() as desk:
        first, second = desk.new("one", 1, site="far"), desk.new("two", 1, site="far")
        process = relay_process()
        assert process is not None
        log = embedded.folder() / "relay.log"
        desk.stop(first.id)
        until(lambda: log.read_text().count("withdrawn") >= 1, wrong=log.read_text())
        assert relay_process() == process, "the other cluster needs it"
        with desk.dask("two") as dask:
            assert dask.submit(sum, [1, 2]).result(60) == 3
        desk.stop(second.id)
        until(no_relay)
        assert not psutil.pid_exists(process.pid)
        assert list((tmp_path / "far workers").iterdir()) == []


# ---------------------------------------------------------------- killed
def test_keeper_is_killed(far: Any) -> None:
    with far() as desk:
        desk.new("far", 1, site="far")
        process = relay_process()
        with desk.dask("far") as dask:
            assert dask.submit(sum, [1, 2]).result(60) == 3
            desk.kill_keeper()
            assert dask.submit(sum, [3, 4]).result(60) == 7, "it computes without a keeper"
            again = desk.get("far")
            assert (again.phase.value, again.workers.connected) == ("running", 1)
            assert relay_process() == process, "the relay outlives the keeper"
            desk.change("far", workers=2)
            desk.when("far", lambda c: c.workers.connected == 2)
        desk.stop("far")
        until(no_relay)


def test_embedded_relay_is_killed(far: Any) -> None:
    """It is started again with the same address, and nothing is lost: not even tasks in flight."""
    with far() as desk:
        cluster = desk.new("far", 2, site="far")
        pids = {w.pid for w in cluster.worker_list}
        process = relay_process()
        assert process is not None
        with desk.dask("far") as dask:
            kept = dask.submit(pid_of_worker(), pure=False)
            kept.result(60)
            flying = dask.map(slowly(), range(20))
            psutil.Process(process.pid).kill()
            assert dask.gather(flying) == list(range(20))
            assert kept.result(60) in pids
        until(lambda: relay_process() not in (None, process))
        after = desk.when("far", lambda c: c.workers.connected == 2 and c.reason.code.value == "all-workers")
        assert {w.pid for w in after.worker_list} == pids
        assert "worker-lost" not in desk.codes("far")


def test_relay_and_keeper_are_killed(far: Any) -> None:
    with far() as desk:
        cluster = desk.new("far", 1, site="far")
        process = relay_process()
        assert process is not None
        desk.kill_keeper()
        psutil.Process(process.pid).kill()
        after = desk.when(
            "far", lambda c: c.reason.code.value == "all-workers" and relay_process() not in (None, process)
        )
        assert [w.pid for w in after.worker_list] == [w.pid for w in cluster.worker_list]
        with desk.dask("far") as dask:
            assert dask.submit(sum, [1, 2]).result(60) == 3


def test_a_relay_that_nobody_needs_is_swept(far: Any) -> None:
    with far() as desk:
        desk.new("far", 0, site="far")
        until(relay_process)
        process = relay_process()
        assert process is not None
        keeper = desk.keeper
        keeper.send_signal(signal.SIGSTOP)
        (desk.home / "data" / "offload" / "records.sqlite").unlink()  # as if somebody had begun anew
        for record in (desk.home / "data" / "offload" / "clusters").glob("*/record.json"):
            record.unlink()
        keeper.kill()
        desk.client.call("listSites", SiteList)
        until(lambda: not psutil.pid_exists(process.pid))
        until(no_relay)
