"""What is looked at before anything is connected: files, versions, scratch, the reasons Dask gives."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

import dask.config
import pytest

from jupyter_offload.worker import checks, why
from jupyter_offload.worker.endings import Ended
from jupyter_offload.worker.files import find_job, named_files
from jupyter_offload.worker.job import WorkerJob, job_file
from jupyter_offload.worker.surroundings import Scratch, accelerators, set_environment

CONFIG = {
    "relay": {"ca-file": "/f/relay-ca.pem"},
    "distributed": {"comm": {"tls": {"ca-file": "/f/ca.pem", "worker": {"cert": "/f/w.pem", "key": "/f/w.pem"},
                                     "client": {"cert": "/f/w.pem", "key": "/f/k.pem"}}}},
}  # fmt: skip
JOB = WorkerJob("w1", 1, 0, "w-w1-", "relay://scheduler", {"relay": {"addresses": ["127.0.0.1:1"]}})


# ---------------------------------------------------------------- files
def test_every_file_that_the_configuration_names_is_looked_for() -> None:
    assert [str(path) for path in named_files(CONFIG)] == ["/f/ca.pem", "/f/w.pem", "/f/k.pem", "/f/relay-ca.pem"]
    assert named_files({}) == named_files(None) == named_files({"relay": {"ca-file": None}}) == []


@pytest.mark.parametrize("content", [None, b"", b"{"])
def test_a_job_file_that_does_not_do_is_named(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "job.json").write_bytes(content)
    with pytest.raises(Ended, match=r"job\.json") as ended:
        find_job(tmp_path)
    assert ended.value.ending.code == "files-missing" and ended.value.ending.hint


def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").mkdir()  # root may read whatever there is
    job = WorkerJob("w1", 1, 0, "h", "relay://scheduler", {"relay": {"ca-file": str(tmp_path / "ca.pem")}})
    (tmp_path / "job.json").write_bytes(job_file(job))
    with pytest.raises(Ended, match=r"cannot read .*ca\.pem at the site: Is a directory"):
        find_job(tmp_path)


# ---------------------------------------------------------------- versions
def test_the_smallest_number_of_python_may_differ() -> None:
    minor = ".".join(platform.python_version_tuple()[:2])
    assert checks.check_versions({"python": f"{minor}.999"}) == []


def test_all_that_differs_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        checks, "own_versions", lambda: {"python": "3.11.7", "dask": "1", "distributed": "2", "numpy": "1.26"}
    )
    with pytest.raises(
        Ended, match=r"dask 1 where the scheduler has 3, distributed 2 where the scheduler has 4\."
    ) as ended:
        checks.check_versions({"python": "3.11.0", "dask": "3", "distributed": "4"})
    assert "pip install dask==3 distributed==4" in (ended.value.ending.hint or "")
    ours = {"python": "3.11.0", "dask": "1", "distributed": "2", "numpy": "2.1", "pandas": "2.0"}
    assert checks.check_versions(ours) == [
        "numpy 1.26 where the scheduler has 2.1; mostly that works",
        "pandas is missing where the scheduler has 2.0; mostly that works",
    ]


def test_without_the_schedulers_versions_only_what_must_be_there_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks.check_versions({}) == []
    monkeypatch.setattr(checks, "OLDEST", (9, 0))
    with pytest.raises(Ended, match=r"a worker needs 9\.0 or newer"):
        checks.check_versions({})
    monkeypatch.setattr(checks, "OLDEST", (3, 8))
    monkeypatch.setattr(checks, "own_versions", lambda: {"python": "3.11.7"})
    with pytest.raises(Ended) as ended:
        checks.check_versions({})
    assert ended.value.ending.code == "image-failed"
    assert f"{sys.executable} -m pip install distributed" in (ended.value.ending.hint or "")


# ---------------------------------------------------------------- surroundings
@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("TMPDIR", "SLURM_TMPDIR", "_CONDOR_SCRATCH_DIR", "PYTHONPATH", "OMP_NUM_THREADS", "DASK_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize("first", [0, 1, 2])
def test_scratch_is_the_first_place_that_can_be_written(bare: pytest.MonkeyPatch, tmp_path: Path, first: int) -> None:
    for index, name in enumerate(("TMPDIR", "SLURM_TMPDIR", "_CONDOR_SCRATCH_DIR")):
        place = tmp_path / name
        if index >= first:
            place.mkdir()
        bare.setenv(name, str(place))
    scratch = Scratch("w1")
    assert scratch.folder.parent.name == ("TMPDIR", "SLURM_TMPDIR", "_CONDOR_SCRATCH_DIR")[first]
    assert scratch.folder.stat().st_mode & 0o777 == 0o700
    (scratch.folder / "file").write_text("x")
    scratch.remove()
    assert not scratch.folder.exists()


def test_a_site_that_names_no_scratch_has_tmp(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("SLURM_TMPDIR", "relative/folder")
    scratch = Scratch("w1")
    scratch.remove()
    assert scratch.folder.parent == Path("/tmp")


def test_the_bundle_comes_before_what_the_user_has_on_the_path(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare.setattr(os, "environ", dict(os.environ))
    bare.setattr(sys, "path", ["/run/offload/worker.pyz", "/usr/lib"])
    job = WorkerJob("w1", 1, 0, "h", "a", CONFIG, env={"PYTHONPATH": "/cvmfs/lib", "OMP_NUM_THREADS": "4"})
    set_environment(job, Path("/run/offload"), tmp_path)
    assert os.environ["PYTHONPATH"] == "/run/offload/worker.pyz:/cvmfs/lib"
    assert sys.path == ["/run/offload/worker.pyz", "/cvmfs/lib", "/usr/lib"], "as after a start with that variable"
    assert (os.environ["OMP_NUM_THREADS"], os.environ["OPENBLAS_NUM_THREADS"]) == ("4", "1")
    assert dask.config.collect([os.environ["DASK_CONFIG"]], env={}) == CONFIG


def test_accelerators_are_told_as_they_are(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("CUDA_VISIBLE_DEVICES", "0,3")
    bare.setenv("ROCR_VISIBLE_DEVICES", "")
    assert accelerators()["CUDA_VISIBLE_DEVICES"] == "0,3" and "ROCR_VISIBLE_DEVICES" not in accelerators()


# ---------------------------------------------------------------- what Dask says
def _wrapped(text: str) -> RuntimeError:
    outer = RuntimeError("Nanny failed to start.")
    outer.__cause__ = ValueError(text)
    return outer


def test_the_schedulers_refusal_is_found_in_what_dask_makes_of_it() -> None:
    answer = {
        "status": "error",
        "message": "w1 has it's own.",
        "offload_code": "version-mismatch",
        "offload_hint": "Do.",
    }
    said = why.refusal_of(_wrapped(f"Unexpected response from register: {answer!r}"))
    assert said is not None and (said.code, said.message, said.hint) == ("version-mismatch", "w1 has it's own.", "Do.")
    taken = why.refusal_of(_wrapped(f"Unexpected response from register: { ({'message': 'name taken, w1'})!r}"))
    assert taken is not None and taken.code == "not-connected" and "name taken, w1" in taken.message
    garbled = why.refusal_of(_wrapped("Unexpected response from register: <what>"))
    assert garbled is not None and "<what>" in garbled.message
    assert why.refusal_of(_wrapped("something else")) is None


def test_the_most_telling_cause_is_told() -> None:
    assert why.last_heard(_wrapped("the relay refuses")) == "the relay refuses"
    assert why.last_heard(RuntimeError("alone")) == "alone"
    assert why.last_heard(OSError()) == "OSError"


def test_a_worker_that_was_told_to_go_lost_nothing() -> None:
    assert why.lost("worker-handle-scheduler-connection-broken")
    assert not why.lost("scheduler-close") and not why.lost("")
