"""Where a worker runs at a site: scratch on a local disk, the environment of everything it starts, accelerators it may see."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from .job import BUNDLE, WorkerJob

#: In this order; batch systems delete theirs after the job.
_SCRATCH = ("TMPDIR", "SLURM_TMPDIR", "_CONDOR_SCRATCH_DIR")
_ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
#: As for local workers (``scheduler/malloc.py``): glibc reads them when the worker's process starts.
_MALLOC = {"MALLOC_TRIM_THRESHOLD_": str(16 << 20), "MALLOC_MMAP_THRESHOLD_": str(16 << 20)}
#: How batch systems and container runtimes say which accelerators a job may use. Nothing of this is ever changed.
_VISIBLE = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES",
            "ZE_AFFINITY_MASK")  # fmt: skip


class Scratch:
    """A private folder on a disk of the worker's host, gone with the worker."""

    def __init__(self, name: str) -> None:
        candidates = [os.environ.get(variable) for variable in _SCRATCH]
        for candidate in [*candidates, "/tmp", os.getcwd()]:  # noqa: S108, PTH109  (a private folder in it)
            if not candidate or not Path(candidate).is_absolute():
                continue
            try:
                self.folder = Path(tempfile.mkdtemp(prefix=f"offload-{name}-", dir=candidate))
            except OSError:
                continue
            return
        raise OSError("no folder for scratch can be written: set TMPDIR in the image or at the site")

    def remove(self) -> None:
        """Delete it; what cannot be deleted stays."""
        shutil.rmtree(self.folder, ignore_errors=True)


def set_environment(job: WorkerJob, folder: Path, scratch: Path) -> None:
    """Set what this process and everything it starts see, tasks and what they start included."""
    os.environ.update(job.env)
    config = scratch / "dask"
    config.mkdir(mode=0o700)
    # JSON is YAML. Names of files, no secrets.
    (config / "offload.yaml").write_text(json.dumps(job.dask_config), encoding="utf-8")
    os.environ["DASK_CONFIG"] = str(config)
    os.environ["PYTHONNOUSERSITE"] = "1"
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder / BUNDLE), *([before] if before else [])])
    for entry in job.env.get("PYTHONPATH", "").split(os.pathsep):  # Python looks only when it starts
        if entry and entry not in sys.path:
            sys.path.insert(1, entry)
    for variable in _ONE_THREAD:  # as Dask's nanny has it, and before numpy; what the user set wins
        os.environ.setdefault(variable, "1")
    for variable, value in _MALLOC.items():
        os.environ.setdefault(variable, value)


def accelerators() -> dict[str, Any]:
    """Return what says which accelerators this process may use; nothing is asked of a driver, so it costs nothing."""
    return {name: os.environ[name] for name in _VISIBLE if os.environ.get(name)}
