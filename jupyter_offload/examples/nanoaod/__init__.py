"""A NanoAOD-like sample with a real Z -> mu mu peak, made on the spot: input of the notebooks, the tests and the benchmarks.

    python -m jupyter_offload.examples.nanoaod data --events 2000000 --files 4

or, in a notebook::

    from jupyter_offload.examples import nanoaod
    files = nanoaod.make("data", events=2_000_000, files=4)

What is modelled is said in ``physics.py``. It needs the ``hep`` extra.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .sample import Sample, SampleExists

if TYPE_CHECKING:
    from .writer import Progress

__all__ = ["Sample", "SampleExists", "make"]

INSTALL = "pip install 'jupyter_offload[hep]'"


def make(
    folder: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    **sample: Any,
) -> list[Path]:
    """Write the sample (fields of ``Sample``) into ``folder`` where it is not there already; return the paths.

    Raises:
        ValueError: a field of the sample is out of range.
        ModuleNotFoundError: the ``hep`` extra is not installed; the message has the pip line.
        SampleExists: a file of that name holds other events and ``overwrite`` is false.
        OSError: the folder cannot be written or the disk is full.
    """
    wanted = Sample(**sample)
    try:
        from .writer import write_sample
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"The example needs {error.name}. Install it with: {INSTALL}", name=error.name
        ) from error
    return write_sample(folder, wanted, overwrite=overwrite, progress=progress)
