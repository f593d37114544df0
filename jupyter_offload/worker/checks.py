"""Whether this Python suits the scheduler, looked at before anything of Dask is imported."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from ..scheduler.versions import NAMES, STRICT, compared, conflicts, differences, pip_line
from .endings import IMAGE_FAILED, VERSION_MISMATCH, Ended

#: The oldest that our part of Dask's communication runs with.
OLDEST = (3, 11)


def own_versions() -> dict[str, str]:
    """Return the versions of this Python and its packages, without importing them."""
    found = {"python": platform.python_version()}
    for name in NAMES[1:]:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def check_versions(scheduler: Mapping[str, str]) -> list[str]:
    """Compare with the scheduler's versions; return warnings.

    Raises:
        Ended: they cannot work together, or there is no distributed here.
    """
    own = own_versions()
    wrong = conflicts(own, scheduler)
    missing = [name for name in ("dask", "distributed") if name not in own]
    if "python" in wrong or sys.version_info < OLDEST:
        raise Ended(VERSION_MISMATCH, _sentence(wrong or ["python"], own, scheduler), _other_python(scheduler))
    if missing:
        install = pip_line(sys.executable, [name for name in STRICT[1:] if name in scheduler], scheduler)
        if not scheduler:
            install = f"{sys.executable} -m pip install distributed"
        raise Ended(
            IMAGE_FAILED, f"The Python of the image, {sys.executable}, has no {' and no '.join(missing)}.",
            f"Install it in the image: {install}",
        )  # fmt: skip
    if wrong:
        hint = f"Choose an image with the scheduler's versions, or install them in it: {pip_line(sys.executable, wrong, scheduler)}"
        raise Ended(
            VERSION_MISMATCH, _sentence(wrong, own, scheduler), f"{hint}. Or choose a kernel that has the image's."
        )
    differing = differences(own, scheduler)
    return [f"{compared([name], own, scheduler)}; mostly that works" for name in differing]


def _sentence(wrong: list[str], own: Mapping[str, str], scheduler: Mapping[str, str]) -> str:
    if not all(name in scheduler for name in wrong):
        return f"The image has Python {own['python']}; a worker needs {OLDEST[0]}.{OLDEST[1]} or newer."
    return f"The image has {compared(wrong, own, scheduler)}."


def _other_python(scheduler: Mapping[str, str]) -> str:
    wanted = ".".join(scheduler.get("python", "").split(".")[:2])
    return (
        f"Choose an image with Python {wanted or '3.11 or newer'}, or a kernel with the image's Python for the cluster."
    )
