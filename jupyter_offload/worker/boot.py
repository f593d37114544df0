"""The first steps of a worker at a site: look, say what is wrong, or become the nanny of a Dask worker.

In one process: what runs after the checks is Dask's nanny itself, so that being told why costs neither memory nor a start.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from pathlib import Path

from .checks import check_versions
from .endings import FILES_MISSING, IMAGE_FAILED, NOT_CONNECTED, Ended, Ending, end, say
from .files import find_job
from .job import WorkerJob
from .surroundings import Scratch, set_environment


def main(arguments: list[str]) -> int:
    """Be the worker of a folder; return the exit status, or end with last words."""
    began = time.monotonic()
    try:
        return _work(arguments, began)
    except Ended as ended:
        end(ended.ending)
    except Exception as error:
        traceback.print_exc()
        end(Ending(NOT_CONNECTED, f"The worker failed: {type(error).__name__}: {error}", "Its log has the details."))


def _work(arguments: list[str], began: float) -> int:
    if len(arguments) != 1:
        raise Ended(FILES_MISSING, f"The worker was started with {arguments} instead of its folder.")
    folder = Path(arguments[0])
    job = find_job(folder)
    say(f"worker {job.name} with Python {sys.version.split()[0]} ({sys.executable}) on {os.uname().nodename}")
    scratch = Scratch(job.name)
    try:
        set_environment(job, folder, scratch.folder)
        for warning in check_versions(job.versions):  # what the environment puts on the path counts
            say(f"warning: {warning}")
        return _become_nanny(job, scratch.folder, began)
    finally:
        scratch.remove()


def _become_nanny(job: WorkerJob, scratch: Path, began: float) -> int:
    try:
        from .run import run
    except ImportError as error:
        raise Ended(
            IMAGE_FAILED, f"The image's distributed cannot be imported: {error}.",
            f"Try in the image: {sys.executable} -c 'import distributed'",
        ) from error  # fmt: skip
    say(f"starting Dask's worker for {job.scheduler_address}, scratch in {scratch}")
    return run(job, scratch, began)
