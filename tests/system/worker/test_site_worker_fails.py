"""Each way in which a worker at a site cannot start, and what it says then, with a status and with a line."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import distributed
import pytest
from far_site import FarSite
from process_tree import until

from jupyter_offload.worker.endings import EXIT_CODES, Ending, ending_of
from jupyter_offload.worker.job import BUNDLE

#: Dask runs this in the worker's process before it registers.
ANNOUNCE = """
import distributed.worker
from distributed.versions import get_versions

def other():
    told = get_versions()
    return {{**told, "packages": {{**told["packages"], {changes}}}}}

distributed.worker.get_versions = other
"""


def _end(site: FarSite, code: str) -> Ending:
    """Return the last words of the only worker, which are the same by its log and by its status."""
    status, said = site.workers[-1].ended()
    assert said is not None, site.logs()
    assert (said.code, status) == (code, EXIT_CODES[code])
    assert site.workers[-1].log.splitlines()[-1].startswith("offload-end: ")
    alone = ending_of(status, "")
    assert alone is not None and alone.code == code
    assert list(site.scratch.iterdir()) == []
    return said


def test_another_distributed_is_told_before_anything_is_imported(site: FarSite) -> None:
    fake = site.folder / "fake" / "distributed-1999.1.0.dist-info"
    fake.mkdir(parents=True)
    (fake / "METADATA").write_text("Metadata-Version: 2.1\nName: distributed\nVersion: 1999.1.0\n")
    site.tree.ready()
    versions = site.tree.status()["versions"]
    site.start(site.job(versions=versions), PYTHONPATH=str(fake.parent))
    said = _end(site, "version-mismatch")
    assert f"distributed 1999.1.0 where the scheduler has {versions['distributed']}" in said.message
    assert said.hint is not None and f"pip install distributed=={versions['distributed']}" in said.hint
    assert site.tree.status()["refused"] == [], "it did not even ask"


def test_another_python_is_told(site: FarSite) -> None:
    site.start(site.job(versions={"python": "3.99.1", "dask": "1", "distributed": "1"}))
    said = _end(site, "version-mismatch")
    mine = ".".join(map(str, sys.version_info[:3]))
    assert f"Python {mine} where the scheduler has 3.99.1" in said.message
    assert said.hint is not None and "an image with Python 3.99" in said.hint


def test_what_may_differ_is_warned_of(site: FarSite) -> None:
    site.tree.ready()
    versions = {**site.tree.status()["versions"], "cloudpickle": "0.0.1"}
    worker = site.start(site.job(versions=versions))
    site.connected()
    assert "offload: warning: cloudpickle" in worker.log


@pytest.mark.parametrize(("package", "announced"), [("distributed", "1999.1.0"), ("python", "3.99.1.final.0")])
def test_the_scheduler_turns_away_what_does_not_fit(site: FarSite, package: str, announced: str) -> None:
    folder, job = site.job()
    job.dask_config["distributed"]["worker"] = {"preload": [ANNOUNCE.format(changes=f"{package!r}: {announced!r}")]}  # type: ignore[index]
    site.tree.ready()
    with site.tree.client() as client:
        waiting = client.submit(sum, [1, 2])
        site.start((folder, job))
        said = _end(site, "version-mismatch")
        assert announced.removesuffix(".final.0") in said.message and said.hint
        (refused,) = site.tree.status()["refused"]
        assert refused["name"] == job.name and refused["code"] == "version-mismatch"
        assert (refused["message"], refused["hint"]) == (said.message, said.hint)
        (event,) = site.tree.events("worker-version-mismatch")
        assert event["worker"] == job.name and event["level"] == "error" and said.message in event["message"]
        assert not site.tree.events("worker-connected") and not site.tree.events("worker-lost")
        assert waiting.status == "pending"
        site.start(site.job("wgood"))
        assert waiting.result(60) == 3, "others are welcome"


def test_a_lesser_difference_is_one_event_for_all(site: FarSite) -> None:
    for name in ("wone", "wtwo"):
        folder, job = site.job(name)
        job.dask_config["distributed"]["worker"] = {"preload": [ANNOUNCE.format(changes="'numpy': '0.1'")]}  # type: ignore[index]
        site.start((folder, job))
    site.connected(2)
    (event,) = site.tree.events("worker-versions-differ")
    assert "numpy 0.1" in event["message"] and event["level"] == "warning"


def test_files_that_the_site_lost(site: FarSite) -> None:
    folder, job = site.job()
    (folder / "relay-ca.pem").unlink()
    site.start((folder, job))
    said = _end(site, "files-missing")
    assert str(folder / "relay-ca.pem") in said.message and said.hint and "Secret" in said.hint


def test_a_file_that_the_site_emptied(site: FarSite) -> None:
    folder, job = site.job()
    (folder / "worker.pem").write_bytes(b"")
    site.start((folder, job))
    assert "worker.pem" in _end(site, "files-missing").message


def test_all_files_lost(site: FarSite) -> None:
    """Then it is Python that speaks."""
    folder, job = site.job()
    (folder / BUNDLE).unlink()
    worker = site.start((folder, job))
    status, said = worker.ended()
    assert status == 2 and said is not None and said.code == "files-missing"


def test_an_image_without_distributed(site: FarSite, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True, timeout=60)
    site.tree.ready()
    versions = site.tree.status()["versions"]
    site.start(site.job(versions=versions), python=str(bare / "bin" / "python"))
    said = _end(site, "image-failed")
    assert "no dask and no distributed" in said.message
    assert (
        said.hint is not None
        and f"-m pip install dask=={versions['dask']} distributed=={versions['distributed']}" in said.hint
    )


def test_a_distributed_that_cannot_be_imported(site: FarSite) -> None:
    broken = site.folder / "broken" / "distributed"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('libmpi.so.40: cannot open shared object file')\n")
    site.start(site.job(), PYTHONPATH=str(broken.parent))
    assert "libmpi.so.40" in _end(site, "image-failed").message


def test_no_relay_can_be_reached(site: FarSite) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    folder, job = site.job(death_timeout_s=4.0)
    job.dask_config["relay"]["addresses"] = [address]  # type: ignore[index]
    site.start((folder, job))
    said = _end(site, "relay-unreachable")
    assert address in said.message and said.hint is not None and address in said.hint


def test_no_scheduler_comes(site: FarSite) -> None:
    site.tree.ready()
    site.tree.stop()
    site.start(site.job(death_timeout_s=6.0))
    said = _end(site, "not-connected")
    assert "The relay answers" in said.message and "6 s" in said.message


def test_a_relay_that_comes_late_is_waited_for(site: FarSite) -> None:
    site.tree.ready()
    site.hub.stop()
    worker = site.start()
    until(lambda: "offload: starting" in worker.log)
    until(lambda: "relay" in worker.log.partition("offload: starting")[2].partition("\n")[2])
    site.hub.start()
    site.connected()


def test_a_relay_that_refuses_is_asked_again(site: FarSite) -> None:
    folder, job = site.job()
    good = (folder / "worker.pem").read_bytes()
    (folder / "worker.pem").write_bytes((site.folder / "tls" / "client.pem").read_bytes())
    worker = site.start((folder, job))
    until(lambda: "trying again" in worker.log)
    (folder / "worker.pem").write_bytes(good)
    site.connected()


def test_a_worker_that_the_site_ends_while_it_waits_goes_at_once(site: FarSite) -> None:
    site.hub.stop()
    worker = site.start()
    until(lambda: "offload: starting" in worker.log and "distributed.relay" in worker.log)
    worker.process.terminate()
    ended = worker.ended()
    site.hub.start()
    assert ended == (143, None)
    assert list(site.scratch.iterdir()) == []


def test_a_client_that_does_not_fit_is_told_in_the_timeline(site: FarSite, monkeypatch: pytest.MonkeyPatch) -> None:
    site.tree.ready()
    with site.tree.client():
        assert site.tree.events("client-connected") and not site.tree.events("client-version-mismatch")
    told = distributed.versions.get_versions()
    other = {**told, "packages": {**told["packages"], "python": "3.99.1.final.0"}}
    monkeypatch.setattr(distributed.versions, "get_versions", lambda *_, **__: other)
    with pytest.warns(distributed.versions.VersionMismatchWarning), site.tree.client():
        (event,) = until(lambda: site.tree.events("client-version-mismatch"))
    assert "Python 3.99.1 where the scheduler has" in event["message"] and event["worker"] is None


def test_a_job_that_is_revoked_or_expired_says_who_refuses(site: FarSite) -> None:
    folder, job = site.job(death_timeout_s=6.0)
    (folder / "worker.pem").write_bytes((site.folder / "tls" / "client.pem").read_bytes())
    site.tree.ready()
    site.start((folder, job))
    assert "refuses" in _end(site, "not-connected").message
