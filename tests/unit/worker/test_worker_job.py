"""What a worker is told, and the words that start it."""

from __future__ import annotations

import json

import pytest

from jupyter_offload.worker.job import BadJob, WorkerJob, job_command, job_file, read_job

JOB = WorkerJob(
    name="wabc", cores=2, memory_limit_bytes=1 << 30, host="w-wabc-", scheduler_address="relay://scheduler",
    dask_config={"relay": {"addresses": ["a:1"]}}, versions={"python": "3.11.7"}, modules=["uproot"], env={"A": "b"},
    lifetime_s=3600, resources={"GPU": 1},
)  # fmt: skip


def test_what_is_written_is_read() -> None:
    assert read_job(job_file(JOB)) == JOB
    assert job_file(JOB) == job_file(JOB)


def test_what_a_newer_release_adds_is_left_out() -> None:
    told = json.loads(job_file(JOB)) | {"colour": "blue"}
    assert read_job(json.dumps(told).encode()) == JOB


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"format": 1}', b'{"format": 99}', b"\xff"])
def test_what_is_no_job_is_said_to_be_none(content: bytes) -> None:
    with pytest.raises(BadJob):
        read_job(content)


def test_a_format_of_the_future_is_named() -> None:
    with pytest.raises(BadJob, match="format 99 is not known here, only 1"):
        read_job(json.dumps(json.loads(job_file(JOB)) | {"format": 99}).encode())


@pytest.mark.parametrize("python", ["python 3", "$PYTHON", 'py"thon', "python;reboot", "", "py`x`"])
def test_words_that_a_shell_would_read_are_refused(python: str) -> None:
    with pytest.raises(ValueError, match="a shell would read"):
        job_command(python, "/run/offload")


def test_without_packages_of_the_home_folder() -> None:
    assert job_command("/opt/env/bin/python3.11", "/run/offload")[1] == "-s"
