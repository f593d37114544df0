"""The site's jobs without interLink before it: what is killed at the worst moment comes back as it was."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.stack.interlink.images import SYSTEM, python_image
from tests.stack.interlink.job import Job, end_all, quantity
from tests.stack.interlink.jobs import JOBS, RUNNER, Jobs, SiteSettings
from tests.stack.interlink.node import until
from tests.stack.interlink.runner import write
from tests.stack.interlink.site import Site

NOBODY = 65534
SYSTEM_PYTHON = shutil.which("python3", path="/usr/bin:/usr/local/bin")
SLEEP = "import time; time.sleep(3600)"


def request(uid: str, script: str, **limits: str) -> dict[str, Any]:
    """Return a creation as interLink sends it."""
    container = {
        "name": "main", "image": "good", "command": ["python3", "-c", script], "resources": {"limits": limits},
        "volumeMounts": [{"name": "v", "mountPath": "/run/offload"}], "env": [{"name": "FILE", "value": "/run/offload/a"}],
    }  # fmt: skip
    spec = {"containers": [container], "volumes": [{"name": "v", "secret": {"secretName": "s"}}]}
    secret = {"metadata": {"name": "s"}, "data": {"a": "YWJj"}}
    return {
        "pod": {"metadata": {"name": f"pod-{uid}", "namespace": "space", "uid": uid}, "spec": spec},
        "container": [{"name": "main", "secrets": [secret], "configMaps": None, "emptyDirs": None}],
    }


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    Site(tmp_path).add_images(good=python_image(alone=False))
    yield tmp_path
    end_all(tmp_path / JOBS)


def test_a_plugin_killed_after_a_launch_does_not_start_the_job_twice(folder: Path) -> None:
    """Two runners of one job, as after a plugin that was killed before the first said who it is."""
    jobs = Jobs(SiteSettings(folder, cores=0))
    jobs.create(request("a", "", cpu="1"))
    job = Job(folder / JOBS / "a")
    script = f"open({str(folder / 'runs')!r}, 'a').write('x'); {SLEEP}"
    write(job.folder / "job.json", {
        "command": [sys.executable, "-c", script], "env": {}, "mounts": {}, "root": None, "netns": None, "number": 1,
        "grace_s": 1,
    })  # fmt: skip
    runners = [subprocess.Popen([sys.executable, "-I", str(RUNNER), str(job.folder)]) for _ in range(2)]
    until(lambda: (folder / "runs").exists())
    assert job.is_running
    job.cancel()
    for runner in runners:
        runner.wait(30)
    assert (folder / "runs").read_text() == "x"
    assert job.ended is not None
    assert job.ended["message"] == "job 1 was cancelled"


def test_a_job_that_is_cancelled_while_it_is_launched_never_starts(folder: Path) -> None:
    jobs = Jobs(SiteSettings(folder, cores=0))
    jobs.create(request("a", SLEEP, cpu="1"))
    job = Job(folder / JOBS / "a")
    write(job.folder / "job.json", {"command": ["false"]})
    job.cancel()  # its runner has not said who it is
    subprocess.run([sys.executable, "-I", str(RUNNER), str(job.folder)], timeout=60, check=True)
    assert job.ended is not None
    assert (job.ended["exit_code"], job.document("started.json")) == (143, None)


def test_a_tombstone_outlives_the_plugin(folder: Path) -> None:
    Jobs(SiteSettings(folder)).delete("a")
    after = Jobs(SiteSettings(folder))
    assert after.create(request("a", SLEEP)) == "deleted"
    assert after.all() == []


def test_a_creation_that_was_cut_short_can_be_repeated(folder: Path) -> None:
    half = folder / JOBS / "a" / "volumes" / "v"
    half.mkdir(parents=True)
    (half / "a").write_text("half")
    jobs = Jobs(SiteSettings(folder, cores=0))
    assert jobs.all() == []
    assert jobs.create(request("a", SLEEP, cpu="1")) == "job-1"
    assert (half / "a").read_text() == "abc"
    assert jobs.create(request("a", SLEEP, cpu="1")) == "job-1", "asked twice it is one job"


def test_what_runs_is_subtracted_and_the_oldest_starts_first(folder: Path) -> None:
    jobs = Jobs(SiteSettings(folder, {"nvidia.com/gpu": 2}, cores=4, memory_mib=1024))
    jobs.create(request("first", SLEEP, cpu="3", memory="512Mi", **{"nvidia.com/gpu": "2"}))
    jobs.create(request("large", SLEEP, cpu="2"))
    until(lambda: jobs.all()[0].is_running)
    assert jobs.free(jobs.behaviour) == {"cpu": 1, "memory": 512 * 2**20, "nvidia.com/gpu": 0}
    assert "for cpu" in (jobs.waits(jobs.all()[1]) or ("", ""))[1]
    jobs.delete("first")
    until(lambda: jobs.all()[1].is_running)
    assert jobs.free(jobs.behaviour)["nvidia.com/gpu"] == 2


def test_without_mounts_of_its_own_a_job_is_told_where_its_files_are(folder: Path) -> None:
    jobs = Jobs(SiteSettings(folder, mounts=False))
    jobs.create(request("a", "import os; print(open('/run/offload/a').read(), open(os.environ['FILE']).read())"))
    until(lambda: jobs.all()[0].ended)
    assert jobs.all()[0].log() == b"abc abc\n"


def _nobody_runs(folder: Path) -> bool:
    """Run the runner as a user without any right; tell whether he may have mounts of his own."""
    os.chown(folder, NOBODY, NOBODY)
    shutil.copy(RUNNER, folder / "runner.py")
    as_nobody: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": [], "cwd": folder, "timeout": 60}
    run = [str(SYSTEM_PYTHON), "-I", str(folder / "runner.py")]
    if subprocess.run([*run, "--may-mount"], check=False, capture_output=True, **as_nobody).returncode:
        return False
    subprocess.run([*run, str(folder)], check=True, **as_nobody)
    return True


@pytest.mark.skipif(
    os.geteuid() != 0 or SYSTEM_PYTHON is None, reason="needs root to be another user, and a Python of his"
)
def test_a_user_without_root_has_mounts_and_a_root_of_his_own() -> None:
    folder = Path(tempfile.mkdtemp(prefix="offload-nobody-"))  # pytest's is for root alone
    try:
        secret = folder / "volumes" / "v" / "a"
        secret.parent.mkdir(parents=True)
        secret.write_text("abc")
        look = (
            "import os; print(open('/run/offload/a').read(), os.listdir('/tmp'), os.path.exists('/root'), os.getuid())"
        )
        write(folder / "job.json", {
            "command": [SYSTEM_PYTHON, "-c", look], "env": {}, "mounts": {"/run/offload": str(secret.parent)},
            "root": SYSTEM, "netns": None, "number": 1, "grace_s": 1,
        })  # fmt: skip
        if not _nobody_runs(folder):
            pytest.skip("this system lets users have no namespaces")
        assert (folder / "log").read_text() == f"abc [] False {NOBODY}\n"
    finally:
        shutil.rmtree(folder)


def test_a_job_whose_runner_cannot_run_ends_with_what_it_said(folder: Path) -> None:
    jobs = Jobs(SiteSettings(folder, netns="no-such-namespace"))
    jobs.create(request("a", SLEEP))
    until(lambda: jobs.all()[0].ended)
    ended = jobs.all()[0].ended or {}
    assert ended["exit_code"] != 0
    assert "cannot start" in ended["message"]


def test_end_all_leaves_nothing_and_lets_nothing_start(folder: Path) -> None:
    jobs = Jobs(SiteSettings(folder))
    for uid in ("a", "b"):
        jobs.create(request(uid, f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"))
    until(lambda: all(job.pid for job in jobs.all()))
    processes = Site(folder).processes()
    end_all(folder / JOBS)
    assert all(job.ended for job in jobs.all())
    assert not any(p.is_running() and p.status() != "zombie" for p in processes)


def test_quantities() -> None:
    assert [quantity(text) for text in ("2", "500m", "1Gi", 3, "1.5k")] == [2, 0.5, 2**30, 3, 1500]
