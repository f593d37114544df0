"""What a worker at a site does: it joins, computes, is restarted, and ends without a trace."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from distributed import KilledWorker, wait
from far_site import FarSite
from process_tree import until

from jupyter_offload.worker.endings import ending_of
from jupyter_offload.worker.job import job_command

PACKAGE = "import sys; from jupyter_offload.worker.boot import main; sys.exit(main(sys.argv[1:]))"


def _surroundings() -> dict[str, Any]:
    import distributed

    worker = distributed.get_worker()
    names = ("OMP_NUM_THREADS", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "PYTHONNOUSERSITE", "MY_SETTING", "DASK_CONFIG",
             "PYTHONPATH")  # fmt: skip
    return {
        **{name: os.environ.get(name) for name in names},
        "folder": worker.local_directory, "http": getattr(worker, "http_server", None), "class": type(worker).__module__,
        "mine": "jupyter_offload" in sys.modules, "address": worker.address,
    }  # fmt: skip


def _in_a_process_of_a_task() -> str:
    """Return which relay backend a process finds that a task starts."""
    import subprocess

    code = (
        "import dask; from distributed.comm.registry import get_backend;"
        " print(get_backend('relay').__module__, dask.config.get('relay.domain'))"
    )
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout.strip()


def test_it_joins_computes_and_says_what_it_is(site: FarSite) -> None:
    folder, job = site.job(env={"MY_SETTING": "from the user", "OMP_NUM_THREADS": "3"}, resources={"FPGA": 2.0})
    worker = site.start((folder, job), CUDA_VISIBLE_DEVICES="MIG-1234")
    (seen,) = site.connected()
    assert seen["name"] == job.name and seen["address"].startswith(f"relay://w-{job.name}-")
    assert seen["memory_bytes"] == job.memory_limit_bytes and seen["cores"] == 1
    status = site.tree.status()
    assert seen["versions"] == status["versions"] and status["versions"]["distributed"]
    assert seen["registered_at"] <= seen["proven_at"] and seen["round_trip_s"] > 0
    assert status["refused"] == []
    with site.tree.client() as client:
        found = client.submit(lambda: _surroundings(), resources={"FPGA": 1}).result(60)
        assert (
            client.submit(lambda: _in_a_process_of_a_task()).result(60)
            == "jupyter_offload_relay.comm.backend relay.test"
        )
        extra = client.run_on_scheduler(lambda dask_scheduler: [w.extra for w in dask_scheduler.workers.values()])
    assert extra[0]["offload_accelerators"] == {"CUDA_VISIBLE_DEVICES": "MIG-1234"}, "as it is, and it is told"
    assert (found["MY_SETTING"], found["OMP_NUM_THREADS"]) == ("from the user", "3"), "the user has the last word"
    assert found["MALLOC_TRIM_THRESHOLD_"] == found["MALLOC_MMAP_THRESHOLD_"] == str(16 << 20)
    assert found["PYTHONNOUSERSITE"] == "1" and found["PYTHONPATH"] == f"{folder}/worker.pyz"
    assert found["http"] is None, "nothing listens without authentication"
    assert found["class"] == "jupyter_offload_site.worker.inside" and not found["mine"], (
        "the bundle, not what is installed"
    )
    scratch = Path(found["folder"])
    assert scratch.is_relative_to(site.scratch) and Path(found["DASK_CONFIG"]).is_relative_to(site.scratch)
    (private,) = site.scratch.iterdir()
    assert private.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in folder.iterdir()} == {
        "ca.pem",
        "job.json",
        "relay-ca.pem",
        "worker.pem",
        "worker.pyz",
    }
    assert "offload: joined relay://scheduler" in worker.log
    site.tree.stop()
    assert worker.ended() == (0, None), "the scheduler wanted it"
    assert list(site.scratch.iterdir()) == []


def test_the_package_where_it_is_installed_does_the_same(site: FarSite) -> None:
    folder, job = site.job()
    site.start((folder, job), command=[sys.executable, "-c", PACKAGE, str(folder)])
    site.connected()
    with site.tree.client() as client:
        assert client.submit(lambda: _surroundings()).result(60)["class"] == "jupyter_offload.worker.inside"


def test_modules_are_imported_before_and_a_missing_one_is_told(site: FarSite) -> None:
    folder, job = site.job(modules=["lively", "no_such_module"], env={"PYTHONPATH": str(site.folder / "libraries")})
    (site.folder / "libraries").mkdir()
    (site.folder / "libraries" / "lively.py").write_text("import os\nos.environ['LIVELY'] = 'imported'\n")
    site.start((folder, job))
    site.connected()
    (event,) = site.tree.events("module-failed")
    assert "no_such_module" in event["message"] and event["worker"] == job.name
    with site.tree.client() as client:
        assert client.submit(lambda: os.environ.get("LIVELY")).result(60) == "imported"
        assert client.submit(lambda: os.environ["PYTHONPATH"]).result(60).endswith("libraries")


@pytest.mark.parametrize("whole_group", [False, True], ids=["its process", "all its processes"])
def test_a_worker_that_the_site_ends_hands_its_data_on(site: FarSite, whole_group: bool) -> None:
    ending = site.start(site.job("wfirst"))
    site.connected()
    with site.tree.client() as client:
        kept = client.submit(os.getpid, key="kept")
        pid = kept.result(60)
        other = site.start(site.job("wsecond"))
        site.connected(2)
        if whole_group:
            os.killpg(ending.process.pid, signal.SIGTERM)
        else:
            ending.process.send_signal(signal.SIGTERM)
        status, said = ending.ended()
        assert status == 128 + signal.SIGTERM and said is None, "the site knows why"
        assert [w["name"] for w in site.connected()] == ["wsecond"]
        assert kept.result(60) == pid, "moved, not computed again"
        assert "could not be handed on" not in ending.log
    assert other.process.poll() is None
    assert [path.name.startswith("offload-wsecond") for path in site.scratch.iterdir()] == [True]


def test_a_lifetime_ends_a_worker_as_gently(site: FarSite) -> None:
    site.start(site.job("wsecond"))
    site.connected()
    ending = site.start(site.job("wfirst", lifetime_s=12.0))
    with site.tree.client() as client:
        site.connected(2)
        address = next(w["address"] for w in site.tree.status()["workers"] if w["name"] == "wfirst")
        kept = client.submit(os.getpid, workers=[address], allow_other_workers=True)
        pid = kept.result(60)
        assert ending.ended() == (0, None)
        assert kept.result(60) == pid
    assert "its lifetime is over" in ending.log


def _fill_memory() -> None:
    import time

    held = []
    while True:
        held.append(bytearray(os.urandom(1 << 20)) * 8)
        time.sleep(0.01)


def test_a_worker_over_its_memory_is_started_again(site: FarSite) -> None:
    site.start(site.job(memory_limit_bytes=400 << 20))
    before = site.connected()[0]["pid"]
    with site.tree.client() as client:
        with pytest.raises(KilledWorker):
            client.submit(lambda: _fill_memory()).result(120)
        until(
            lambda: [w["pid"] for w in site.tree.status()["workers"] if w["state"] == "connected"] not in ([], [before])
        )
        assert client.submit(sum, [1, 2]).result(60) == 3
    (event,) = until(lambda: site.tree.events("worker-over-memory"))
    assert event["worker"] == "wabc1234567" and "MiB, nearly its whole limit" in event["message"]


def test_a_client_can_restart_it(site: FarSite) -> None:
    worker = site.start()
    before = site.connected()[0]
    with site.tree.client() as client:
        kept = client.submit(sum, [1, 2])
        wait(kept, timeout=60)
        client.restart(timeout=60)
        after = site.connected()[0]
        assert after["pid"] != before["pid"] and after["name"] == before["name"]
        assert client.submit(sum, [3, 4]).result(60) == 7
    assert [len(site.tree.events(code)) for code in ("worker-restarted", "worker-lost")] == [1, 0]
    assert worker.process.poll() is None


def test_a_worker_without_a_scheduler_does_not_stay(site: FarSite) -> None:
    folder, job = site.job()
    job.dask_config["relay"]["resume"] = "1s"  # type: ignore[index]
    worker = site.start((folder, job))
    site.connected()
    assert site.tree.supervisor is not None
    os.kill(site.tree.supervisor[0], signal.SIGKILL)
    status, said = worker.ended()
    assert said is not None and (status, said.code) == (66, "not-connected")
    assert "lost its scheduler" in said.message
    assert ending_of(None, worker.log) == said
    assert list(site.scratch.iterdir()) == []


def test_a_command_has_only_words_that_scripts_leave_alone() -> None:
    assert job_command("python3", "/run/offload") == ["python3", "-s", "/run/offload/worker.pyz", "/run/offload"]
